"""A shuffle: entries that tasks write for ranges of documents; rows of `to` (the range) and lists of up to 65,536 numbers.

A task writes in runs that fit its memory; a reader takes the rows of its own range from many shards, one list at a time. The
receipt's note `to` counts entries by range, so that only shards that hold some for a range are opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import BLOCK
from stages.dedup.passes import STAGE, PassTask

Source = tuple[Store, tuple[int, ...]]
"""Shards of one pass."""


class Ranges(NamedTuple):
    """`rows` documents in `count` ranges of `size`, the last one shorter."""

    rows: int
    size: int

    @property
    def count(self) -> int:
        return -(-self.rows // self.size)

    def bounds(self, number: int) -> tuple[int, int]:
        """First document of a range, and the one behind its last."""
        return number * self.size, min((number + 1) * self.size, self.rows)

    @property
    def run(self) -> int:
        """Entries held before they are written."""
        return max(BLOCK, self.size // 4)


class PartitionWriter:
    """Groups entries by range, by the column `by`; yields record batches where enough have come together."""

    def __init__(self, ranges: Ranges, by: str, names: tuple[str, ...], sent: dict[str, int]):
        self.ranges, self.by, self.names, self.sent = ranges, by, names, sent
        self._held: list[tuple[np.ndarray, ...]] = []
        self._count = 0

    def add(self, *columns: np.ndarray) -> Iterator[pa.RecordBatch]:
        """Take entries; yields batches that are full."""
        if len(columns[0]):
            self._held.append(columns)
            self._count += len(columns[0])
        if self._count >= self.ranges.run:
            yield from self.flush()

    def flush(self) -> Iterator[pa.RecordBatch]:
        """Whatever is held."""
        if not self._count:
            return
        columns = {name: np.concatenate(pieces) for name, pieces in zip(self.names, zip(*self._held))}
        self._held, self._count = [], 0
        owner = (columns[self.by] // self.ranges.size).astype(np.uint16 if self.ranges.count <= 1 << 16 else np.int64)
        order = np.argsort(owner, kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
        counts = np.bincount(owner)
        ends = np.cumsum(counts)
        for to in np.flatnonzero(counts).tolist():
            yield from self.packed(
                to, {name: values[ends[to] - counts[to] : ends[to]] for name, values in columns.items()}
            )

    def packed(self, to: int, columns: dict[str, np.ndarray]) -> Iterator[pa.RecordBatch]:
        """Entries for one range, in lists."""
        total = len(columns[self.by])
        self.sent[str(to)] = self.sent.get(str(to), 0) + total
        ends = pa.array(np.r_[np.arange(0, total, BLOCK), total].astype(np.int64))
        lists = {name: pa.LargeListArray.from_arrays(ends, pa.array(values)) for name, values in columns.items()}
        yield pa.record_batch({"to": pa.array(np.full(len(ends) - 1, to, np.int64)), **lists})


def put(task: PassTask, batches: Iterable[pa.RecordBatch], names: dict[str, pa.DataType], notes: dict) -> Receipt:
    """Write a shard from a stream of such batches; `notes` may grow until it ends and must not be empty."""
    schema = pa.schema({"to": pa.int64(), **{name: pa.large_list(kind) for name, kind in names.items()}})

    def stream() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([], schema)
        yield from batches

    return task.sink.put(task.number, stream(), None, key=task.key, stage=STAGE, notes=notes)


def read(sources: Iterable[Source], to: int, *names: str) -> Iterator[list[np.ndarray]]:
    """The entries for the range `to` in the shards of `sources`, in their order, a list at a time."""
    for store, shards in sources:
        for shard in shards:
            for batch in store.batches(shard):
                mine = np.flatnonzero(batch.column("to").to_numpy() == to)
                lists = [batch.column(name) for name in names]
                for row in mine.tolist():
                    yield [each[row].values.to_numpy(zero_copy_only=True) for each in lists]


def sources_by_range(made: Iterable[tuple[Store, Receipt]]) -> dict[int, list[Source]]:
    """Shards that hold entries for each range, in the order given."""
    found: dict[int, dict[str, tuple[Store, list[int]]]] = {}
    for store, receipt in made:
        for to in receipt.notes["to"]:
            found.setdefault(int(to), {}).setdefault(store.path, (store, []))[1].append(receipt.shard)
    return {to: [(store, tuple(shards)) for store, shards in by.values()] for to, by in found.items()}
