"""Pass `band`: the keys under which each document may meet others, in pieces for the tasks of `link`, each sorted.

Columns: `key` (uint64) and `row` (uint32, counted from the first part of the list). Documents without tokens and all but the
representative of a group of identical ones have no keys. A list has the keys of so many parts as one task sorts, for every task
of `link` reads a piece of every list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from stages.dedup.columns import blocks, column, picked
from stages.dedup.passes import PassTask, key_ranges
from stages.dedup.run import Run
from stages.text.minhash.lsh import band_keys

LIST_KEYS = 4 << 20
"""Keys of a list: 100 MB while they are sorted."""
PIECE = 8192
"""Signatures keyed at once: some four megabytes."""


def groups(run: Run) -> list[list[int]]:
    """The parts whose keys lie in one list."""
    return run.corpus.groups(max(1, LIST_KEYS // run.banding.bands))


class Keying(NamedTuple):
    """What a task carries: the run, and how many tasks of `link` there will be."""

    run: Run
    ranges: int


def write_keys(task: PassTask) -> Receipt:
    """Write the keys of one group of parts."""
    from stages.dedup.near.sorting import sorted_pairs

    given: Keying = task.given
    run = given.run
    group = groups(run)[task.number]
    found = [_keys(run, number, run.corpus.parts[group[0]].first) for number in group]
    keys, owners = sorted_pairs(*(np.concatenate(column) for column in zip(*found)))
    owners = owners.astype(np.uint32)
    lows = np.array([low for low, _ in key_ranges(given.ranges, 1)], np.uint64)
    ends = [*np.searchsorted(keys, lows[1:]).tolist(), len(keys)]

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        first = 0
        for to, end in enumerate(ends):
            if end > first:
                yield to, blocks(key=keys[first:end], row=owners[first:end])
            first = end

    return task.put_pieces(blocks(key=keys[:0], row=owners[:0]).schema, pieces())


def _keys(run: Run, number: int, base: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, documents counted from `base`) of a part."""
    part = run.corpus.parts[number]
    signatures = run.signatures.read(number)
    taken = column(signatures, "tokens") > 0
    before = run.decided(number, "near")
    taken &= before.duplicate_of == np.arange(part.first, part.first + part.rows)
    rows = np.flatnonzero(taken)
    keys = np.empty((len(rows), run.banding.bands), np.uint64)
    for first in range(0, len(rows), PIECE):
        some = slice(first, first + PIECE)
        keys[some] = band_keys(picked(signatures, "values", rows[some], run.banding.permutations), run.banding)
    return keys.ravel(), np.repeat(rows + (part.first - base), run.banding.bands)
