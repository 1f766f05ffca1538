"""The radix sort against numpy's stable one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.dedup.near.sorting import sort_first, sorted_pairs


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63, 2**64 - 1]), max_size=60))
def test_any_keys_are_sorted_and_equal_ones_keep_their_order(keys):
    given = np.array(keys, np.uint64)
    order = np.argsort(given, kind="stable")
    found = sorted_pairs(given, np.arange(len(given)))
    assert found[0].tolist() == given[order].tolist() and found[1].tolist() == order.tolist()


@pytest.mark.parametrize("most", [2, 5_000, 2**64 - 1])
def test_long_lists(most):
    given = np.random.default_rng(3).integers(0, most, 100_000, dtype=np.uint64, endpoint=True)
    order = np.argsort(given, kind="stable")
    found = sorted_pairs(given, np.arange(len(given)))
    assert np.array_equal(found[0], given[order]) and np.array_equal(found[1], order)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(-5, 5) | st.integers(-(1 << 62), 1 << 62), max_size=300), st.integers(0, 300))
def test_the_first_values_are_sorted_in_place_and_the_others_left(values, count):
    count = min(count, len(values))
    array = np.array(values, np.int64)
    sort_first(array, count)
    assert array.tolist() == [*sorted(values[:count]), *values[count:]]
