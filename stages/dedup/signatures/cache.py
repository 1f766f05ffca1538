"""A cache of signatures between runs: a folder in which they are found by the content of shards and texts.

    FOLDER/<options>/          a store: one shard of signatures for each input shard, under a number made of its content

A new crawl joins without the signatures of the old being computed again: a shard of known content is not even read. Of a shard that is new as a
whole (the same pages filtered otherwise, or cut into other shards) the documents are found by the hash of their text, and
only those of new ones are computed. Signatures do not depend on bands, threshold, levels or keep policy, so that those
change at no cost. Signatures of other options lie in another folder, and a damaged shard is named and made again.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.errors import DamagedStore
from pipeline.storage.store import Store
from stages.dedup.columns import column, matrix
from stages.dedup.corpus import opened
from stages.dedup.passes import STAGE

log = logging.getLogger("maetdol.dedup")

SAMPLE = 64
"""Documents of a new shard that are looked up in each known shard; where none of them is found, the others are not sought."""
MOST_SHARDS = 1000
"""Among more known shards than this, only whole shards are recognised."""
CONTENT = pa.schema([("content_a", pa.uint64()), ("content_b", pa.uint64()), ("content_sorted", pa.uint64())])
"""Columns a known shard has besides its signatures: both halves of the hash of each text, and the first halves in order."""


class SignatureCache(NamedTuple):
    """The signatures of one set of options, and the numbers of the shards that were known when the run began."""

    store: Store
    known: tuple[int, ...]

    @classmethod
    def at(cls, folder: str, options: str) -> SignatureCache:
        """The cache in `folder` for signatures of these options (a fingerprint)."""
        home = Store(folder)
        others = [name for name in home.fs.folders() if name != options]
        store = home.sub(options)
        known = tuple(int(name[:-5]) for name in store.fs.names("receipts") if name[:-5].isdigit())
        if others and not known:
            log.warning(
                f"dedup: {folder} holds signatures of other options ({', '.join(others[:3])}); all are computed anew"
            )
        return cls(store, known)

    def whole(self, key: str) -> pa.Table | None:
        """The signatures of an input shard under this key; None where they are not known, or damaged (a line says so)."""
        number = number_of(key)
        if number not in self.known:
            return None
        table = self._read(number, key)
        return table.drop_columns(CONTENT.names) if table is not None else None

    def _read(self, number: int, key: str | None = None) -> pa.Table | None:
        """A known shard, held against its receipt once a process: every new shard looks into all of them."""
        try:
            receipt = self.store.receipt(number)
            if receipt is None or (key is not None and receipt.key != key):
                return None
            return opened(self.store, number, receipt.content_hash)
        except DamagedStore as fault:
            log.warning(f"dedup: {fault.message}; made again")
            self.store.drop(number)
            return None

    def add(self, key: str, table: pa.Table, contents: np.ndarray) -> None:
        """Keep the signatures of an input shard; `contents` are the hashes of its texts (`hashes_of`)."""
        first, second = np.ascontiguousarray(contents.T)
        columns = [*table.columns, pa.array(first), pa.array(second), pa.array(np.sort(first))]
        whole = pa.Table.from_arrays(columns, schema=pa.schema([*table.schema, *CONTENT]))
        self.store.put(number_of(key), whole, None, key=key, stage=STAGE)

    def among(self, contents: np.ndarray) -> CachedSignatures:
        """What is known of the documents of a new shard (`hashes_of`): of each one row, out of the shards that hold one of a sample."""
        found, wanted = [], np.unique(contents[:, 0])
        sample = contents[:: max(1, len(contents) // SAMPLE), 0]
        for number in self.known if len(self.known) <= MOST_SHARDS else ():
            if not len(wanted):
                break
            table = self._read(number)
            if table is not None and len(table) and _in(sample, column(table, "content_sorted")).any():
                first, rows = np.unique(column(table, "content_a"), return_index=True)
                here = _in(first, wanted)
                found.append(table.take(pa.array(np.sort(rows[here]))))
                wanted = wanted[~_in(wanted, first[here])]
        return CachedSignatures.of(found)


def _in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """bool by value: does it stand in `ordered` (ascending)?"""
    if not len(ordered):
        return np.zeros(len(values), bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values


class CachedSignatures(NamedTuple):
    """Signatures to take from, by content."""

    first: np.ndarray
    second: np.ndarray
    table: pa.Table | None

    @classmethod
    def of(cls, tables: list[pa.Table]) -> CachedSignatures:
        if not tables:
            return cls(np.zeros(0, np.uint64), np.zeros(0, np.uint64), None)
        table = pa.concat_tables(tables).combine_chunks()
        first, second = column(table, "content_a"), column(table, "content_b")
        order = np.argsort(first, kind="stable")
        return cls(first[order], second[order], table.take(pa.array(order)))

    def rows(self, contents: np.ndarray) -> np.ndarray:
        """Row of each document (int64), -1 for one that is not known."""
        if self.table is None:
            return np.full(len(contents), -1, np.int64)
        at = np.minimum(np.searchsorted(self.first, contents[:, 0]), len(self.first) - 1)
        same = (self.first[at] == contents[:, 0]) & (self.second[at] == contents[:, 1])
        return np.where(same, at, -1)

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Signatures of these rows, uint32."""
        return matrix(self.table, "values")[rows]


def number_of(key: str) -> int:
    """Shard number of a key: 60 bits of it."""
    return int(key[:15], 16)


def hashes_of(texts: Docs) -> np.ndarray:
    """uint64 (n, 2): XXH3-128 of each text; null texts apart from empty ones."""
    import xxhash

    ends = texts.offsets.tolist()
    data = memoryview(texts.data)
    found = b"".join(xxhash.xxh3_128_digest(data[first:last]) for first, last in zip(ends, ends[1:]))
    hashes = np.frombuffer(found, np.uint64).reshape(-1, 2).copy()
    hashes[~texts.valid] = 0
    return hashes
