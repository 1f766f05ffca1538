"""Definition lists, details and posts of a page's layout."""

from __future__ import annotations

import pytest

from stages.ingest.flat.build import build
from stages.ingest.flat.element import Element
from stages.ingest.html import structure
from stages.ingest.html.render import render
from stages.ingest.html.structure import groups
from stages.ingest.html.tree import parse
from stages.ingest.metadata.facts import MAX_FACTS, Fact, Group, number


def made(html: str) -> list[list[tuple[str, str]]]:
    return [[(fact.kind, fact.text) for fact in group.facts] for group in groups(parse("<body>" + html).body)]


def test_terms_and_definitions_group():
    html = "<dl><dt>a<dt>b<dd>both<dd>more</dd><div><dt>c</dt><dd><p>one<p>two</dd></div><dt>alone</dl>"
    assert made(html) == [
        [("term", "a"), ("term", "b"), ("definition", "both"), ("definition", "more")],
        [("term", "c"), ("definition", "one\n\ntwo")],
    ]


def test_entries_left_open_do_not_nest():
    html = "<dl>" + "".join(f"<dd>d{i}<dt>t{i}" for i in range(3000)) + "<dd><dl><dt>in<dd>side</dl>end</dl>"
    found = made(html)
    assert (
        len(found) == 3001
        and [("term", "t7"), ("definition", "d8")] in found
        and [("term", "in"), ("definition", "side")] in found
    )


def test_details_without_summary_or_inside_furniture_are_nothing():
    assert (
        made(
            "<details>no summary</details><nav><details><summary>menu</summary>x</details></nav><details><summary>Q</summary></details>"
        )
        == []
    )
    assert made("<details><summary>맷돌?</summary>돌<script>x</script><ul><li>a</ul></details>") == [
        [("summary", "맷돌?"), ("details", "돌\n\n- a")]
    ]


def test_one_post_is_an_article_two_are_a_thread():
    post = '<div class="x PostContent"><p>words {}</p><div class="post-body">inner</div></div>'
    assert made(post.format(1)) == []
    assert made(post.format(1) + post.format(2) + '<p id="post_message_17">three</p>') == [
        [("post", "words 1\n\ninner")], [("post", "words 2\n\ninner")], [("post", "three")],
    ]  # fmt: skip


def test_nesting_is_followed_four_deep():
    html = "".join(f"<details><summary>s{i}</summary>" for i in range(9)) + "end" + "</details>" * 9
    assert [group[0] for group in made(html)] == [("summary", f"s{i}") for i in range(4)]


def test_numbering_takes_a_repeated_group_once_and_ends():
    pair = Group((Fact("term", "a"), Fact("definition", "b")))
    assert [fact.group for fact in number([pair, Group((Fact("post", "x"),)), pair])] == [0, 0, 1]
    many = [Group((Fact("post", str(i)),)) for i in range(MAX_FACTS + 500)]
    assert len(number(many)) == MAX_FACTS


@pytest.mark.parametrize("part", ["<dl>{}</dl>", "{}"], ids=["entries of one list", "posts"])
def test_what_is_beyond_the_most_facts_of_a_page_is_not_rendered(monkeypatch, part):
    """The facts would be left out behind that number, after each had been rendered."""
    one = "<dt>term {0}</dt><dd>means {0}</dd>" if "dl" in part else "<div class=post-body>post {0}</div>"
    root = Element(build(part.format("".join(one.format(number) for number in range(400)))).tree)
    calls = []
    monkeypatch.setattr(structure, "MAX_FACTS", 20)
    monkeypatch.setattr(structure, "render", lambda *given, **more: calls.append(1) or render(*given, **more))
    found = structure.groups(root)
    assert 20 < sum(len(group.facts) for group in found) <= 22 and len(calls) <= 26
