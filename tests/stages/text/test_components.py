"""Components against a plain search, whatever the order of the edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text import components

EDGES = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40)


def plain(nodes: int, edges: list[tuple[int, int]]) -> list[list[int]]:
    near: dict[int, set[int]] = {node: set() for node in range(nodes)}
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    seen: set[int] = set()
    found = []
    for node in range(nodes):
        reach, todo = set(), [node]
        while todo:
            at = todo.pop()
            if at not in reach and at not in seen:
                reach.add(at)
                todo += near[at]
        seen |= reach
        found += [sorted(reach)] if len(reach) > 1 else []
    return found


@settings(deadline=None, max_examples=200)
@given(edges=EDGES, seed=st.integers(0, 9))
def test_groups_are_the_connected_components_in_any_order_of_edges(edges, seed):
    shuffled = np.random.default_rng(seed).permutation(np.array(edges, np.int64).reshape(-1, 2))
    parent = components.forest(30)
    joined = components.join_all(parent, shuffled[:, 0], shuffled[:, 1])
    members, bounds = components.groups(parent)
    found = [members[a:b].tolist() for a, b in zip(bounds, bounds[1:])]
    assert found == plain(30, edges)
    assert joined == len(members) - len(found)


def test_no_edges_no_groups():
    members, bounds = components.groups(components.forest(5))
    assert len(members) == 0 and bounds.tolist() == [0]
