"""Pass `band`: the keys under which each document may meet others, sent to the ranges of keys that the tasks of `link` take.

Columns: `key` (uint64) and `doc` (uint32, or int64 where there are so many). Documents without tokens and all but the
representative of a group of identical ones have no keys. A task sorts the keys of some parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from stages.dedup.columns import column, picked
from stages.dedup.exchange.ranges import put
from stages.dedup.passes import PassTask, range_of
from stages.dedup.run import Run
from stages.text.minhash.lsh import band_keys

LIST_KEYS = 4 << 20
"""Keys that a task sorts: 100 MB."""
PIECE = 8192
"""Signatures keyed at once: some four megabytes."""


def most_rows(run: Run) -> int:
    """Documents whose keys a task sorts, and whose signatures one looks up."""
    return max(1, LIST_KEYS // run.banding.bands)


class Keying(NamedTuple):
    """What a task carries: the run, and how many ranges of keys there will be."""

    run: Run
    ranges: int


def write_keys(task: PassTask) -> Receipt:
    """Write the keys of one group of parts."""
    from stages.dedup.near.sorting import sorted_pairs

    given: Keying = task.given
    run = given.run
    group = run.corpus.groups(most_rows(run))[task.number]
    found = [_keys(run, number) for number in group]
    keys, docs = sorted_pairs(*(np.concatenate(column) for column in zip(*found)))
    docs = docs.astype(np.uint32) if run.corpus.rows < 1 << 32 else docs
    to = range_of(keys, given.ranges)
    return put(task, given.ranges, to, lambda at: {"key": keys[at], "doc": docs[at]})


def _keys(run: Run, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, documents) of a part."""
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
    return keys.ravel(), np.repeat(rows + part.first, run.banding.bands)
