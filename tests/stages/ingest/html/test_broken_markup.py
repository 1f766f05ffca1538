"""Broken markup keeps its text: stray and open quotes, elements never closed, control references; hostile pages cost linear time."""

from __future__ import annotations

import json
import sys
import time

import pytest

from stages.ingest.html import page as pages
from stages.ingest.html.tree import parse

BODY = (
    "<p>"
    + "</p>\n<p class='col text wide'>".join(
        f"Paragraph {n}: the old mill grinds grain between two heavy stones at the river." for n in range(40)
    )
    + "</p>"
)
BROKEN = {
    "stray quote": '<div class="text"">{}</div>', "stray quotes": "<div class='a'' id=\"b\"\" x>{}</div>", "quote in a name": '<div a"b=c d\'e>{}</div>', "< in a value": '<div title="<b><p" data-x=a<b>{}</div>',
    "attribute twice": "<div class=a class=b CLASS=c>{}</div>", "empty comments": "<!--><!--->{}<!-- x --!>", "comment": "<!-- left open {}", "script": "<script>var a = 1; {}", "style": "<style>p {{ }} {}",
    "title": "<title>The mill{}", "textarea": "<textarea>note{}", "plaintext": "{}<plaintext>", "open quote": "<div title='left open>{}".replace("'", '"'), "nested forms": "<form><form>{}</form></form>",
    "nested tables": "<table><table><tr><td>{}", "control references": "{}</body></html> tail with &#1; &#x1F; &#0; &#xD800; &#x110000; &#xFFFF; reference", "NUL": "\0<p\0>{}\0", "CDATA": "<![CDATA[ <b>x</b> ]]>{}",
}  # fmt: skip


@pytest.mark.parametrize("long", [False, True], ids=["short", "over 64 KB"])
@pytest.mark.parametrize("mode", ["main", "trafilatura", "all", "resiliparse"])
@pytest.mark.parametrize("way", BROKEN)
def test_broken_markup_keeps_its_text(page, way, mode, long):
    frame = BROKEN[way]
    source = "<html><body>" + ("<script>" + "var a = 1; " * 6500 + "</script>" if long else "") + frame.format(BODY)
    document = page(source, mode)
    assert document.reason is None
    text = document.values["text"]
    assert sum(f"Paragraph {n}: the old mill grinds" in text for n in range(40)) >= 39


@pytest.mark.parametrize("reference", ["&#1;", "&#x1;", "&#0001", "&#11;", "&#x0b;", "&#31;", "&#xFFFE;", "&#65535;"])
def test_references_to_control_characters_are_blanks(reference):
    assert parse(f"<p>a{reference}b</p></html>c{reference}d").body.xpath("string()").split() == ["a", "bc", "d"]


def test_spans_of_cells_are_bounded():
    cells = parse("<table><tr><td colspan=1000 rowspan=60000>2<td colspan=-1>3<td colspan=2>4</table>").root.iter("td")
    assert [dict(cell.attrib) for cell in cells] == [{}, {}, {"colspan": "2"}]


def test_a_page_of_too_many_elements_has_a_reason(page, monkeypatch):
    monkeypatch.setattr(pages, "MOST_NODES", 100)
    assert page("<p>a</p>" * 200).reason == "ingest.too_complex" and page("<p>a</p>" * 50).reason is None


def test_tags_are_counted_before_a_page_is_parsed(page, monkeypatch):
    """What stands in comments and scripts is no tag."""
    monkeypatch.setattr(pages, "MOST_NODES", 100)
    source = "<p>text</p><!--" + "<p>" * 200 + "--><script>" + "'<p>' + " * 200 + "</script>" + "< " * 200
    assert page(source).reason is None
    monkeypatch.setattr(pages, "parse", None)
    assert page("<p>" * 200).reason == "ingest.too_complex"


def test_a_menu_of_thousands_of_options_keeps_its_words():
    options = "".join(f"<option>town {n}" for n in range(1500))
    tree = parse(f"<p>before</p><select>{options}</select> behind<select><option>one<option>two</select>")
    assert tree.bounded and [len(menu) for menu in tree.root.iter("select")] == [0, 2]
    assert "town 0 town 1" in (words := tree.body.xpath("string()")) and "town 1499 behind" in words


HOSTILE = {
    "spans": ("<table>", "<tr><td>1</td><td colspan=1000 rowspan=60000>2</td></tr>", 150), "nested div": ("", "<div>x", 2000), "open b": ("", "<b>x", 1000), "nested lists": ("", "<ul><li>x", 500),
    "nested tables": ("", "<table><tr><td>x", 300), "nested forms": ("", "<form><p>x", 500), "nested dl": ("", "<dl><dt>x<dd>y", 300), "siblings": ("", "<p>x</p>", 1500), "less than": ("", "<", 20_000),
    "end tags": ("", "</", 20_000), "ampersands": ("", "&", 20_000), "references": ("", "&#0", 20_000), "attributes": ("<div ", "a=b ", 20_000), "microdata": ("", "<div itemscope itemprop=text itemtype=Comment>x", 300),
    "deep JSON-LD": ('<script type="application/ld+json">', '{"a":[', 3000), "headings": ("", "<h2>heading</h2>", 800), "posts": ("", "<div class=post_message>words of a post</div>", 800), "comments": ("", "<!-- x -->", 3000),
    "open comments": ("", "<!-- x <p>y", 3000), "open titles": ("", "<title>x", 3000), "open quotes": ("", "<a b='", 3001), "line breaks": ("", "<br>", 3000), "stray items": ("", "<li>item", 800),
    "formulas": ("", "<math><msqrt><mi>x", 300), "definition lists": ("<dl>", "<dt>a<dd>b", 500), "options": ("<select>", "<option>x", 800), "links": ("", "<a href=x>y</a> ", 800),
}  # fmt: skip


def calls(source: bytes, read, mode: str) -> int:
    """Calls of functions, Python's and C's, while a page is read: a measure of work that no busy machine moves."""
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(counted)
    try:
        read(source, mode)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("mode", ["main", "trafilatura"])
@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_linear(name, mode, page):
    lead, unit, times = HOSTILE[name]
    page("<p>warm</p>", mode)
    small, large = (calls((lead + unit * n).encode(), page, mode) for n in (times // 2, times))
    assert large <= 2.3 * small + 5_000, (small, large)


def jsonld(things) -> str:
    return f'<p>the text</p><script type="application/ld+json">{json.dumps(things)}</script>'


def test_one_answer_referred_to_by_thousands_of_questions_is_not_rendered_for_each(page):
    answer = {"@type": "Answer", "@id": "#a", "text": "grain " * 2_000}
    questions = [{"@type": "Question", "name": f"question {n}", "acceptedAnswer": {"@id": "#a"}} for n in range(5_000)]
    blocks = page(jsonld({"@graph": [answer, *questions]})).values["blocks"]
    assert 0 < sum(len(block["text"]) for block in blocks) < 50 * 12_000
    marked = (
        "<div id=big itemprop=acceptedAnswer>"
        + "grain " * 2_000
        + "</div>"
        + "".join(
            f"<div itemscope itemtype='https://schema.org/Question' itemref=big><b itemprop=name>q{n}</b></div>"
            for n in range(3_000)
        )
    )
    assert sum(block["kind"] == "accepted_answer" for block in page(marked).values["blocks"]) <= 32


def test_a_section_of_steps_inside_itself_ends(page):
    steps = [{"@type": "HowToStep", "text": f"step {n}"} for n in range(50)]
    sections = [
        {"@type": "HowToSection", "@id": name, "itemListElement": [{"@id": other}, *some]}
        for name, other, some in (("#a", "#b", []), ("#b", "#a", steps))
    ]
    blocks = page(jsonld([{"@type": "HowTo", "name": "To mill", "step": [{"@id": "#a"}]}, *sections])).values["blocks"]
    assert [block["text"] for block in blocks if block["kind"] == "step"] == [f"step {n}" for n in range(50)]


LARGE = {
    "nested": ("", "<div>", 100_000), "nested kinds": ("", "<div><p><b><ul><li>x", 20_000), "siblings": ("", "<p>x</p>", 200_000), "less than": ("", "<", 10_000_000), "open b": ("", "<b>x", 50_000),
    "attributes": ("<div ", "a{n}=b ", 100_000), "references": ("", "&amp;", 200_000), "deep JSON-LD": ('<p>the text</p><script type="application/ld+json">', '{{"a":[', 100_000),
    "headings": ("", "<h2>heading {n}</h2>", 1_000_000), "headings over text": ("", "<h2>heading {n}</h2><p>words of section {n} about a mill</p>", 20_000), "posts": ("", "<div class=post_message>words of a post {n}</div>", 100_000), "options": ("<p>the text</p><select>", "<option>x", 200_000),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_pages_cost_time_in_proportion(name, page):
    """Processor seconds at half and at whole size, the least of three; every page ends with text or a reason."""
    lead, unit, times = LARGE[name]

    def seconds(count: int) -> float:
        source, least = (lead + "".join(unit.format(n=n) for n in range(count))).encode(), float("inf")
        for _ in range(3):
            began = time.process_time()
            document = page(source)
            least = min(least, time.process_time() - began)
        assert document.reason in ("ingest.no_main_text", "ingest.too_complex") or (
            document.reason is None and document.values["text"]
        )
        return least

    page("<p>warm</p>")
    small, large = seconds(times // 2), seconds(times)
    assert large <= 2.3 * small + 0.3, (small, large)


@pytest.mark.parametrize("mode", ["main", "trafilatura", "all", "resiliparse"])
def test_a_stray_quote_in_a_long_page_hides_nothing(page, mode):
    words = "\n".join(
        f'<p class="col text wide">Paragraph {n}: the old mill grinds grain between two heavy stones.</p>'
        for n in range(1000)
    )
    text = page(f'<html><body><article><div class="text"">{words}</div></article></body></html>', mode).values["text"]
    assert all(f"Paragraph {n}: the old mill" in text for n in range(1000))
