"""Bandings reach the recall they promise, and keys meet exactly where bands are equal."""

from __future__ import annotations

import numpy as np
import pytest
from datasketch import MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text.minhash import lsh
from stages.text.minhash.lsh import Banding


def meeting(similarity: float, banding: lsh.Banding) -> float:
    """Probability (0..1) that two documents of this Jaccard similarity share a band."""
    return 1.0 - (1.0 - similarity**banding.rows) ** banding.bands


@settings(deadline=None)
@given(threshold=st.floats(0.05, 1.0), recall=st.floats(0.5, 0.9999), permutations=st.integers(1, 512))
def test_banding_reaches_the_recall_with_the_longest_rows(threshold, recall, permutations):
    found = lsh.for_recall(threshold, recall, permutations)
    every = [Banding(b, r) for r in range(1, permutations + 1) for b in range(1, permutations // r + 1)]
    enough = [b for b in every if meeting(threshold, b) >= recall - 1e-9]
    if found is None:
        assert not [b for b in enough if meeting(threshold, b) >= recall + 1e-9]
        return
    assert found.permutations <= permutations
    assert meeting(threshold, found) >= recall - 1e-9
    assert found.rows >= max((b.rows for b in enough if meeting(threshold, b) >= recall + 1e-9), default=0)


def test_the_fields_settings_have_the_published_recall():
    assert meeting(0.8, lsh.FINEWEB) == pytest.approx(0.924, abs=5e-4)
    assert meeting(0.7, lsh.FINEWEB) == pytest.approx(0.565, abs=5e-4)
    assert lsh.for_recall(0.8, 0.995, 128) == Banding(18, 6)


def test_weights_are_left_to_datasketchs_optimiser():
    theirs = MinHashLSH(threshold=0.7, num_perm=64, weights=(0.2, 0.8))
    assert lsh.by_weights(0.7, 64, 0.2, 0.8) == Banding(theirs.b, theirs.r)


def test_keys_are_equal_exactly_where_the_band_is():
    draw = np.random.default_rng(5)
    values = draw.integers(0, 3, (60, 12), dtype=np.uint32)
    banding = Banding(4, 3)
    keys = lsh.band_keys(values, banding)
    bands = values.reshape(60, 4, 3)
    for a in range(60):
        for b in range(60):
            assert ((keys[a] == keys[b]) == (bands[a] == bands[b]).all(axis=1)).all()
    assert len(np.unique(keys)) == len(
        {(band, *row) for doc in bands.tolist() for band, row in enumerate(map(tuple, doc))}
    )


def test_values_beyond_the_banding_are_not_read():
    values = np.arange(20, dtype=np.uint32).reshape(2, 10)
    longer = np.hstack([values, values])
    assert np.array_equal(lsh.band_keys(values, Banding(5, 2)), lsh.band_keys(longer, Banding(5, 2)))
