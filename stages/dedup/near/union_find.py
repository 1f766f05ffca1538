"""Union-find over integer nodes in flat arrays: the trees are rooted at their smallest node, so results have no order.

A forest of 100 million nodes takes 400 MB, what orders its trees a further 1.2 GB, and edges are streamed: nothing is held
per edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from stages.text.compiled import int64, kernel, part, reads, writes

UNIT = 64
"""Bytes a unit of a tree's weight stands for."""
LARGEST = (1 << 32) - 1


def forest(nodes: int) -> np.ndarray:
    """A forest of `nodes` single trees: int64, `parent[node]`; int32 while it fits, for half the memory."""
    return np.arange(nodes, dtype=np.int32 if nodes < 2**31 else np.int64)


@part
def root(parent, node):
    """The root of `node`'s tree, halving the path on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@part
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


@kernel(writes(np.int32), reads(np.int64, layout="A"), reads(np.int64, layout="A"))
def join_all(parent, left, right):
    """Join every pair; returns how many joined two trees."""
    joined = 0
    for index in range(left.size):
        joined += join(parent, left[index], right[index])
    return joined


@kernel(writes(np.int32))
def flatten(parent):
    """Point every node at its root. A root is smaller than its nodes, so one sweep upwards is enough."""
    for node in range(parent.size):
        parent[node] = parent[parent[node]]


class Trees(NamedTuple):
    """The trees of two nodes and more, ordered by root, then node."""

    members: np.ndarray
    """Nodes, in the forest's own type."""
    parent: np.ndarray
    """Root of each node; -1 for one that stands alone."""
    partitions: np.ndarray
    """uint32 by root: number of the partition its tree belongs to."""
    trees: int
    count: int
    """Partitions."""


def gathered(
    parent: np.ndarray, sizes: Iterable[np.ndarray], most_bytes: int, most_nodes: int, most_partitions: int
) -> Trees:
    """The forest's trees, and partitions of consecutive ones.

    `sizes` are the bytes of every node, in pieces that follow each other. A partition is trees of up to `most_bytes` or `most_nodes`,
    a larger tree alone; more than `most_partitions` of them grow instead. `parent` is flattened in place.
    """
    flatten(parent)
    counts = np.zeros(len(parent), np.uint32 if len(parent) < 1 << 32 else np.uint64)
    weights = np.zeros(len(parent), np.uint32)
    trees, nodes = _count(parent, counts)
    first = total = 0
    for piece in sizes:
        total += _weigh(parent, first, np.asarray(piece), weights)
        first += len(piece)
    count = _cut(
        parent,
        counts,
        weights,
        max(-(-most_bytes // UNIT), total // most_partitions),
        max(most_nodes, nodes // most_partitions),
    )
    members = np.empty(nodes, parent.dtype)
    _lay_out(parent, counts, members)
    return Trees(members, parent, weights, trees, count)


@kernel(writes(np.int32), writes(np.uint32))
def _count(parent, counts):
    """Nodes by root; marks nodes that stand alone. Returns (trees, nodes in them)."""
    for node in range(parent.size):
        counts[parent[node]] += 1
    trees, nodes = 0, 0
    for node in range(parent.size):
        if parent[node] == node:
            if counts[node] == 1:
                parent[node] = -1
            else:
                trees += 1
                nodes += counts[node]
    return trees, nodes


@kernel(reads(np.int32), int64, reads(np.int64), writes(np.uint32))
def _weigh(parent, first, sizes, weights):
    """Add up sizes by root, in units; returns their sum."""
    total = 0
    for index in range(sizes.size):
        root_of = parent[first + index]
        if root_of >= 0:
            weight = min((max(sizes[index], 0) + UNIT - 1) // UNIT, LARGEST - np.int64(weights[root_of]))
            weights[root_of] += np.uint32(weight)
            total += weight
    return total


@kernel(reads(np.int32), writes(np.uint32), writes(np.uint32), int64, int64)
def _cut(parent, counts, weights, most_weight, most_nodes):
    """Replace each root's weight by the number of its partition, and its count by its first position; returns the partitions."""
    partition, held_weight, held_nodes, position = 0, 0, 0, 0
    for node in range(parent.size):
        if parent[node] == node:
            weight, nodes = np.int64(weights[node]), np.int64(counts[node])
            if held_nodes and (held_weight + weight > most_weight or held_nodes + nodes > most_nodes):
                partition, held_weight, held_nodes = partition + 1, 0, 0
            held_weight, held_nodes = held_weight + weight, held_nodes + nodes
            weights[node], counts[node] = partition, position
            position += nodes
    return partition + 1 if position else 0


@kernel(reads(np.int32), writes(np.uint32), writes(np.int32))
def _lay_out(parent, starts, members):
    for node in range(parent.size):
        if parent[node] >= 0:
            root_of = parent[node]
            members[starts[root_of]] = node
            starts[root_of] += 1
