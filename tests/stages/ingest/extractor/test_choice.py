"""The choice of blocks: the prefix by probability with the highest expected F1, against a plain search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.extractor.blocks import blocks_of
from stages.ingest.extractor.choice import (
    AROUND,
    DOUBTED,
    LEAST,
    LIKELY,
    SURE,
    TOP,
    as_wanted,
    made_whole,
    most_expected,
)
from stages.ingest.flat.build import build

block = st.tuples(st.integers(0, 300) | st.integers(0, 999), st.integers(1, 5000))


@settings(max_examples=60, deadline=None)
@given(st.lists(block, min_size=1, max_size=30))
def test_no_prefix_is_expected_better(blocks):
    p = np.array([b[0] for b in blocks], np.int32)
    size = np.array([b[1] for b in blocks], np.int64)
    chosen = most_expected(p, size)
    weight, share = size + AROUND, p / 1000
    order = np.argsort(-p, kind="stable")

    def expected(some) -> float:
        return 2 * (share[some] * weight[some]).sum() / (weight[some].sum() + (share * weight).sum())

    assert set(np.flatnonzero(chosen)) == set(order[: int(chosen.sum())])
    best = max(expected(order[:k]) for k in range(1, len(p) + 1))
    if chosen.any():
        assert abs(expected(np.flatnonzero(chosen)) - best) < 1e-12 and best >= LEAST
    else:
        assert best < LEAST


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 5000), st.booleans()), min_size=1, max_size=30))
def test_wanted_blocks_are_raised_to_what_four_fifths_of_their_bytes_say(blocks):
    p, size, group = (np.array(column, kind) for column, kind in zip(zip(*blocks), (np.int32, np.int64, np.bool_)))
    raised = as_wanted(p, size, group)
    assert raised[~group].tolist() == p[~group].tolist()
    if group.any():
        total = int(size[group].sum())
        most = min(said for said in p[group] if 5 * int(size[group & (p <= said)].sum()) >= 4 * total)
        wanted = p[group] if most >= SURE else np.minimum(SURE * p[group].astype(int) // max(most, DOUBTED), TOP)
        assert raised[group].tolist() == wanted.tolist()


def test_a_block_is_taken_from_about_half_of_the_expected_f1():
    size = np.array([40, 800, 300, 900, 60], np.int64)
    for doubtful, taken in ((550, True), (350, False)):
        p = np.array([20, 950, doubtful, 970, 30], np.int32)
        assert most_expected(p, size).tolist() == [False, True, taken, True, False]


def test_a_list_is_whole_from_two_thirds_of_its_bytes():
    html = "<p>aaaaaa</p><ul><li>bbbbbb</li><li>cccccc<ol><li>dd<li>ee</ol></li><li>ffffff</li></ul><p>gggggg</p>"
    blocks = blocks_of(build(html).tree)
    a, b, c, d, e, f, g = range(7)

    def whole(*kept: int) -> set[int]:
        mask = np.isin(np.arange(7), kept)
        unlikely = np.zeros(7, np.int32)
        return set(np.flatnonzero(made_whole(mask, unlikely, blocks.block, blocks.container)).tolist())

    assert whole(b, c, d) == {b, c, d}  # 14 of 22 bytes
    assert whole(b, c, d, e) == {b, c, d, e, f}
    assert whole(a, g) == {a, b, c, d, e, f, g}  # between two kept paragraphs
    assert whole(a, d, e) == {a, d, e}
    assert whole(d, e, g) == {d, e, g}
    assert whole() == set()


@pytest.mark.parametrize(
    "listed",
    [
        "<dl><dt>a</dt><dd>bb</dd></dl>",
        "<ul><li>a</li><li>bb</li></ul>",
        "<table><tr><td>a</td><td>bb</td></tr></table>",
    ],
)
def test_a_list_or_table_without_links_goes_with_what_stands_around_it(listed):
    def kept(source: str, said: int, *text: int) -> list[int]:
        blocks = blocks_of(build(source).tree)
        mask, p = np.isin(np.arange(4), text), np.full(4, said, np.int32)
        return np.flatnonzero(made_whole(mask, p, blocks.block, blocks.container)).tolist()

    source = f"<div><p>cccccc</p><p>dddd</p>{listed}</div>"
    assert kept(source, LIKELY, 0, 1) == [0, 1, 2, 3]
    assert kept(source, LIKELY - 1, 0, 1) == [0, 1]
    assert kept(source, LIKELY, 0) == [0]  # six of ten bytes around it
    assert kept(source.replace("bb", "<a href=x>bb</a>"), LIKELY, 0, 1) == [0, 1]


def test_a_heading_goes_with_what_stands_under_it():
    source = "<h2>aa</h2><p>bb</p><h2>cc</h2><h3>dd</h3><p>ee</p><h2><a href=x>ff</a></h2><p>gg</p><h1>hh</h1><p>ii</p>"
    blocks = blocks_of(build(source).tree)
    text = np.isin(np.arange(9), [1, 4, 6, 8])
    assert np.flatnonzero(made_whole(text, np.zeros(9, np.int32), blocks.block, blocks.container)).tolist() == [
        0,
        1,
        3,
        4,
        6,
        8,
    ]


def test_code_goes_with_what_stands_around_it():
    blocks = blocks_of(build("<p>aa</p><div><ul><li>bb</li></ul><div><pre>cc</pre></div><p>dd</p></div>").tree)

    def kept(*text: int) -> list[int]:
        mask = np.isin(np.arange(4), text)
        return np.flatnonzero(made_whole(mask, np.zeros(4, np.int32), blocks.block, blocks.container)).tolist()

    assert kept(1) == [1, 2] and kept(3) == [2, 3] and kept(0) == [0]  # the box begins with the list
