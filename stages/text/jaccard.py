"""Exact Jaccard similarity over shingle sets, and the greedy choice of keepers that rests on it.

A set is a sorted run of distinct 64-bit shingle hashes; many sets lie in one flat array with bounds.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

import numpy as np

from stages.text.compiled import kernel
from stages.text.minhash import ROOM, STATE, begin, is_suspect, next_shingles, rewritten
from stages.text.shingles import Shingling, table


class Sets(NamedTuple):
    """Shingle sets of n texts: set i is `hashes[bounds[i]:bounds[i + 1]]`, sorted and distinct (uint64; int64 bounds)."""

    hashes: np.ndarray
    bounds: np.ndarray

    def __getitem__(self, row: int) -> np.ndarray:  # type: ignore[override]
        return self.hashes[self.bounds[row] : self.bounds[row + 1]]


class Texts(NamedTuple):
    """Some rows of a text column, where it lies: row `rows[i]` is the text of set `places[i]`."""

    data: np.ndarray
    """UTF-8, uint8."""
    offsets: np.ndarray
    """int64, one more than the column has rows."""
    rows: np.ndarray
    places: np.ndarray


def shingle_sets(data: np.ndarray, offsets: np.ndarray, how: Shingling) -> Sets:
    """The shingle sets of the texts `data[offsets[i]:offsets[i + 1]]` (UTF-8, uint8; int64 offsets)."""
    every = np.arange(len(offsets) - 1)
    return gather_sets([Texts(data, offsets, every, every)], len(every), how)


def gather_sets(texts: Iterable[Texts], count: int, how: Shingling) -> Sets:
    """`count` shingle sets out of texts that lie in several columns; nothing but hashes is copied."""
    runs = [np.zeros(0, np.uint64)] * count
    for part in texts:
        hashes, bounds, suspect = _hash_all(part.data, part.offsets, part.rows, how)
        for at, place in enumerate(part.places.tolist()):
            runs[place] = hashes[bounds[at] : bounds[at + 1]]
        again = np.flatnonzero(suspect)
        if len(again):
            data, offsets = rewritten(part.data, part.offsets, part.rows[again])
            hashes, bounds, _ = _hash_all(data, offsets, np.arange(len(again)), how)
            for at, place in enumerate(part.places[again].tolist()):
                runs[place] = hashes[bounds[at] : bounds[at + 1]]
    bounds = np.zeros(count + 1, np.int64)
    np.cumsum([len(run) for run in runs], out=bounds[1:])
    whole = np.concatenate(runs) if runs else np.zeros(0, np.uint64)
    del runs
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist()):
        whole[first:last].sort()
    kept = _distinct(whole, bounds)
    return Sets(whole[:kept], bounds)


def _hash_all(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, how: Shingling) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = offsets[rows + 1] - offsets[rows]
    # A word takes a byte and a separator; a character can be one byte. Only what is written is ever touched.
    room = int((sizes if how.kind == "char" else (sizes + 1) // 2).sum()) + len(rows) + how.width
    hashes = np.empty(room, np.uint64)
    bounds = np.zeros(len(rows) + 1, np.int64)
    suspect = np.zeros(len(rows), np.bool_)
    _hash_rows(data, offsets, rows, table(how.kind, how.fold_digits), how.kind == "char", how.width, hashes, bounds, suspect)
    return hashes, bounds, suspect


@kernel
def _hash_rows(data, offsets, rows, classes, chars, width, hashes, bounds, suspect):
    tokens = np.empty(ROOM + width, np.uint64)
    state = np.empty(STATE, np.uint64)
    total = 0
    for index in range(rows.size):
        at, end, held, seen = offsets[rows[index]], offsets[rows[index] + 1], 0, 0
        begin(state)
        while at < end:
            at, held, seen, made = next_shingles(
                data, at, end, classes, chars, width, tokens, held, seen, state, hashes[total:]
            )
            total += made
        bounds[index + 1] = total
        suspect[index] = is_suspect(state)


@kernel
def _distinct(hashes, bounds):
    """Close up repeats inside each sorted run, in place; returns the new length of `hashes`."""
    write = 0
    start = bounds[0]
    for row in range(bounds.size - 1):
        end = bounds[row + 1]
        first = write
        for read in range(start, end):
            if write == first or hashes[write - 1] != hashes[read]:
                hashes[write] = hashes[read]
                write += 1
        start = end
        bounds[row + 1] = write
    return write


@kernel
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
