"""A range's union-find hands on what it cannot join itself, and loses nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.near import spanning
from stages.dedup.near import union_find as components


@settings(deadline=None, max_examples=200)
@given(edges=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=50), low=st.integers(0, 28))
def test_parents_and_what_is_handed_on_join_what_the_edges_joined(edges, low):
    pairs = np.sort(np.array(edges, np.int64).reshape(-1, 2), axis=1)
    mine = pairs[pairs[:, 1] >= low]
    left, right = mine[:, 0].copy(), mine[:, 1].copy()
    parent = np.arange(low, 30)
    out_left, out_right = np.empty(len(left), np.int64), np.empty(len(left), np.int64)
    made = spanning.insert_all(parent, low, left, right, out_left, out_right)
    assert (out_left[:made] < out_right[:made]).all() and (out_right[:made] < low).all()
    spanning.flatten_from(parent, low)
    assert (parent <= np.arange(low, 30)).all()
    assert all(node < low or parent[node - low] == node for node in parent), (
        "one step leads out of the range, or to a root"
    )

    def joined(*sides) -> bytes:
        whole = components.forest(30)
        for a, b in sides:
            components.join_all(whole, a, b)
        components.flatten(whole)
        return whole.tobytes()

    assert joined((parent, np.arange(low, 30)), (out_left[:made].copy(), out_right[:made].copy())) == joined(
        (left, right)
    )
