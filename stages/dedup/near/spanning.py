"""Spanning forests of a graph that is nowhere whole: a range of nodes holds one parent for each of its nodes, no more.

Rem's union-find, cut by ranges: an edge belongs to the range of its larger node. There it is joined under the node's
parent, and where that lies below the range, what is left to join is an edge between two smaller nodes: it is handed on to the
range of the larger of them. Edges only ever go down, and never become more.
"""

from __future__ import annotations

import numpy as np

from stages.dedup.near.union_find import LARGEST
from stages.text.compiled import int64, kernel, reads, writes


@kernel(writes(np.int64), int64, reads(np.int64), reads(np.int64), writes(np.int64), writes(np.int64))
def insert_all(parent, low, left, right, out_left, out_right):
    """Join edges (left <= right, right in the range that begins at `low`); returns how many were handed on, in `out_*`."""
    made = 0
    for index in range(left.size):
        small, large = left[index], right[index]
        while small != large:
            if large < low:
                out_left[made], out_right[made] = small, large
                made += 1
                break
            held = parent[large - low]
            if held == large:
                parent[large - low] = small
                break
            if held < small:
                small, large = held, small
            else:
                parent[large - low] = small
                large = held
    return made


@kernel(writes(np.int64), int64)
def flatten_from(parent, low):
    """Point every node at the first node of its path that lies below `low`, or at its root in the range."""
    for node in range(parent.size):
        if parent[node] >= low:
            parent[node] = parent[parent[node] - low]


@kernel(writes(np.int64), writes(np.int64), int64, reads(np.int64), reads(np.uint32))
def tally(counts, weights, low, component, weight):
    """Count members and add up their weights, by component."""
    for index in range(component.size):
        position = component[index] - low
        counts[position] += 1
        weights[position] += weight[index]


@kernel(reads(np.int64), reads(np.int64), int64, int64, writes(np.int64), writes(np.int64))
def cut_on(counts, weights, most_weight, most_nodes, state, partitions):
    """Go on cutting trees into partitions from `state` (partition, weight and nodes in it) on, as `union_find._cut` does in one go."""
    partition, held_weight, held_nodes = state[0], state[1], state[2]
    for tree in range(counts.size):
        weight, nodes = min(weights[tree], LARGEST), counts[tree]
        if held_nodes and (held_weight + weight > most_weight or held_nodes + nodes > most_nodes):
            partition, held_weight, held_nodes = partition + 1, 0, 0
        held_weight, held_nodes = held_weight + weight, held_nodes + nodes
        partitions[tree] = partition
    state[0], state[1], state[2] = partition, held_weight, held_nodes


@kernel(writes(np.int64), int64, reads(np.int64), reads(np.int64), int64, writes(np.int64), writes(np.int64))
def lay_out(positions, low, component, doc, first, out_component, out_doc):
    """Put members into the window of positions that begins at `first`; `positions` are the next free ones, by component."""
    for index in range(component.size):
        at = positions[component[index] - low] - first
        positions[component[index] - low] += 1
        if 0 <= at < out_doc.size:
            out_component[at], out_doc[at] = component[index], doc[index]
