"""The greedy choice of keepers: who is removed because it matches, in truth and directly, one that stays.

Documents come in order of preference. Each is compared with those kept before it that it shares a band with; the first
whose exact Jaccard similarity (or, asked for, the share of the document's own shingles that it has: directional containment)
reaches the threshold is its keeper, and a document without one is kept. So no two kept
documents that met are alike, nothing is removed through a chain, and the outcome depends on pairs alone, not on what
else lies in the component.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stages.text.compiled import kernel
from stages.text.components import forest, join, root
from stages.text.jaccard import Sets, shared
from stages.text.lsh import Banding, band_keys, estimate_floor

BINS = 20
"""Similarity histograms have bins of .05."""
WIDEST = 256
"""Pairs of a bucket are looked at one by one up to this many documents: 32,640 pairs, under a millisecond."""


class Choice(NamedTuple):
    """What became of m documents, by position."""

    keeper: np.ndarray
    """int64 (m): position of the keeper; its own for one that is kept."""
    score: np.ndarray
    """float64 (m): exact similarity with the keeper; NaN for one that is kept."""
    tally: np.ndarray
    """int64 (BINS, 2): candidate pairs compared, and those that were true, by estimated similarity."""


@kernel
def _agreement(left, right):
    """In how many places two signatures agree."""
    count = 0
    for k in range(left.size):
        count += left[k] == right[k]
    return count


@kernel
def meets(left_keys, right_keys):
    """Do two documents share a band?"""
    for band in range(left_keys.size):
        if left_keys[band] == right_keys[band]:
            return True
    return False


@kernel
def _least(left, right, threshold):
    """The fewest shared hashes with which two sets of these sizes can reach the threshold."""
    return math.ceil(threshold * (left + right) / (1.0 + threshold) - 1e-9)


@kernel
def compare(values, other_values, hashes, other_hashes, threshold, floor, within, tally):
    """Exact similarity of a document with another that it shares a band with, -1 where it is below the threshold; counts into
    `tally`. `within`: the share of its own hashes that the other has, and not Jaccard."""
    agreed = _agreement(values, other_values)
    if agreed < floor * values.size:
        return -1.0
    place = min(BINS - 1, agreed * BINS // values.size)
    tally[place, 0] += 1
    least = math.ceil(threshold * hashes.size - 1e-9) if within else _least(hashes.size, other_hashes.size, threshold)
    common = shared(hashes, other_hashes, least)
    if common < 0:
        return -1.0
    score = common / (hashes.size if within else hashes.size + other_hashes.size - common)
    if score < threshold:
        return -1.0
    tally[place, 1] += 1
    return score


@kernel
def _choose(bounds, fixed, values, keys, hashes, ends, threshold, floor, within, keeper, score, tally):
    widest = 0
    for group in range(bounds.size - 1):
        widest = max(widest, bounds[group + 1] - bounds[group])
    kept = np.empty(widest, np.int64)
    for group in range(bounds.size - 1):
        count = 0
        for doc in range(bounds[group], bounds[group + 1]):
            if not fixed[doc]:
                mine = hashes[ends[doc] : ends[doc + 1]]
                for place in range(count):
                    other = kept[place]
                    if not meets(keys[doc], keys[other]):
                        continue
                    theirs = hashes[ends[other] : ends[other + 1]]
                    found = compare(values[doc], values[other], mine, theirs, threshold, floor, within, tally)
                    if found >= 0.0:
                        keeper[doc], score[doc] = other, found
                        break
            if keeper[doc] == doc:
                kept[count] = doc
                count += 1


def choose(
    bounds: np.ndarray, fixed: np.ndarray, values: np.ndarray, sets: Sets, banding: Banding, threshold: float, within: bool = False
) -> Choice:
    """Keepers of the groups `bounds[i]:bounds[i + 1]`, the documents of a group in order of preference.

    `values` (uint32, m x permutations) are their signatures and `sets` their shingles; `fixed` (bool) ones are kept
    whatever they match. Pairs whose estimate is below `lsh.estimate_floor` are not compared; `within` (containment decides)
    all pairs that share a band are.
    """
    m = len(values)
    choice = Choice(np.arange(m, dtype=np.int64), np.full(m, np.nan), np.zeros((BINS, 2), np.int64))
    floor = 0.0 if within else estimate_floor(threshold, banding.permutations)
    keys = band_keys(values, banding)
    _choose(bounds, fixed, values, keys, sets.hashes, sets.bounds, threshold, floor, within, *choice)
    return choice


def link_buckets(starts: np.ndarray, docs: np.ndarray, values: np.ndarray, banding: Banding, threshold: float, within: bool = False, nodes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Edges (left, right; int64) of a forest that joins all documents of a bucket which may match (`within`: all of them).

    Bucket i is `docs[starts[i]:starts[i + 1]]`, positions in `values`, or behind them (there are `nodes` in all) for documents
    that stand in large buckets alone. Small buckets join the pairs whose estimate allows
    a match; one of more than `WIDEST` is a star, so that its cost grows with its size and not with its pairs.
    """
    nodes = len(values) if nodes is None else nodes
    parent = forest(nodes)
    left, right = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    least = 0.0 if within else estimate_floor(threshold, banding.permutations) * banding.permutations
    made = _link(starts, docs, values, least, parent, left, right)
    return left[:made].copy(), right[:made].copy()


@kernel
def _link(starts, docs, values, least, parent, left, right):
    made = 0
    for bucket in range(starts.size - 1):
        first, last = starts[bucket], starts[bucket + 1]
        star = last - first > WIDEST
        for i in range(first, first + 1 if star else last - 1):
            for j in range(i + 1, last):
                a, b = docs[i], docs[j]
                if root(parent, a) != root(parent, b) and (star or _agreement(values[a], values[b]) >= least):
                    join(parent, a, b)
                    left[made], right[made] = a, b
                    made += 1
    return made
