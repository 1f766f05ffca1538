"""Blocks and containers of a page: what a block is, its counts against its text, noscript, depth and breadth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.extractor import scan
from stages.ingest.extractor.blocks import BLOCK0, BLOCK1, blocks_of
from stages.ingest.extractor.tables import SKIPPED, TABLES
from stages.ingest.extractor.training.labels import block_texts
from stages.ingest.flat.build import build
from stages.ingest.flat.names import TAG, TEXT


def texts(html: str) -> list[str]:
    tree = build(html).tree
    return block_texts(tree, blocks_of(tree))


@pytest.mark.parametrize(
    "html, expected",
    [
        ("<p>one <b>two</b>\n three</p><div>four<p>five</p>six</div>", ["one two three", "four", "five", "six"]),
        ("<p>a<br>b</p>", ["a b"]),
        ("<ul><li>x<li>y</ul><script>no()</script><style>no</style>", ["x", "y"]),
        ("<p> \n </p><p>&nbsp;</p>", []),
        ("<p>글 <i>자</i></p>", ["글 자"]),
        ("<title>no</title><h1>yes</h1>", ["yes"]),
        ("", []),
    ],
)
def test_text_of_blocks(html, expected):
    assert texts(html) == expected


def column(html: str, which: int) -> list[int]:
    return blocks_of(build(html).tree).block[:, which].tolist()


@pytest.mark.parametrize(
    "which, html, expected",
    [
        (scan.LINKED, "<p>ab <a href=x>cd</a></p>", [3]),  # the blank before it, too
        (scan.LINKS, "<p><a href=x>a</a> <a href=y>b</a></p>", [2]),
        (scan.FRAGMENT, "<p><a href='#x'>a</a> <a href=y>b</a> <a href='javascript:z'>c</a></p>", [2]),
        (scan.OUTWARD, "<p><a href='https://a.example/'>a</a> <a href=y>b</a></p>", [1]),
        (scan.WORDS, "<p>one two, three</p><p>네 다섯</p>", [3, 2]),
        (scan.YEARS, "<p>1999 and 2026, not 1234 nor 20260</p>", [2]),
        (scan.PUNCT, "<p>Yes, no. 네。</p>", [3]),
        (scan.MONEY, "<p>$5 or €6</p>", [2]),
        (scan.TITLED, "<title>red mill</title><p>the red mill is red</p>", [3]),
        (scan.ENDING, "<p>a.</p><p>a,</p><p>1</p><p>a</p>", [scan.SENTENCE, scan.COMMA, scan.DIGIT, scan.LETTER]),
    ],
)
def test_counts(which, html, expected):
    assert column(html, which) == expected


def test_noscript_is_read_where_the_page_says_little_else():
    hidden = "<noscript><article><p>" + "post " * 50 + "</p></article></noscript>"
    assert texts("<p>menu</p>" + hidden) == ["menu", "post " * 49 + "post"]
    assert texts("<p>" + "word " * 300 + "</p>" + hidden) == ["word " * 299 + "word"]


pieces = st.sampled_from(
    "<div> </div> <p> </p> <b> </b> <a href=x> </a> <td> <table> </table> <ul> <li> </ul> <br> <img> <script>x</script> "
    "<button> </button> <select><option>o</select> <h2> </h2> <noscript>n</noscript> <svg><text>t</text></svg> <pre> </pre>".split()
    + ["word", " ", "\n", "글자", "1999", "a.b", "&nbsp;", "é ", "\t"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=40))
def test_a_block_counts_the_bytes_of_its_text(parts):
    tree = build("".join(parts)).tree
    blocks = blocks_of(tree)
    found = block_texts(tree, blocks)
    assert blocks.block[:, scan.BYTES].tolist() == [len(text.encode()) for text in found]
    assert all(found)
    skipped = np.zeros(len(tree.tag), bool)
    for node in range(len(tree.tag)):
        if TABLES.role[tree.tag[node]] == SKIPPED and not (tree.tag == TAG["noscript"]).any():
            skipped[node : tree.end[node]] = True
    homes = blocks.home
    for node in np.flatnonzero(tree.tag == TEXT):
        text = tree.data[tree.first[node] : tree.last[node]].tobytes().decode()
        if homes[node] < 0:
            assert skipped[node] or not text.strip() or (tree.tag == TAG["noscript"]).any()
    for row in blocks.container:
        assert 0 <= row[BLOCK0] <= row[BLOCK1] <= len(found)
    assert blocks.container[0, BLOCK1] == len(found)


def test_broad_and_deep_pages():
    broad = blocks_of(build("<div>" + "<p>x</p>" * 50_000 + "</div>").tree)
    assert len(broad.block) == 50_000
    deep = blocks_of(build("<div>" * 450 + "x" + "</div>" * 450).tree)
    assert len(deep.block) == 1 and deep.container[-1, 3] == len(deep.container) - 1
