"""Representatives in a component of any size: the same choice as `representatives.choose`, in bounded memory, without all pairs.

Two sets can only reach the threshold when the rarest few of their hashes (a fifth and one, for .8) have one in common
(prefix filtering, Chaudhuri, Ganti, Kaushik 2006). Rarity is counted within the component, so what a template gives to
every page is left out of the index, and 700,000 pages of one template that differ in their contents never meet. Nothing
is lost: the filter only leaves out pairs that cannot match. Where containment decides, what a document has rarest may stand
anywhere in its representative: then all hashes of the kept are in the index.

Kept documents fill a block of bounded size. When it is full, later documents are held against it once, as many as fill `BLOCKS` of
them, and the next block starts empty. What a document may cost halves with every block at which it reached its limit. So the work on
a document has a ceiling however many blocks there are, and only documents that reach a limit see less than everything before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from stages.dedup.near.representatives import MOST, Choice, first_match
from stages.dedup.near.sorting import sort_first
from stages.text.compiled import boolean, float64, int64, kernel, part, reads, tuple_of, writes
from stages.text.minhash.jaccard import Sets
from stages.text.minhash.lsh import Banding, band_keys, estimate_floor

COUNTERS = 1 << 22
"""Counters of how many documents hold a hash (16 MB); hashes that share one look less rare, which costs time only."""
HASHES = 24 << 20
"""Hashes of kept documents a block holds: 192 MB, and about a third of that for its index."""
DOCS = 1 << 17
"""Kept documents a block holds: 90 MB of signatures and keys of 128 values."""
VISITS = 1 << 12
"""Entries of a block's index that are read for one document: what a near-copy shares is rare and read first."""
BLOCKS = 64
"""Blocks that a document is held against at most, the last before it: 8 million kept documents, or 1.6 billion of their hashes."""
LEAST, LEAST_VISITS = 8, 64
"""What halving leaves of the exact comparisons and of the entries read: in every block the likeliest few."""


class JoinChunk(NamedTuple):
    """Consecutive documents of a component, in order of preference."""

    first: int
    values: np.ndarray
    sets: Sets


class Block(NamedTuple):
    """Kept documents and their index: an open hash table of chains over the rare hashes."""

    hashes: np.ndarray
    ends: np.ndarray
    positions: np.ndarray
    values: np.ndarray
    keys: np.ndarray
    heads: np.ndarray
    rare: np.ndarray
    owner: np.ndarray
    following: np.ndarray
    met: np.ndarray
    filled: np.ndarray
    """int64 (2): kept documents, index entries."""


def choose_large(
    chunks: Callable[[int], Iterator[JoinChunk]],
    fixed: np.ndarray,
    banding: Banding,
    threshold: float,
    within: bool = False,
    most_hashes: int = HASHES,
    most_docs: int = DOCS,
    most: int = MOST,
    most_visits: int = VISITS,
    most_blocks: int = BLOCKS,
) -> Choice:
    """Representatives among the `len(fixed)` documents of one component.

    `chunks(start)` yields them from position `start` on, in order of preference; it is called once to count and once a
    block, up to where that block reaches. `fixed` (bool) ones are kept whatever they match. `most` and `most_visits` limit what is
    compared and read of one document in a block, `most_blocks` how many blocks it is held against.
    """
    m = len(fixed)
    choice = Choice.of(m)
    floor = 0.0 if within else estimate_floor(threshold, banding.permutations)
    counts = np.zeros(COUNTERS, np.uint32)
    sizes = np.zeros(m + 1, np.int64)
    for chunk in chunks(0):
        _count(chunk.sets.hashes, counts)
        sizes[chunk.first + 1 : chunk.first + len(chunk.values) + 1] = np.diff(chunk.sets.bounds)
    largest, before = int(sizes.max()), np.cumsum(sizes)
    limited = np.zeros(m, np.int64)
    start = 0
    while start < m:
        block = _empty(
            max(most_hashes, largest), max(most_hashes if within else most_hashes // 2, largest), most_docs, banding
        )
        full, reach = False, m
        for chunk in chunks(start):
            if chunk.first >= reach:
                break
            chunk = _up_to(chunk, reach)
            keys = band_keys(chunk.values, banding)
            ordered = _by_rarity(chunk.sets, counts)
            stop = _add(
                chunk.first,
                chunk.values,
                keys,
                *chunk.sets,
                ordered,
                fixed,
                threshold,
                floor,
                within,
                full,
                block,
                most,
                most_visits,
                limited,
                *choice,
            )
            if not full and stop < len(chunk.values):
                full, start = True, chunk.first + stop
                volume = before[start] + most_blocks * max(most_hashes, largest)
                reach = min(
                    start + most_blocks * most_docs, max(start + 1, int(np.searchsorted(before, volume, "right")) - 1)
                )
        if not full:
            break
        choice.left[reach:] += (choice.representative[reach:] == np.arange(reach, m)) & ~fixed[reach:]
    return choice


def _up_to(chunk: JoinChunk, reach: int) -> JoinChunk:
    """The documents of a chunk before position `reach`."""
    count = min(len(chunk.values), reach - chunk.first)
    bounds = chunk.sets.bounds[: count + 1]
    return JoinChunk(chunk.first, chunk.values[:count], Sets(chunk.sets.hashes[: bounds[-1]], bounds))


def _empty(hashes: int, entries: int, docs: int, banding: Banding) -> Block:
    return Block(
        np.empty(hashes, np.uint64),
        np.zeros(docs + 1, np.int64),
        np.empty(docs, np.int64),
        np.empty((docs, banding.permutations), np.uint32),
        np.empty((docs, banding.bands), np.uint64),
        np.full(1 << max(10, int(entries).bit_length() - 2), -1, np.int32),
        np.empty(entries, np.uint64),
        np.empty(entries, np.int32),
        np.empty(entries, np.int32),
        np.full(docs, -1, np.int64),
        np.zeros(2, np.int64),
    )


@kernel(reads(np.uint64), writes(np.uint32))
def _count(hashes, counts):
    for value in hashes:
        counts[value & np.uint64(counts.size - 1)] += np.uint32(1)


def _by_rarity(sets: Sets, counts: np.ndarray) -> np.ndarray:
    """The hashes of every set, rarest first: 24 bits of the count over 40 bits of the hash, sorted within each set."""
    rarity = np.minimum(counts[sets.hashes & np.uint64(len(counts) - 1)], np.uint32((1 << 24) - 1)).astype(np.uint64)
    ordered = (rarity << np.uint64(40)) | (sets.hashes >> np.uint64(24))
    for first, last in zip(sets.bounds[:-1].tolist(), sets.bounds[1:].tolist()):
        ordered[first:last].sort()
    return ordered


@part
def _prefix(size, threshold):
    """How many of a set's rarest hashes decide whether it can match."""
    return size - int(np.ceil(threshold * size - 1e-9)) + 1 if size else 0


@part
def _slot(value, heads):
    return np.int64((value * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (heads.size - 1)


@kernel(
    int64,
    reads(np.uint32, 2),
    reads(np.uint64, 2),
    reads(np.uint64),
    reads(np.int64),
    reads(np.uint64),
    reads(np.bool_),
    float64,
    float64,
    boolean,
    boolean,
    tuple_of(
        Block,
        writes(np.uint64),
        writes(np.int64),
        writes(np.int64),
        writes(np.uint32, 2),
        writes(np.uint64, 2),
        writes(np.int32),
        writes(np.uint64),
        writes(np.int32),
        writes(np.int32),
        writes(np.int64),
        writes(np.int64),
    ),
    int64,
    int64,
    writes(np.int64),
    writes(np.int64),
    writes(np.float64),
    writes(np.int64, 2),
    writes(np.int64),
    writes(np.int64),
)
def _add(
    first,
    values,
    keys,
    hashes,
    ends,
    ordered,
    fixed,
    threshold,
    floor,
    within,
    full,
    block,
    most,
    most_visits,
    limited,
    representative,
    score,
    tally,
    left,
    steps,
):
    """Decide the documents of a chunk against `block`; keep those without a match in it while it is not `full`.

    `limited` counts for each document the blocks at which it reached a limit. Returns the position in the chunk of the first document
    that found no room, or the chunk's length.
    """
    stop = ends.size - 1
    found = np.empty(block.positions.size, np.int64)
    for doc in range(ends.size - 1):
        position = first + doc
        if representative[position] != position:
            continue
        mine = hashes[ends[doc] : ends[doc + 1]]
        rare = ordered[ends[doc] : ends[doc] + _prefix(mine.size, threshold)]
        if not fixed[position]:
            visits = max(min(most_visits, LEAST_VISITS), most_visits >> limited[position])
            room = max(min(most, LEAST), most >> limited[position])
            count, whole = _candidates(position, rare, block, found, visits, steps)
            other, alike, missed = first_match(
                values[doc], keys[doc], mine, found[:count], block.values, block.keys, block.hashes, block.ends,
                threshold, floor, within, room, tally, steps,
            )  # fmt: skip
            left[position] += missed + (not whole)
            limited[position] += missed > 0 or not whole
            if other >= 0:
                representative[position], score[position], left[position] = block.positions[other], alike, 0
        if full or representative[position] != position:
            continue
        if not _keep(
            position, values[doc], keys[doc], mine, ordered[ends[doc] : ends[doc + 1]] if within else rare, block
        ):
            full, stop = True, doc
    return stop


@part
def _candidates(position, rare, block, found, most_visits, steps):
    """Put the kept documents that hold one of the hashes `rare` into `found`, in order; their number, and whether these are all."""
    count, visits, entry = 0, 0, -1
    for value in rare:
        entry = block.heads[_slot(value, block.heads)]
        while entry >= 0 and visits < most_visits:
            visits += 1
            other = block.owner[entry]
            if block.rare[entry] == value and block.met[other] != position:
                block.met[other] = position
                found[count] = other
                count += 1
            entry = block.following[entry]
        if entry >= 0:
            break
    steps[1] += visits
    sort_first(found, count)
    return count, visits < most_visits or entry < 0


@part
def _keep(position, values, keys, mine, rare, block):
    """Add a kept document to the block; False when there is no room."""
    docs, entries = block.filled[0], block.filled[1]
    at = block.ends[docs] if docs <= block.positions.size else 0
    if docs == block.positions.size or at + mine.size > block.hashes.size or entries + rare.size > block.rare.size:
        return False
    for index in range(mine.size):
        block.hashes[at + index] = mine[index]
    block.ends[docs + 1] = at + mine.size
    block.positions[docs] = position
    for index in range(values.size):
        block.values[docs, index] = values[index]
    for index in range(keys.size):
        block.keys[docs, index] = keys[index]
    for value in rare:
        slot = _slot(value, block.heads)
        block.rare[entries] = value
        block.owner[entries] = docs
        block.following[entries] = block.heads[slot]
        block.heads[slot] = entries
        entries += 1
    block.filled[0], block.filled[1] = docs + 1, entries
    return True
