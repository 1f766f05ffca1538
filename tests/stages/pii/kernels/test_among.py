"""The search in kernels says what Python's `in` says."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pii.kernels.among import holds

NUMBERS = st.integers(0, 12) | st.integers(0, 1 << 31)


@settings(deadline=None, max_examples=200)
@given(st.sets(NUMBERS, max_size=20), NUMBERS)
def test_a_value_is_found_where_it_is(held, value):
    for wanted in (value, *held):
        assert holds(np.array(sorted(held), np.int64), wanted) == (wanted in held)
