"""Components against a plain search, whatever the order of the edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.near import union_find as components

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


def found_in(trees: components.Trees) -> list[list[int]]:
    roots = trees.parent[trees.members]
    bounds = [0, *(np.flatnonzero(np.diff(roots)) + 1).tolist(), len(roots)] if len(roots) else [0]
    return [trees.members[a:b].tolist() for a, b in zip(bounds, bounds[1:])]


def plain_partitions(trees: list[list[int]], sizes: list[int], most_units: int, most_nodes: int) -> list[int]:
    partitions, partition, held, nodes = [], 0, 0, 0
    for tree in trees:
        weight = sum(-(-max(sizes[node], 0) // components.UNIT) for node in tree)
        if nodes and (held + weight > most_units or nodes + len(tree) > most_nodes):
            partition, held, nodes = partition + 1, 0, 0
        held, nodes = held + weight, nodes + len(tree)
        partitions.append(partition)
    return partitions


@settings(deadline=None, max_examples=200)
@given(edges=EDGES, seed=st.integers(0, 9), most_bytes=st.integers(0, 3000), most_nodes=st.integers(1, 9))
def test_trees_are_the_connected_components_in_any_order_of_edges(edges, seed, most_bytes, most_nodes):
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(np.array(edges, np.int64).reshape(-1, 2))
    sizes = draw.integers(-1, 700, 30)
    parent = components.forest(30)
    joined = components.join_all(parent, shuffled[:, 0], shuffled[:, 1])
    trees = components.gathered(parent, [sizes[:11], sizes[11:11], sizes[11:]], most_bytes, most_nodes, 10**6)
    expected = plain(30, edges)
    assert found_in(trees) == expected and trees.trees == len(expected)
    assert joined == len(trees.members) - len(expected)
    partitions = [int(trees.partitions[tree[0]]) for tree in expected]
    assert partitions == plain_partitions(expected, sizes.tolist(), -(-most_bytes // components.UNIT), most_nodes)
    assert trees.count == (partitions[-1] + 1 if partitions else 0)


def test_partitions_grow_where_there_would_be_too_many():
    parent = components.forest(2000)
    components.join_all(parent, np.arange(0, 2000, 2), np.arange(1, 2000, 2))
    trees = components.gathered(parent, [np.full(2000, 1000)], 1, 1, 10)
    assert 8 <= trees.count <= 12 and trees.trees == 1000


def test_no_edges_no_trees():
    trees = components.gathered(components.forest(5), [np.zeros(5, np.int64)], 1, 1, 1)
    assert len(trees.members) == 0 and trees.count == 0


def test_skewed_edges_of_any_order_give_the_same_trees():
    """A star of a third of the nodes, a long chain, pairs, and edges that say again what others said."""
    nodes = 300_000
    star = np.stack([np.zeros(100_000, np.int64), np.arange(100_000)], 1)
    chain = np.stack([np.arange(100_000, 199_999), np.arange(100_001, 200_000)], 1)
    pairs = np.arange(200_000, 300_000).reshape(-1, 2)
    edges = np.concatenate([star, chain, pairs, chain[::7], star[::3]])
    found = []
    for seed in (1, 2):
        mixed = np.random.default_rng(seed).permutation(edges)
        parent = components.forest(nodes)
        components.join_all(parent, mixed[:, 1].copy(), mixed[:, 0].copy())
        trees = components.gathered(parent, [np.ones(nodes, np.int64)], 1 << 20, 1 << 17, 1 << 20)
        assert (trees.trees, len(trees.members)) == (1 + 1 + 50_000, nodes)
        found.append((trees.members.tobytes(), trees.parent.tobytes(), trees.partitions.tobytes()))
    assert found[0] == found[1]
