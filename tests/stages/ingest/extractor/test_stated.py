"""What a page says of itself, held against a plain reading of it: words and runs of three words of blocks."""

from __future__ import annotations

import json
import re
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.extractor import scan
from stages.ingest.extractor.blocks import blocks_of
from stages.ingest.extractor.stated import MOST_TITLE, MOST_WORDS, stated_of
from stages.ingest.extractor.training.labels import block_texts
from stages.ingest.flat.build import build

COUNTS = scan.DESCRIBED, scan.DESCRIBED_RUNS, scan.STATED_WORDS, scan.STATED_RUNS
WORD = re.compile("[A-Za-z0-9\u0080-\u009f\u00a1-\U0010ffff]+")


def words(text: str) -> list[str]:
    return [re.sub("[A-Z]+", lambda match: match[0].lower(), word) for word in WORD.findall(text)]


def runs(some: list[str]) -> list[tuple[str, ...]]:
    return list(zip(some, some[1:], some[2:]))


def expected(text: str, stated: str) -> list[int]:
    own, known = words(text), words(stated)
    return [
        sum(word in set(known) for word in own),
        sum(run in set(runs(known)) and run[2] in set(known) for run in runs(own)),
    ]


word = st.sampled_from(
    [
        "the",
        "Mill",
        "grinds",
        "barley",
        "맷돌이",
        "보리를",
        "돈다",
        "7",
        "été",
        "x\u00a0y",
        "a-b",
        "\t",
        "😀",
        '"',
        "\\",
    ]
)
prose = st.lists(word, max_size=12).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(prose, max_size=3), prose, prose, st.booleans(), st.sampled_from(["description", "articleBody", "text"])
)
def test_words_and_runs_of_blocks_that_a_page_states(paragraphs, description, body, ascii_only, key):
    item = json.dumps({"@type": "Article", "name": "the Mill grinds", key: body}, ensure_ascii=ascii_only)
    if ascii_only:
        body = re.sub("[\U00010000-\U0010ffff]", " ", body)  # of the halves of a pair nothing is read
    html = (
        f'<meta property="og:description" content="{escape(description)}"><script type="application/ld+json">'
        f"{item}</script>" + "".join(f"<p>{escape(each)}</p>" for each in paragraphs)
    )
    tree = build(html).tree
    blocks = blocks_of(tree)
    texts = block_texts(tree, blocks)
    assert blocks.block[:, COUNTS].tolist() == [expected(each, description) + expected(each, body) for each in texts]
    assert blocks.stated.tolist() == [0, len(set(runs(words(description)))), len(set(runs(words(body))))]


@pytest.mark.parametrize(
    "script",
    [
        '{"description" : "the mill grinds"}',
        '[{"a": {"description":"the \\u006dill\\ngrinds"}}]',
        '{"description": "<p class=\\"x\\">the mill&nbsp;grinds</p>"}',
        '{"text": "", "articleBody": "the mill grinds"',  # broken: no end
        '{"x": "the other", "articleBody": "the mill\n grinds"}',  # broken: a line's end in a string
    ],
)
def test_strings_of_json(script):
    assert stated_of(build(f"<script type='application/ld+json'>{script}</script>").tree)[3].tolist() == [0, 1]


@pytest.mark.parametrize(
    "head",
    [
        '<script type="application/ld+json">{"name": "the mill grinds", "description": ["the mill grinds"]}</script>',
        '<script>var x = {"description": "the mill grinds"}</script>',
        '<meta name=keywords content="the mill grinds"><meta name=description>',
    ],
)
def test_what_states_nothing(head):
    title, keys, _, found = stated_of(build(head).tree)
    assert found.tolist() == [0, 0] and len(keys) == 1 and not len(title)


@pytest.mark.parametrize("cut", ['"', "\\", "\\u", "\\u12", "\\ud800", "\\uzzzz", '\\"', "<", "&", "<a"])
def test_a_text_that_ends_early(cut):
    stated_of(build(f'<script type="application/ld+json">{{"text":"the mill grinds {cut}</script>').tree)


def test_words_of_the_title_stand_once_and_are_few():
    many = " ".join(f"w{n} w{n}" for n in range(100))
    title = stated_of(build(f"<title>{many}</title><title>other</title>").tree)[0]
    assert len(title) == len(set(title.tolist())) == MOST_TITLE


def test_no_more_is_read_of_a_long_text():
    body = " ".join(f"w{n}" for n in range(MOST_WORDS + 1000))
    _, keys, _, found = stated_of(build(f'<script type="application/ld+json">{{"text":"{body}"}}</script>').tree)
    assert MOST_WORDS - 12 < found[1] <= MOST_WORDS - 2  # keys have 31 bits: some of 65,536 are alike
    assert len(keys) <= 8 * MOST_WORDS
