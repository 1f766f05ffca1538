"""Ids of the output: several stores put together may hold one id with two texts, and both may stay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.errors import SourceError
from pipeline.storage.store import Store
from stages.dedup.passes import key_ranges

MOST = 8 << 20
"""Ids looked at together: 100 MB of hashes and positions."""


def require_unique(sink: Store, shards: list[int]) -> None:
    """SourceError that names an id which two rows of the output have, and where."""
    index = {shard: sink.index(shard) for shard in shards}
    for low, high in key_ranges(sum(map(len, index.values())), MOST):
        for shard, row, other, row_there in _pairs(index, low, high):
            name = sink.read(shard)["id"][row].as_py()
            if name == sink.read(other)["id"][row_there].as_py():
                raise SourceError(
                    f"dedup: the id {name} stands in shards {shard} and {other} of the output, with texts that are not alike",
                    "give one of the stores with --against, keep one version by level `url`, or ingest both into one store",
                )


def _pairs(index: dict[int, np.ndarray], low: int, high: int) -> Iterator[tuple[int, int, int, int]]:
    """(shard, row, other shard, its row) of rows of different shards whose ids begin alike, of one range of beginnings."""
    found, owners, rows = [], [], []
    for shard, entries in index.items():
        hashes = np.ascontiguousarray(entries["hash"])
        first, last = np.searchsorted(hashes, np.uint64(low)), np.searchsorted(hashes, np.uint64(high), side="right")
        found.append(hashes[first:last])
        owners.append(np.full(last - first, shard))
        rows.append(entries["row"][first:last])
    hashes, owner, row = map(np.concatenate, (found, owners, rows))
    order = np.argsort(hashes, kind="stable")
    for at in np.flatnonzero(hashes[order][1:] == hashes[order][:-1]):
        one, other = order[at], order[at + 1]
        yield int(owner[one]), int(row[one]), int(owner[other]), int(row[other])
