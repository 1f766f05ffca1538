"""The kernel of `stopwords.distinct`: which members of a short list of hashes occur in a run of hashes."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel, part, reads, writes

SHIFT = 40
"""Bits of a hash to the right of those that say its slot."""


@part
def slot_of(value, size):
    """First slot of a hash in a table of `size` (a power of two)."""
    return np.int64(np.uint64(value) >> np.uint64(SHIFT)) & (size - 1)


@kernel(reads(np.uint64), reads(np.int64), reads(np.int64), reads(np.uint64, 2), writes(np.int64))
def count_distinct(hashes, bounds, which, tables, out):
    """`out[i]` = different members of `tables[which[i]]` in `hashes[bounds[i]:bounds[i + 1]]`; rows of `which` -1 are left."""
    size = tables.shape[1]
    met = np.empty(tables.shape, np.int64)
    for table in range(tables.shape[0]):
        for slot in range(size):
            met[table, slot] = -1
    for row in range(len(bounds) - 1):
        table = which[row]
        if table < 0:
            continue
        count = 0
        for at in range(bounds[row], bounds[row + 1]):
            slot = slot_of(hashes[at], size)
            while tables[table, slot] != 0:
                if tables[table, slot] == hashes[at]:
                    if met[table, slot] != row:
                        met[table, slot] = row
                        count += 1
                    break
                slot = (slot + 1) & (size - 1)
        out[row] = count
