"""Rows of the compiled best fit are those of the plain one."""

import doctest
from bisect import bisect_left, insort

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.models import packing
from stages.models.packing import best_fit


def plain(lengths, width):
    """Each item, the longest first, into the fullest row that holds it: a sorted list of (space left, row)."""
    rows, room = [], []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        at = bisect_left(room, (lengths[item], 0))
        left, row = room.pop(at) if at < len(room) else (width, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(item)
        insort(room, (left - lengths[item], row))
    return [item for row in rows for item in row], [number for number, row in enumerate(rows) for _ in row]


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 40).flatmap(lambda width: st.tuples(st.lists(st.integers(0, width), max_size=120), st.just(width)))
)
def test_the_rows_of_the_plain_one(case):
    lengths, width = case
    items, rows = best_fit(np.array(lengths, np.int64), width)
    assert (items.tolist(), rows.tolist()) == plain(lengths, width)


@pytest.mark.parametrize("width", [2048, 1 << 20])
def test_long_rows(width):
    lengths = np.random.default_rng(width).integers(1, width, 3000)
    items, rows = best_fit(lengths, width)
    assert (items.tolist(), rows.tolist()) == plain(lengths.tolist(), width)


def test_an_item_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="11 does not fit"):
        best_fit(np.array([3, 11]), 10)


def test_examples_in_docstrings():
    assert doctest.testmod(packing).failed == 0
