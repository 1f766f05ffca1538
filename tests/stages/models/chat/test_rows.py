"""Rows, masks and packing: labels stay inside their segment, and packing loses nothing."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.models.chat import rows
from stages.models.chat.rows import IGNORED, best_fit, collate, join, segment


def test_examples_in_docstrings():
    assert doctest.testmod(rows).failed == 0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 20), max_size=60))
def test_packing_keeps_every_item_once_and_no_row_overflows(lengths):
    lengths = np.asarray(lengths, dtype=np.int64)
    packed = best_fit(lengths, 20)
    assert sorted(item for row in packed for item in row) == list(range(len(lengths)))
    assert all(lengths[row].sum() <= 20 for row in packed)
    # Best fit leaves no two rows that would fit into one.
    sums = sorted(int(lengths[row].sum()) for row in packed)
    assert all(a + b > 20 for a, b in zip(sums[:1], sums[1:2]))


def test_the_last_token_of_a_document_foretells_nothing():
    row = join(
        [
            segment(np.arange(3, dtype=np.int32)),
            segment(np.arange(10, 14, dtype=np.int32)),
            segment(np.array([7], np.int32)),
        ]
    )
    assert row.labels.tolist() == [1, 2, IGNORED, 11, 12, 13, IGNORED, IGNORED]
    assert row.segments.tolist() == [1, 1, 1, 2, 2, 2, 2, 3]


def test_the_mask_lets_a_token_see_its_own_segment_up_to_itself():
    torch = pytest.importorskip("torch")
    row = join([segment(np.arange(2, dtype=np.int32)), segment(np.arange(3, dtype=np.int32))])
    batch = collate([row, join([segment(np.arange(6, dtype=np.int32))])], pad=0, device=torch.device("cpu"))
    wanted = np.zeros((6, 6), dtype=bool)
    for q, k in [(0, 0), (1, 0), (1, 1), (2, 2), (3, 2), (3, 3), (4, 2), (4, 3), (4, 4), (5, 5)]:
        wanted[q, k] = True
    assert (batch.mask[0, 0].numpy() == wanted).all()
    assert (batch.mask[1, 0].numpy() == np.tri(6, dtype=bool)).all()
    assert batch.positions[0].tolist() == [0, 1, 0, 1, 2, 0]


def test_rows_of_one_segment_need_no_mask():
    torch = pytest.importorskip("torch")
    batch = collate([join([segment(np.arange(n, dtype=np.int32))]) for n in (2, 4)], pad=9, device=torch.device("cpu"))
    assert batch.mask is None
    assert batch.ids.tolist() == [[0, 1, 9, 9], [0, 1, 2, 3]] and batch.positions.tolist() == [[0, 1, 2, 3]] * 2
    assert batch.labels.tolist() == [[1, IGNORED, IGNORED, IGNORED], [1, 2, 3, IGNORED]]
