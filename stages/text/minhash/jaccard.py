"""Exact Jaccard similarity over shingle sets, and the greedy choice of representatives that rests on it.

A set is a sorted run of distinct 64-bit shingle hashes; many sets lie in one flat array with bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from stages.text.compiled import boolean, int64, kernel, part, reads, writes
from stages.text.minhash.shingles import Shingling, table
from stages.text.minhash.signatures import ROOM, is_suspect, next_shingles, rewritten
from stages.text.minhash.tokens import KINDS, STATE, begin

_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
"""Unsigned indices: numba asks of a signed one whether it counts from the end."""


class Sets(NamedTuple):
    """Shingle sets of n texts: set i is `hashes[bounds[i]:bounds[i + 1]]`, sorted and distinct (uint64; int64 bounds)."""

    hashes: np.ndarray
    bounds: np.ndarray

    def __getitem__(self, row: int) -> np.ndarray:  # type: ignore[override]
        return self.hashes[self.bounds[row] : self.bounds[row + 1]]


class Texts(NamedTuple):
    """Some rows of a text column, where it lies: row `rows[i]` is the text of set `numbers[i]`."""

    data: np.ndarray
    """UTF-8, uint8."""
    offsets: np.ndarray
    """int64, one more than the column has rows."""
    rows: np.ndarray
    numbers: np.ndarray
    how: Shingling


def shingle_sets(data: np.ndarray, offsets: np.ndarray, how: Shingling) -> Sets:
    """The shingle sets of the texts `data[offsets[i]:offsets[i + 1]]` (UTF-8, uint8; int64 offsets)."""
    every = np.arange(len(offsets) - 1)
    return gather_sets([Texts(data, offsets, every, every, how)], len(every))


def gather_sets(texts: Iterable[Texts], count: int) -> Sets:
    """`count` shingle sets out of texts that lie in several columns; nothing but hashes is copied."""
    runs = [np.zeros(0, np.uint64)] * count
    for column in texts:
        hashes, bounds, suspect = _hash_all(column.data, column.offsets, column.rows, column.how)
        _fill(runs, column.numbers, hashes, bounds)
        again = np.flatnonzero(suspect)
        if len(again):
            data, offsets = rewritten(column.data, column.offsets, column.rows[again])
            hashes, bounds, _ = _hash_all(data, offsets, np.arange(len(again)), column.how)
            _fill(runs, column.numbers[again], hashes, bounds)
    bounds = np.zeros(count + 1, np.int64)
    np.cumsum([len(run) for run in runs], out=bounds[1:])
    return Sets(np.concatenate(runs) if runs else np.zeros(0, np.uint64), bounds)


def _fill(runs: list[np.ndarray], numbers: np.ndarray, hashes: np.ndarray, bounds: np.ndarray) -> None:
    edges = bounds.tolist()
    for at, number in enumerate(numbers.tolist()):
        runs[number] = hashes[edges[at] : edges[at + 1]]


def _hash_all(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, how: Shingling
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hashes, bounds, suspect): the sorted distinct shingle hashes of each of `rows`."""
    sizes = offsets[rows + 1] - offsets[rows]
    # A word takes a byte and a separator; a character can be one byte. Only what is written is ever touched.
    room = int((sizes if how.kind == "char" else (sizes + 1) // 2).sum()) + len(rows) + how.width
    hashes = np.empty(room, np.uint64)
    bounds = np.zeros(len(rows) + 1, np.int64)
    suspect = np.zeros(len(rows), np.bool_)
    _hash_rows(
        data,
        offsets,
        rows,
        table(how.kind, how.fold_digits),
        KINDS[how.kind],
        how.fold_digits,
        how.width,
        hashes,
        bounds,
        suspect,
    )
    return hashes, bounds, suspect


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.int64),
    reads(np.uint32),
    int64,
    boolean,
    int64,
    writes(np.uint64),
    writes(np.int64),
    writes(np.bool_),
)
def _hash_rows(data, offsets, rows, classes, kind, fold, width, hashes, bounds, suspect):
    low, raw, spaced, edges = (
        np.empty(ROOM, np.uint8),
        np.empty(ROOM, np.uint8),
        np.empty(ROOM, np.uint8),
        np.empty(ROOM, np.int64),
    )
    tokens = np.empty(ROOM + width, np.uint64)
    state = np.empty(STATE, np.uint64)
    ends, scratch = np.empty(1 << 10, np.uint32), np.empty(1 << 10, np.uint64)
    total = 0
    for index in range(rows.size):
        at, end, first = offsets[rows[index]], offsets[rows[index] + 1], total
        begin(state)
        while at < end:
            at, made = next_shingles(
                data, at, end, classes, kind, fold, False, width, low, raw, spaced, edges, tokens, state, hashes[total:]
            )
            total += made
        suspect[index] = is_suspect(state)
        if total - first > scratch.size:
            ends, scratch = np.empty(2 * (total - first), np.uint32), np.empty(2 * (total - first), np.uint64)
        total = first + _sorted_distinct(hashes[first:total], scratch, ends)
        bounds[index + 1] = total


@part
def _sorted_distinct(hashes, scratch, ends):
    """Sort hashes and leave one of each, in place; returns how many. `scratch` has as many entries, `ends` (uint32) one more.

    Hashes are spread evenly, so their highest bits name the index of each within a few: one pass to count, one to scatter.
    What then stands one index off, a fifth of them, is put right without a branch; only the rest is inserted.
    """
    n, bits = np.uint64(hashes.size), 1
    while (2 << bits) < hashes.size:
        bits += 1
    shift, buckets = np.uint64(64 - bits), np.uint64(1 << bits)
    for bucket in range(buckets + _ONE):
        ends[bucket] = 0
    for index in range(n):
        ends[(hashes[index] >> shift) + _ONE] += np.uint32(1)
    for bucket in range(buckets):
        ends[bucket + _ONE] += ends[bucket]
    for index in range(n):
        bucket = hashes[index] >> shift
        scratch[np.uint64(ends[bucket])] = hashes[index]
        ends[bucket] += np.uint32(1)
    if not hashes.size:
        return 0
    hashes[0] = last = scratch[0]
    write, before = _ONE, _ZERO
    for read in range(_ONE, n):
        value = scratch[read]
        low, high = min(last, value), max(last, value)
        if (low > before) & (low != high):
            hashes[write - _ONE] = before = low
            hashes[write] = last = high
            write += _ONE
        elif value != last and _inserted(hashes, np.int64(write), value):
            write += _ONE
            before, last = hashes[write - _TWO], hashes[write - _ONE]
    return np.int64(write)


@part
def _inserted(hashes, size, value):
    """Insert `value` into the ascending `hashes[:size]`; False where it stands there."""
    at = size
    while at > 0 and hashes[at - 1] > value:
        at -= 1
    if at > 0 and hashes[at - 1] == value:
        return False
    for number in range(size, at, -1):
        hashes[number] = hashes[number - 1]
    hashes[at] = value
    return True


@kernel(reads(np.uint64), reads(np.uint64), int64)
def shared(left, right, least):
    """How many hashes two sorted distinct runs share; -1 as soon as `least` cannot be reached."""
    i, j, found = 0, 0, 0
    while found + min(left.size - i, right.size - j) >= least:
        if i == left.size or j == right.size:
            return found
        a, b = left[i], right[j]
        found += a == b
        i += a <= b
        j += b <= a
    return -1


def similarity(left: np.ndarray, right: np.ndarray) -> float:
    """Exact Jaccard similarity of two sets; 0 when both are empty, for nothing is like nothing."""
    common = shared(left, right, 0)
    union = len(left) + len(right) - common
    return common / union if union else 0.0
