"""A flat tree to text and spans: white space, blocks, marks, composition, chosen parts, Markdown."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.ingest.flat.build import build
from stages.ingest.flat.render import render, shown
from stages.ingest.flat.tree import elements
from stages.ingest.html import outline
from stages.ingest.html.render import render as walked
from stages.ingest.html.tree import parse


def blocks(html: str, **more) -> list[tuple[str, str]]:
    found = render(build(html).tree, **more)
    return [(span.kind, found.text[span.start : span.end]) for span in found.spans]


@pytest.mark.parametrize(
    "html, text",
    [
        ("<p>one\n two</p><p>three</p>", "one two\n\nthree"),
        ("a<br>b<br><br>c", "a\nb\n\nc"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>", "- a\n- b\n  - c"),
        ("<ol><li>a</li><li><p>b</p><p>more</p></li></ol>", "1. a\n2. b\nmore"),
        ("<ol start=9><li>a<li><li>b</ol>", "9. a\n11. b"),
        ("<table><tr><th>A<th>B<tr><td>1<td>2</table>", "A | B\n1 | 2"),
        ("<table><tr><th>A<th>B<tr><td><p>1</p><td><div>2<br>3</div></table>", "A | B\n1 | 2 3"),
        ("<table><tr><td>only</td></tr></table>", "only"),
        ("<pre>\n  x = 1\n\n  y  \n</pre>", "  x = 1\n\n  y"),
        ("<pre><span>\t</span>x<br>\ty</pre>", "\tx\n\ty"),
        ("<p>a<script>no()</script><style>no</style> b</p>", "a b"),
        ("x<b>y</b> z", "xy z"),
        ("<p>soft\u00adhyphen zero\u200bwidth</p>", "softhyphen zerowidth"),
        ("<p>한글\u3000사이</p>", "한글 사이"),
        ("<p>caf<b>e</b><i>&#x301;</i></p><p>&#x1112;<i>&#x1161;</i><b>&#x11ab;</b>글</p>", "café\n\n한글"),
    ],
)
def test_text(html, text):
    assert render(build(html).tree).text == text


PAGE = (
    "<h2>Head</h2>loose<p>para</p><ul><li>a</ul><pre>c\n d</pre><blockquote><p>q1<p>q2</blockquote>"
    "<table><tr><td>1<td>2<tr><td>3<td>4<tr><td><td>a|b</table>"
)


def test_blocks():
    assert blocks(PAGE) == [
        ("heading", "Head"), ("paragraph", "loose"), ("paragraph", "para"), ("list", "- a"), ("code", "c\n d"), ("quote", "q1\n\nq2"),
        ("table", "1 | 2\n3 | 4\na|b"),
    ]  # fmt: skip
    assert render(build("<h3>x</h3>").tree).spans[0].level == 3


def test_markdown():
    assert blocks(PAGE, markdown=True) == [
        ("heading", "Head"), ("paragraph", "loose"), ("paragraph", "para"), ("list", "- a"), ("code", "c\n d"),
        ("quote", "> q1\n\n> q2"), ("table", "| 1 | 2 |\n| --- | --- |\n| 3 | 4 |\n| | a\\|b |"),
    ]  # fmt: skip


def test_blocks_of_markdown_are_those_that_its_text_says():
    """As the reader of Markdown files finds them: a heading without its signs, code without its fence."""
    html = (
        PAGE
        + "<ul><li><h3>in a list</h3><li>b</ul><blockquote><h4>quoted</h4>x</blockquote><pre>\n  a ```\n\nb</pre><ol><li>1</ol>end"
    )
    found = render(build(html).tree, markdown=True)
    kinds = ("heading", "code", "table", "list")
    own = [
        span
        for span in found.spans
        if span.kind in kinds and found.text[span.start : span.end] not in ("in a list", "quoted")
    ]
    assert own == [span for span in outline.markdown(found.text) if span.kind in kinds]
    assert {"in a list", "quoted"} <= {found.text[s.start : s.end] for s in found.spans if s.kind == "heading"}
    plain = render(build(html).tree)
    for kind in ("heading", "code", "paragraph"):
        assert [plain.text[s.start : s.end] for s in plain.spans if s.kind == kind] == [
            found.text[s.start : s.end] for s in found.spans if s.kind == kind
        ]


@pytest.mark.parametrize(
    "html, text",
    [
        ("<table><tr><th>a<th>b<th>c<tr><td>1<td>2<td><tr><td>3<td><td></table><p>end", "| a | b | c |\n| --- | --- | --- |\n| 1 | 2 | |\n| 3 | | |\n\nend"),
        ("<pre>x ``` y\n````</pre><pre>z</pre>", "`````\nx ``` y\n````\n`````\n\n```\nz\n```"),
        ("<dl><dt>term<dd>meaning<dd>other</dl>", "term\nmeaning\nother"),
        ("<h1>a <a href=x>link</a></h1><ol><li>one<ul><li>two</ul></ol>", "# a link\n\n1. one\n   - two"),
        ("<ul><li>one<pre>a\n\n   \n b \n\n</pre>two<li><pre>c\nd</pre></ul>", "- one\n  ```\n  a\n\n\n   b\n  ```\ntwo\n- ```\n  c\n  d\n  ```"),
        ("<ol start=10><li>ten<pre>a<br>b</pre></ol>", "10. ten\n    ```\n    a\n    b\n    ```"),
        ("<blockquote><p>said<pre>a\n\n  b\n   \n</pre></blockquote><pre>c\nd</pre>", "> said\n\n> ```\n> a\n>\n>   b\n> ```\n\n```\nc\nd\n```"),
        ("<pre>```" + "`" * 400 + "</pre>", "`" * 404 + "\n" + "`" * 403 + "\n" + "`" * 404),
    ],
)  # fmt: skip
def test_markdown_of_odd_parts(html, text):
    found = render(build(html).tree, markdown=True)
    assert found.text == text
    assert all(found.text[a:b].strip("`|-#>. \n0123456789") == "" for a, b in found.marks)


def test_code_in_items_and_quotes_is_read_there_by_a_reader_of_markdown():
    reader = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    code = "for x in y:\n\n    print(x)\n"
    for outer in (
        "<ul><li>one{}<li>two</ul>",
        "<ol start=12><li>one<ol><li>in{}</ol></ol>",
        "<blockquote><p>said{}</blockquote>",
    ):
        text = render(build(outer.format(f"<pre>{code}</pre>")).tree, markdown=True).text
        tokens = reader.MarkdownIt().parse(text)
        (fence,) = [token for token in tokens if token.type == "fence"]
        assert fence.content == code and fence.level >= 1
        assert fence.level == 2 * outer.count("<li>", 0, outer.index("{}")) or "quote" in outer


def test_a_last_cell_without_text_leaves_no_bar_behind():
    assert render(build("<table><tr><td>a<td>b<tr><td>1<td></table><p>end").tree).text == "a | b\n1\n\nend"


def test_a_layout_table_is_read_as_what_it_holds():
    html = "<table><tr><td><h2>Menu</h2></td><td><p>one</p><p>two</p></td></tr></table>"
    assert blocks(html) == [("heading", "Menu"), ("paragraph", "one"), ("paragraph", "two")]


def test_marks_are_what_the_rendering_added():
    found = render(build("<ol><li>a</li></ol><table><tr><td>1<td>2<tr><td>3<td>4</table>").tree)
    assert [found.text[a:b] for a, b in found.marks] == ["1. ", " | ", " | "]


def test_only_what_is_chosen_is_written_and_the_rest_parts_it():
    tree = build("<nav>menu</nav><p>a<span>no</span>b</p><div>no</div><ol><li>no<li>two</ol>").tree
    chosen = shown(tree)
    for node in elements(tree, "nav", "span", "div"):
        chosen[node : tree.end[node]] = False
    chosen[elements(tree, "li")[0] + 1] = False
    assert render(tree, chosen).text == "ab\n\n2. two"
    assert render(tree, chosen, node=elements(tree, "p")[0]).text == "ab"
    assert render(tree, np.zeros_like(chosen)).text == ""


WORDS = st.text(st.sampled_from("ab 한ㅎ\u0301\u1161\n&|\t\u00a0\u200b"), max_size=6)
TAGS = st.sampled_from(
    "p div b ul ol li table tr td h2 pre blockquote br dl dt dd details summary i script a code".split()
)
PAGES = st.recursive(
    WORDS,
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", TAGS, st.lists(inner, max_size=4)),
    max_leaves=25,
)


@settings(deadline=None, max_examples=150)
@given(PAGES, st.booleans())
def test_every_span_is_of_the_text_and_in_order(html, markdown):
    found = render(build("<body>" + html).tree, markdown=markdown)
    assert unicodedata.is_normalized("NFC", found.text) and found.text == found.text.strip("\n")
    last = 0
    for span in found.spans:
        assert last <= span.start < span.end <= len(found.text)
        last = span.start
    for a, b in found.marks:
        assert 0 <= a < b <= len(found.text)


@settings(deadline=None, max_examples=100)
@example("<p>a<table>\u0301</table></p>")
@given(PAGES)
def test_the_letters_are_those_of_the_walk_over_another_tree(html):
    """Against the rendering of lxml's tree; sources are well nested, so that both parsers read alike."""
    # Decomposed: a mark that stands alone in a table belongs to the letter before it in one tree, to none in the other.
    letters = lambda text: [c for c in unicodedata.normalize("NFD", text) if c.isalpha() or unicodedata.combining(c)]  # noqa: E731
    source = f"<body><div>{html.replace('&', '')}</div>"
    tree = parse(source)
    assert tree is not None
    assert sorted(letters(render(build(source).tree).text)) == sorted(letters(walked(tree.body).text))
