"""Union-find over integer nodes in flat arrays: the trees are rooted at their smallest node, so results have no order.

A forest of 100 million nodes takes 800 MB and its edges are streamed; nothing is held per edge.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel



def forest(nodes: int) -> np.ndarray:
    """A forest of `nodes` single trees: int64, `parent[node]`; int32 while it fits, for half the memory."""
    return np.arange(nodes, dtype=np.int32 if nodes < 2**31 else np.int64)


@kernel
def root(parent, node):
    """The root of `node`'s tree, halving the path on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def join(parent, left, right):
    """Join two trees under the smaller root; False when they already were one."""
    left, right = root(parent, left), root(parent, right)
    if left == right:
        return False
    if left < right:
        parent[right] = left
    else:
        parent[left] = right
    return True


@kernel
def join_all(parent, left, right):
    """Join every pair; returns how many joined two trees."""
    joined = 0
    for index in range(left.size):
        joined += join(parent, left[index], right[index])
    return joined


@kernel
def flatten(parent):
    """Point every node at its root. A root is smaller than its nodes, so one sweep upwards is enough."""
    for node in range(parent.size):
        parent[node] = parent[parent[node]]


def groups(parent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(members, bounds) of the trees of two nodes and more, ordered by root, then node.

    Component i is `members[bounds[i]:bounds[i + 1]]`; int64 both. `parent` is flattened in place.
    """
    flatten(parent)
    inner = np.flatnonzero(parent != np.arange(len(parent), dtype=parent.dtype))
    heads = np.unique(parent[inner])
    members = np.concatenate([heads.astype(np.int64), inner])
    roots = np.concatenate([heads, parent[inner]])
    order = np.lexsort((members, roots))
    members, roots = members[order], roots[order]
    starts = np.flatnonzero(np.r_[True, roots[1:] != roots[:-1]]) if len(roots) else np.zeros(0, np.int64)
    return members, np.r_[starts, len(members)].astype(np.int64)
