"""Pass `band`: the keys under which each document may meet others, sorted, so that any range of keys is one slice.

Columns, sorted by `key`: `key` (uint64) and `row` (uint32, counted from the first part in the list). Documents without tokens
and all but the representative of a group of identical ones have no keys. How many ranges are read later is free: the sorted list
serves any.
"""

from __future__ import annotations

import numpy as np

from pipeline.storage.ledger import Receipt
from stages.dedup.columns import blocks, column, picked
from stages.dedup.corpus import Corpus
from stages.dedup.exact.level import ExactGroups
from stages.dedup.passes import PassTask
from stages.dedup.run import Run
from stages.text.minhash.lsh import band_keys

LISTS = 4096
"""Lists of keys at most."""
PIECE = 8192
"""Signatures keyed at once: some four megabytes."""


def groups(corpus: Corpus) -> list[range]:
    """The parts whose keys lie in one list: single parts, and of very many parts several together, because every task of the
    next pass opens every list."""
    size = max(1, -(-len(corpus.parts) // LISTS))
    return [range(first, min(first + size, len(corpus.parts))) for first in range(0, len(corpus.parts), size)]


def write_keys(task: PassTask) -> Receipt:
    """Write the sorted keys of one group of parts."""
    from stages.dedup.near.sorting import sorted_pairs

    run: Run = task.given
    group = groups(run.corpus)[task.number]
    found = [_keys(run, number, run.corpus.parts[group[0]].first) for number in group]
    keys, owners = sorted_pairs(*(np.concatenate(column) for column in zip(*found)))
    return task.put(blocks(key=keys, row=owners.astype(np.uint32)))


def _keys(run: Run, number: int, base: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, documents counted from `base`) of a part."""
    part = run.corpus.parts[number]
    signatures = run.signatures.read(number)
    taken = column(signatures, "tokens") > 0
    duplicates = ExactGroups(run.store("exact")).duplicates(part.first, part.first + part.rows)
    taken[duplicates - part.first] = False
    rows = np.flatnonzero(taken)
    keys = np.empty((len(rows), run.banding.bands), np.uint64)
    for first in range(0, len(rows), PIECE):
        some = slice(first, first + PIECE)
        keys[some] = band_keys(picked(signatures, "values", rows[some], run.banding.permutations), run.banding)
    return keys.ravel(), np.repeat(rows + (part.first - base), run.banding.bands)
