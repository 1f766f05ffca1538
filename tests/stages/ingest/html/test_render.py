"""A tree to text and spans: white space, blocks, marks, composition."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.html.render import render
from stages.ingest.html.tree import parse


def made(html: str, **more):
    return render(parse(html).body, **more)


def blocks(html: str) -> list[tuple[str, str]]:
    found = made(html)
    return [(span.kind, found.text[span.start : span.end]) for span in found.spans]


@pytest.mark.parametrize(
    "html, text",
    [
        ("<p>one\n two</p><p>three</p>", "one two\n\nthree"),
        ("a<br>b<br><br>c", "a\nb\n\nc"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>", "- a\n- b\n  - c"),
        ("<ol><li>a</li><li><p>b</p><p>more</p></li></ol>", "1. a\n2. b\nmore"),
        ("<table><tr><th>A<th>B<tr><td>1<td>2</table>", "A | B\n1 | 2"),
        ("<table><tr><td>only</td></tr></table>", "only"),
        ("<pre>\n  x = 1\n\n  y  \n</pre>", "  x = 1\n\n  y"),
        ("<p>a<script>no()</script><style>no</style> b</p>", "a b"),
        ("x<b>y</b> z", "xy z"),
        ("<p>soft\u00adhyphen zero\u200bwidth</p>", "softhyphen zerowidth"),
        ("<p>한글\u3000사이</p>", "한글 사이"),
    ],
)
def test_text(html, text):
    assert made(html).text == text


def test_blocks():
    html = "<h2>Head</h2>loose<p>para</p><ul><li>a</ul><pre>c</pre><blockquote><p>q1<p>q2</blockquote><table><tr><td>1<td>2<tr><td>3<td>4</table>"
    assert blocks(html) == [
        ("heading", "Head"), ("paragraph", "loose"), ("paragraph", "para"), ("list", "- a"), ("code", "c"), ("quote", "q1\n\nq2"),
        ("table", "1 | 2\n3 | 4"),
    ]  # fmt: skip
    assert made("<h3>x</h3>").spans[0].level == 3


def test_a_layout_table_is_read_as_what_it_holds():
    html = "<table><tr><td><h2>Menu</h2></td><td><p>one</p><p>two</p></td></tr></table>"
    assert blocks(html) == [("heading", "Menu"), ("paragraph", "one"), ("paragraph", "two")]


def test_marks_are_what_the_rendering_added():
    found = made("<ol><li>a</li></ol><table><tr><td>1<td>2<tr><td>3<td>4</table>")
    assert [found.text[a:b] for a, b in found.marks] == ["1. ", " | ", " | "]


def test_parts_left_out():
    tree = parse("<nav>menu</nav><p>text</p><aside>more</aside>")
    assert render(tree.body, skip=frozenset(("nav", "aside"))).text == "text"
    assert render(tree.body, omit=tree.body.find("nav")).text == "text\n\nmore"


def test_a_mark_in_another_element_is_composed_with_its_letter():
    found = made("<p>caf<b>e</b><i>&#x301;</i></p><p>&#x1112;<i>&#x1161;</i><b>&#x11ab;</b>글</p>")
    assert found.text == "café\n\n한글"
    assert [found.text[s.start : s.end] for s in found.spans] == ["café", "한글"]


WORDS = st.text(st.sampled_from("ab 한ㅎ\u0301\u1161\n&"), max_size=6)
TAGS = st.sampled_from("p div b ul li ol table tr td h2 pre blockquote br dl dt dd details summary i script a".split())
PAGES = st.recursive(
    WORDS,
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", TAGS, st.lists(inner, max_size=4)),
    max_leaves=25,
)


@settings(deadline=None, max_examples=300)
@given(PAGES)
def test_every_span_is_of_the_text_and_in_order(html):
    tree = parse("<body>" + html)
    found = render(tree.body)
    assert unicodedata.is_normalized("NFC", found.text) and found.text == found.text.strip("\n")
    assert "\n\n\n" not in found.text or "<pre>" in html
    last = 0
    for span in found.spans:
        assert last <= span.start < span.end <= len(found.text)
        last = span.start
    for a, b in found.marks:
        assert 0 <= a < b <= len(found.text)
