"""Pass `band`: the keys under which each document may meet others, sorted, so that any range of keys is one slice.

Columns, sorted by `key`: `key` (uint64) and `row` (uint32, counted from the first part in the list). Documents without tokens
and all but the leader of a group of identical ones have no keys. How many ranges are read later is free: the sorted list
serves any.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import blocks, column, picked
from stages.dedup.corpus import Corpus
from stages.dedup.exact.groups import Twins
from stages.dedup.passes import Task
from stages.text.minhash.lsh import Banding, band_keys

LISTS = 4096
"""Lists of keys at most."""
PIECE = 8192
"""Signatures keyed at once: some four megabytes."""


class Keying(NamedTuple):
    """What a task needs: the corpus, its signatures, the exact groups and the banding."""

    corpus: Corpus
    sign: Store
    exact: Store
    banding: Banding


def groups(corpus: Corpus) -> list[range]:
    """The parts whose keys lie in one list: single parts, and of very many parts several together, because every task of the
    next pass opens every list."""
    size = max(1, -(-len(corpus.parts) // LISTS))
    return [range(first, min(first + size, len(corpus.parts))) for first in range(0, len(corpus.parts), size)]


def run(task: Task) -> Receipt:
    """Write the sorted keys of one group of parts."""
    from stages.dedup.near.sorting import sorted_pairs

    given: Keying = task.given
    group = groups(given.corpus)[task.number]
    found = [_keys(given, number, given.corpus.parts[group[0]].first) for number in group]
    keys, owners = sorted_pairs(*(np.concatenate(column) for column in zip(*found)))
    return task.put(blocks(key=keys, row=owners.astype(np.uint32)))


def _keys(given: Keying, number: int, base: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, documents counted from `base`) of a part."""
    part = given.corpus.parts[number]
    signed = given.sign.read(number)
    taken = column(signed, "tokens") > 0
    docs, leaders, _ = Twins(given.exact).of(part.first, part.first + part.rows)
    taken[docs[docs != leaders] - part.first] = False
    rows = np.flatnonzero(taken)
    keys = np.empty((len(rows), given.banding.bands), np.uint64)
    for first in range(0, len(rows), PIECE):
        some = slice(first, first + PIECE)
        keys[some] = band_keys(picked(signed, "values", rows[some], given.banding.permutations), given.banding)
    return keys.ravel(), np.repeat(rows + (part.first - base), given.banding.bands)
