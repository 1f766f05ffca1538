"""Layouts place every token once, in order, in rows that hold it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pack.layout import best_fit, bucketed, concat, widths

lengths = st.lists(st.integers(0, 60), max_size=60)


@pytest.mark.parametrize("how", [concat, best_fit, bucketed])
@settings(deadline=None, max_examples=200)
@given(sizes=lengths, seq_len=st.integers(1, 25))
def test_every_token_once(how, sizes, seq_len):
    lay = how(np.array(sizes, dtype=np.int64), seq_len)
    seen = sorted((doc, token) for doc, at, n in zip(lay.doc, lay.offset, lay.length) for token in range(at, at + n))
    assert seen == [(doc, token) for doc, size in enumerate(sizes) for token in range(size)]
    rows = list(range(lay.rows))
    assert sorted(set(lay.row.tolist())) == rows and (np.diff(lay.row) >= 0).all()
    for row in rows:
        here = lay.row == row
        assert lay.start[here].tolist() == np.concatenate([[0], np.cumsum(lay.length[here])])[:-1].tolist()
        assert 0 < lay.length[here].sum() <= seq_len


@settings(deadline=None, max_examples=100)
@given(sizes=lengths, seq_len=st.integers(1, 25))
def test_concat_loses_no_room(sizes, seq_len):
    lay = concat(np.array(sizes, dtype=np.int64), seq_len)
    filled = np.bincount(lay.row, weights=lay.length, minlength=lay.rows)
    assert (filled[:-1] == seq_len).all()


@settings(deadline=None, max_examples=100)
@given(sizes=lengths, seq_len=st.integers(1, 25))
def test_best_fit_cuts_only_what_does_not_fit(sizes, seq_len):
    lay = best_fit(np.array(sizes, dtype=np.int64), seq_len)
    pieces = np.bincount(lay.doc, minlength=len(sizes)) if len(lay.doc) else np.zeros(len(sizes), int)
    assert pieces.tolist() == [-(-size // seq_len) for size in sizes]


def test_windows_are_packed_apart(monkeypatch):
    monkeypatch.setattr("stages.pack.layout.WINDOW", 4)
    lay = best_fit(np.full(10, 3), 6)
    assert lay.row.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@settings(deadline=None, max_examples=100)
@given(sizes=lengths, seq_len=st.integers(1, 25))
def test_buckets_hold_rows_of_like_length(sizes, seq_len):
    lay = bucketed(np.array(sizes, dtype=np.int64), seq_len)
    wide = widths(lay.length, seq_len)
    assert len(set(lay.row.tolist())) == len(lay.row) and (np.diff(wide) >= 0).all()
    assert (lay.length <= wide).all() and (wide < 2 * np.maximum(lay.length, 1)).all()
    assert sorted(lay.length.tolist()) == sorted(best_fit(np.array(sizes), seq_len).length.tolist())
