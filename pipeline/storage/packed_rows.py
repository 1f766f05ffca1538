"""Rows of a TOKENS store by their number in an endless, shuffled order: a function of store, seed and number alone.

So that a stream of them goes on exactly at any number, whoever read the numbers before. Local shards are mapped and not hashed
(`maetdol verify` does that): a worker that wants a row of each would read the whole store first. From object storage a shard is
fetched whole, and held against its receipt; two are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import SourceError, UsageError
from pipeline.schema import upgraded
from pipeline.storage.files import Local
from pipeline.storage.store import Store

Part = Literal["all", "train", "heldout"]
Shuffle = Literal["rows", "shards", "none"]
ROUNDS = 6
"""Of the Feistel network; four are enough for a permutation nobody attacks (Luby and Rackoff 1988)."""
FETCHED = 2
"""Shards of object storage held in memory."""
TRAINING_ROWS = "training_rows"
"""Note of a shard's receipt: so many rows are trained on, and stand before those held out. So nobody reads it to find out."""

GREATEST_ID = "greatest_id"
"""Note of a shard's receipt: no token id in it is greater. So nobody reads it to find the width of an id."""


class PackedRow(NamedTuple):
    """One row. Arrays are views into the shard."""

    id: str
    input_ids: np.ndarray
    """int32."""
    starts: np.ndarray
    """int32: where its documents begin."""


class PackedRows:
    """The rows of a store (`part` of them: by their mark of what is held out) in the order that `shuffle` and `seed` give.

    `shuffle`: rows, over the whole store, which wants it on a local disk; shards, whole shards and the rows in each; none. Every
    epoch has an order of its own. SourceError where the store holds no TOKENS or none of that part.
    """

    def __init__(self, store: Store, part: Part = "train", shuffle: Shuffle = "rows", seed: int = 17):
        manifest = store.require()
        if store.shape != "TOKENS":
            raise SourceError(f"{store.path} holds {store.shape}", "give a store of packed rows")
        self.local = isinstance(store.fs, Local)
        if shuffle == "rows" and not self.local:
            raise UsageError(
                "rows of a whole store are shuffled on a local disk", "give shuffle='shards', or copy the store"
            )
        self.store, self.part, self.shuffle, self.seed = store, part, shuffle, seed
        self.identity = store.content_hash
        self.shards = [entry["shard"] for entry in manifest["shards"]]
        self._open: OrderedDict[int, pa.Table] = OrderedDict()
        self._known = {} if part == "all" else store.receipts()
        self._chosen = [self._rows_of(shard, entry["rows"]) for shard, entry in zip(self.shards, manifest["shards"])]
        self._sizes = np.array(
            [chosen if isinstance(chosen, int) else len(chosen) for chosen in self._chosen], np.int64
        )
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None
        if not len(self):
            raise SourceError(f"{store.path} has no rows ({part})", "give another part, or another store")

    def __len__(self) -> int:
        """Rows of an epoch."""
        return int(self._sizes.sum())

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict(), "_known": {}}  # maps are opened again where it is sent to

    def _rows_of(self, shard: int, rows: int) -> int | np.ndarray:
        """The rows of a shard that belong to the part: how many where they are the first ones, else their numbers."""
        if self.part == "all":
            return rows
        receipt = self._known.get(shard) or self.store.require_receipt(shard)
        first = receipt.notes.get(TRAINING_ROWS)
        if isinstance(first, int) and not receipt.taken:  # a takedown may have taken rows away
            return first if self.part == "train" else np.arange(first, rows, dtype=np.int32)
        table = self._table(shard)
        if "heldout" not in table.column_names:
            raise UsageError(
                f"{self.store.path} does not say what is held out of training", "give part='all', or make it again"
            )
        held = table["heldout"].fill_null(False).to_numpy(zero_copy_only=False)
        found = np.flatnonzero(held if self.part == "heldout" else ~held).astype(np.int32)
        return len(found) if not len(found) or found[-1] == len(found) - 1 else found

    def _table(self, shard: int) -> pa.Table:
        if shard not in self._open:
            if self.local:
                path = self.store.fs.path(f"shards/{shard:05d}.arrow")
                self._open[shard] = upgraded(pa.ipc.open_file(pa.memory_map(path)).read_all())
            else:
                while len(self._open) >= FETCHED:
                    self._open.popitem(last=False)
                self._open[shard] = self.store.read(shard)
        self._open.move_to_end(shard)
        return self._open[shard]

    def where(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(shard, row) of every number (int64); number len(self) is the first of the second epoch."""
        shards, rows = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        epochs, index = np.divmod(numbers, len(self))
        for epoch in np.unique(epochs).tolist():
            own = epochs == epoch
            order, ends = self._order(epoch)
            at = permuted(index[own], len(self), self._key(epoch)) if self.shuffle == "rows" else index[own]
            position = np.searchsorted(ends, at, side="right")
            row = at - np.where(position > 0, ends[position - 1], 0)
            if self.shuffle == "shards":
                for some in np.unique(position).tolist():
                    inside, number = position == some, int(order[some])
                    row[inside] = permuted(row[inside], int(self._sizes[number]), self._key(epoch, number))
            shards[own], rows[own] = order[position], row
        return shards, rows

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the shards as they come in an epoch, and where each ends."""
        if self._epoch is None or self._epoch[0] != epoch:
            order = np.arange(len(self.shards), dtype=np.int64)
            if self.shuffle == "shards":
                order = permuted(order, len(order), self._key(epoch))
            self._epoch = epoch, order, np.cumsum(self._sizes[order])
        return self._epoch[1:]

    def _key(self, *parts: int) -> bytes:
        return blake2b(f"{self.seed}/{'/'.join(map(str, parts))}".encode(), digest_size=8 * ROUNDS).digest()

    def rows(self, first: int, last: int) -> list[PackedRow]:
        """The rows of numbers first .. last - 1."""
        shards, numbers = self.where(np.arange(first, last, dtype=np.int64))
        found: list[PackedRow | None] = [None] * len(numbers)
        for position in dict.fromkeys(shards.tolist()):  # a shard of object storage is opened once
            table, chosen = self._table(self.shards[position]), self._chosen[position]
            for at in np.flatnonzero(shards == position).tolist():
                number = int(numbers[at]) if isinstance(chosen, int) else int(chosen[numbers[at]])
                found[at] = _row(table, number)
        return found  # type: ignore[return-value]

    def table(self, first: int, last: int) -> pa.Table:
        """The rows of numbers first .. last - 1 with all their columns."""
        parts = []
        for position, row in zip(*self.where(np.arange(first, last, dtype=np.int64))):
            chosen = self._chosen[position]
            number = int(row) if isinstance(chosen, int) else int(chosen[row])
            parts.append(self._table(self.shards[position]).slice(number, 1))
        return pa.concat_tables(parts, promote_options="default").combine_chunks()


def _row(table: pa.Table, number: int) -> PackedRow:
    part = table.slice(number, 1)
    ids, docs = (part[name].combine_chunks() for name in ("input_ids", "docs"))
    starts = docs.flatten().field("start").to_numpy(zero_copy_only=False)
    return PackedRow(part["id"][0].as_py(), ids.flatten().to_numpy(zero_copy_only=False), starts)


def permuted(index: np.ndarray, size: int, key: bytes) -> np.ndarray:
    """Where each of `index` (int64, 0 .. size - 1) goes in a permutation of `size` numbers that `key` (8 bytes a round) chooses.

    A Feistel network over the next power of four, walked until it is inside (Black and Rogaway 2002): no table, any part of the
    order at once.

    >>> sorted(permuted(np.arange(10), 10, b"k" * 48).tolist()) == list(range(10))
    True
    """
    if size < 2:
        return index.copy()
    keys = np.frombuffer(key, "<u8")
    half = np.uint64(((size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    found = index.astype(np.uint64)
    outside = np.ones(len(found), bool)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for own in keys:
            left, right = right, left ^ (_mixed(right, own) & mask)
        found[outside] = (left << half) | right
        outside = found >= size
    return found.astype(np.int64)


def _mixed(value: np.ndarray, key: np.uint64) -> np.ndarray:
    """The last steps of SplitMix64."""
    with np.errstate(over="ignore"):
        value = (value + np.uint64(0x9E3779B97F4A7C15)) ^ key
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
