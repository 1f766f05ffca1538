"""The choice of blocks: the prefix by probability with the highest expected F1, against a plain search."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.extractor.blocks import blocks_of
from stages.ingest.extractor.choice import AROUND, LEAST, most_expected, with_whole_lists
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
        return set(np.flatnonzero(with_whole_lists(mask, blocks.block, blocks.container)).tolist())

    assert whole(b, c, d) == {b, c, d}  # 14 of 22 bytes
    assert whole(b, c, d, e) == {b, c, d, e, f}
    assert whole(a, d, g) == {a, d, g}
    assert whole(a, d, e) == {a, d, e}
    assert whole() == set()
