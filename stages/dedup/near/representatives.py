"""The greedy choice of representatives: a document is removed only for an exact and direct match with one that stays.

Documents come in order of preference. Each is compared with those kept before it that it shares a band with; the first
whose exact Jaccard similarity (or, asked for, the share of the document's own shingles that it has: directional containment)
reaches the threshold represents it, and a document without one is kept. So no two kept
documents that were compared are alike, nothing is removed through a chain, and the outcome depends on pairs alone, not on
what else lies in the component.

Documents that are all just below the threshold would all be compared with all. So the comparisons of one document have a
limit: the first `MOST` candidates that do not match, then the `MOST` of the others that are likeliest by their signatures. What
is left out is counted, by estimated similarity and by document.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stages.dedup.near.union_find import forest, join, root
from stages.text.compiled import boolean, float64, int64, kernel, part, reads, writes
from stages.text.minhash.jaccard import Sets, shared
from stages.text.minhash.lsh import Banding, band_keys, estimate_floor

BINS = 20
"""Similarity histograms have bins of .05."""
WIDEST = 256
"""Pairs of a bucket are looked at one by one up to this many documents: 32,640 pairs, under a millisecond."""
MOST = 256
"""Exact comparisons of one document in order of preference, and again of its likeliest other candidates."""


class Choice(NamedTuple):
    """What became of m documents, by position."""

    representative: np.ndarray
    """int64 (m): position of the representative; its own for one that is kept."""
    score: np.ndarray
    """float64 (m): exact similarity with the representative; NaN for one that is kept."""
    tally: np.ndarray
    """int64 (BINS, 3): candidate pairs compared, those that were true, and those left out, by estimated similarity."""
    left: np.ndarray
    """int64 (m): candidates of a kept document that were not compared; one more for each index that was not read to the end, or not at all."""
    steps: np.ndarray
    """int64 (2): pairs of signatures compared, entries of an index read."""

    @classmethod
    def of(cls, m: int) -> Choice:
        """Nothing decided yet: every one of `m` documents represents itself."""
        return cls(
            np.arange(m),
            np.full(m, np.nan),
            np.zeros((BINS, 3), np.int64),
            np.zeros(m, np.int64),
            np.zeros(2, np.int64),
        )


@part
def _agreement(left, right):
    """How many values of two signatures agree."""
    count = 0
    for k in range(left.size):
        count += left[k] == right[k]
    return count


@part
def meets(left_keys, right_keys):
    """Do two documents share a band?"""
    for band in range(left_keys.size):
        if left_keys[band] == right_keys[band]:
            return True
    return False


@part
def _least(left, right, threshold):
    """The fewest shared hashes with which two sets of these sizes can reach the threshold."""
    return math.ceil(threshold * (left + right) / (1.0 + threshold) - 1e-9)


@part
def _compare(agreed, size, hashes, other_hashes, threshold, within, tally):
    """Exact similarity of two documents whose signatures of `size` values agree in `agreed`, -1 where it is below the threshold.

    Counts into `tally`. `within`: the share of its own hashes that the other has, and not Jaccard.
    """
    bin_ = min(BINS - 1, agreed * BINS // size)
    tally[bin_, 0] += 1
    least = math.ceil(threshold * hashes.size - 1e-9) if within else _least(hashes.size, other_hashes.size, threshold)
    common = shared(hashes, other_hashes, least)
    if common < 0:
        return -1.0
    score = common / (hashes.size if within else hashes.size + other_hashes.size - common)
    if score < threshold:
        return -1.0
    tally[bin_, 1] += 1
    return score


@part
def first_match(
    values, keys, mine, others, all_values, all_keys, hashes, ends, threshold, floor, within, most, tally, steps
):
    """The first of the kept documents `others` (in order of preference) that a document matches, and their similarity; -1 for none.

    Third: how many that it shares a band with were not compared, where none was found.
    """
    compared = 0
    for at in range(others.size):
        other = others[at]
        if not meets(keys, all_keys[other]):
            continue
        agreed = _agreement(values, all_values[other])
        steps[0] += 1
        if agreed < floor * values.size:
            continue
        if compared == most:
            return _likeliest(
                values,
                keys,
                mine,
                others[at:],
                all_values,
                all_keys,
                hashes,
                ends,
                threshold,
                floor,
                within,
                most,
                tally,
                steps,
            )
        compared += 1
        alike = _compare(agreed, values.size, mine, hashes[ends[other] : ends[other + 1]], threshold, within, tally)
        if alike >= 0.0:
            return other, alike, 0
    return -1, -1.0, 0


@part
def _likeliest(
    values, keys, mine, others, all_values, all_keys, hashes, ends, threshold, floor, within, most, tally, steps
):
    """As `first_match`, of the `most` whose signatures agree most; of equal ones the first."""
    size = values.size
    agreed = np.empty(others.size, np.int64)
    levels = np.zeros(size + 1, np.int64)
    for at in range(others.size):
        agreed[at] = -1
        if meets(keys, all_keys[others[at]]):
            steps[0] += 1
            count = _agreement(values, all_values[others[at]])
            if count >= floor * size:
                agreed[at] = count
                levels[count] += 1
    level, room = size, most
    while level >= 0 and levels[level] <= room:
        room -= levels[level]
        levels[level] = 0
        level -= 1
    if level >= 0:
        levels[level] -= room
    for at in range(others.size):
        if agreed[at] < 0 or agreed[at] < level or (agreed[at] == level and room == 0):
            continue
        room -= agreed[at] == level
        other = others[at]
        alike = _compare(agreed[at], size, mine, hashes[ends[other] : ends[other + 1]], threshold, within, tally)
        if alike >= 0.0:
            return other, alike, 0
    missed = 0
    for count in range(level + 1):  # what is left in `levels` was not compared
        tally[min(BINS - 1, count * BINS // size), 2] += levels[count]
        missed += levels[count]
    return -1, -1.0, missed


@kernel(
    reads(np.int64),
    reads(np.bool_),
    reads(np.uint32, 2),
    reads(np.uint64, 2),
    reads(np.uint64),
    reads(np.int64),
    float64,
    float64,
    boolean,
    int64,
    writes(np.int64),
    writes(np.float64),
    writes(np.int64, 2),
    writes(np.int64),
    writes(np.int64),
)
def _choose(
    bounds, fixed, values, keys, hashes, ends, threshold, floor, within, most, representative, score, tally, left, steps
):
    widest = 0
    for group in range(bounds.size - 1):
        widest = max(widest, bounds[group + 1] - bounds[group])
    kept = np.empty(widest, np.int64)
    for group in range(bounds.size - 1):
        count = 0
        for doc in range(bounds[group], bounds[group + 1]):
            if not fixed[doc]:
                mine = hashes[ends[doc] : ends[doc + 1]]
                other, alike, missed = first_match(
                    values[doc],
                    keys[doc],
                    mine,
                    kept[:count],
                    values,
                    keys,
                    hashes,
                    ends,
                    threshold,
                    floor,
                    within,
                    most,
                    tally,
                    steps,
                )
                left[doc] = missed
                if other >= 0:
                    representative[doc], score[doc] = other, alike
            if representative[doc] == doc:
                kept[count] = doc
                count += 1


def choose(
    bounds: np.ndarray,
    fixed: np.ndarray,
    values: np.ndarray,
    sets: Sets,
    banding: Banding,
    threshold: float,
    within: bool = False,
    most: int = MOST,
) -> Choice:
    """Representatives in the groups `bounds[i]:bounds[i + 1]`, the documents of a group in order of preference.

    `values` (uint32, m x permutations) are their signatures and `sets` their shingles; `fixed` (bool) ones are kept
    whatever they match. Pairs whose estimate is below `lsh.estimate_floor` are not compared; `within` (containment decides)
    all pairs that share a band are. `most` limits the comparisons of one document.
    """
    choice = Choice.of(len(values))
    floor = 0.0 if within else estimate_floor(threshold, banding.permutations)
    keys = band_keys(values, banding)
    _choose(bounds, fixed, values, keys, sets.hashes, sets.bounds, threshold, floor, within, most, *choice)
    return choice


def link_buckets(
    starts: np.ndarray,
    docs: np.ndarray,
    values: np.ndarray,
    banding: Banding,
    threshold: float,
    within: bool = False,
    nodes: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
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


@kernel(
    reads(np.int64), reads(np.int64), reads(np.uint32, 2), float64, writes(np.int32), writes(np.int64), writes(np.int64)
)
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
