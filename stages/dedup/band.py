"""Pass `band`: the keys under which each document may meet others, sorted, so that any range of keys is one slice.

Columns, sorted by `key`: `key` (uint64) and `row` (uint32, in the part). Documents without tokens and all but the leader of
a group of identical ones have no keys. How many ranges are read later is free: the sorted list serves any.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.ledger import Receipt
from pipeline.store import Store
from stages.dedup.columns import blocks, column, matrix
from stages.dedup.corpus import Corpus
from stages.dedup.exact import Twins
from stages.dedup.passes import Task
from stages.text.lsh import Banding, band_keys


class Keying(NamedTuple):
    """What a task needs: the corpus, its signatures, the exact groups and the banding."""

    corpus: Corpus
    sign: Store
    exact: Store
    banding: Banding


def run(task: Task) -> Receipt:
    """Write the sorted keys of one part."""
    from stages.text.sorting import sorted_pairs

    given: Keying = task.given
    part = given.corpus.parts[task.number]
    signed = given.sign.read(task.number)
    taken = column(signed, "tokens") > 0
    docs, leaders, _ = Twins(given.exact).of(part.first, part.first + part.rows)
    taken[docs[docs != leaders] - part.first] = False
    rows = np.flatnonzero(taken)
    keys = band_keys(matrix(signed, "values")[rows], given.banding).ravel()
    owners = np.repeat(rows, given.banding.bands)
    keys, owners = sorted_pairs(keys, owners)
    return task.put(blocks(key=keys, row=owners.astype(np.uint32)))
