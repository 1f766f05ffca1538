"""A pass: numbered shards of a sub-store, each made by one pool task and proven by its receipt.

A proven shard under its current key is not made again. Its bytes are held against the receipt first: what a crash or a
bad disk damaged is named and made again, before anything reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.engine.tasks import Proofs, drop_others, resumed
from pipeline.errors import DamagedStore, MaetdolError, repair_hint
from pipeline.storage.files import Local
from pipeline.storage.ledger import Receipt
from pipeline.storage.shards import hash_of, number_of
from pipeline.storage.store import Store

log = logging.getLogger("maetdol.dedup")

STAGE = "dedup"
PIECES = ("pieces", "columns")
"""Notes of a receipt whose shard was written in pieces: where they lie, and the schema."""
SIGNATURES, SIGNATURES_BEFORE = "minhash", "sign"
"""The folder of the signatures, and its name in stores of 0.1.0."""


@dataclass(frozen=True)
class PassTask:
    """One shard to make: where it goes, under which key, and what the pass needs to know."""

    sink: Store
    number: int
    key: str
    given: Any

    @property
    def name(self) -> str:
        return f"{self.sink.name} {self.number:05d}"

    def put(self, table: pa.Table, notes: dict[str, Any] | None = None) -> Receipt:
        """Write the shard; a pass has no documents of its own, so it has no ledger."""
        return self.sink.put(self.number, table, None, key=self.key, stage=STAGE, notes=notes)

    def put_pieces(
        self, schema: pa.Schema, pieces: Iterable[tuple[int, pa.Table]], notes: dict[str, Any] | None = None
    ) -> Receipt:
        """Write the shard as pieces, each for the reader of its number, who gets it by one ranged read (`piece`); tables in a row for
        one reader are one piece. The receipt notes where they lie and their hashes."""
        found: dict[str, list[tuple[int, int, str]]] = {}
        with self.sink.writer(self.number, stage=STAGE, key=self.key) as writer:
            writer.ledgered = False
            writer.begin_pieces(schema)
            for to, tables in groupby(pieces, itemgetter(0)):
                for _, table in tables:
                    for batch in table.to_batches():
                        writer.write(batch)
                found.setdefault(str(to), []).append(writer.end_piece())
            columns = schema.serialize().to_pybytes().hex()
            return writer.commit(notes={**(notes or {}), "pieces": found, "columns": columns})


def piece(store: Store, shard: int, to: int) -> pa.Table:
    """What a shard written by `put_pieces` holds for the reader `to`, held against its hash; a table without rows where nothing."""
    receipt = store.require_receipt(shard)
    schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(receipt.notes["columns"])))
    name, batches = f"shards/{number_of(shard)}.arrow", []
    for first, size, expected in receipt.notes["pieces"].get(str(to), ()):
        data = store.fs.read_range(name, first, size)
        if hash_of(data) != expected:
            raise DamagedStore(f"{store.fs.path(name)} does not match its receipt", repair_hint(store.path))
        source = pa.BufferReader(data)
        while source.tell() < size:
            batches.append(pa.ipc.read_record_batch(pa.ipc.read_message(source), schema))
    return pa.Table.from_batches(batches, schema)


def make(
    sink: Store, fn: Callable[[PassTask], Receipt], keys: dict[int, str], given: Callable[[int], Any], pool: Pool
) -> list[Receipt]:
    """Make the shards `keys` (number -> key) of a pass that are not proven; returns their receipts by number.

    Shards of other numbers are removed. `given(number)` is what a task carries.
    """
    there = Proofs.taken(sink)
    drop_others(sink, keys, there.names)
    tasks = [PassTask(sink, number, key, given(number)) for number, key in keys.items()]
    receipts = resumed(pool, fn, tasks, f"dedup {sink.name}", lambda task: _whole(there, task.number, task.key))
    sink.list_receipts(receipts)
    return receipts


def signatures_of(home: Store) -> Store:
    """The pass `minhash` of a store; a store of 0.1.0 goes on under the old name, so that nothing is computed again."""
    old = home.sub(f"passes/{SIGNATURES_BEFORE}")
    return old if old.fs.names("receipts") else home.sub(f"passes/{SIGNATURES}")


def proven(sink: Store, keys: dict[int, str]) -> list[Receipt] | None:
    """The receipts of all these shards, if every one is there, whole and under its key."""
    there, found = Proofs(sink), []
    for number, key in keys.items():
        if (receipt := _whole(there, number, key)) is None:
            return None
        found.append(receipt)
    return found


def _whole(there: Proofs, number: int, key: str) -> Receipt | None:
    """The receipt of a shard that was made under `key` and is whole; a line names what is damaged."""
    try:
        receipt = there.receipt(number)
    except MaetdolError as fault:
        log.warning(f"dedup: {fault.message}; made again")
        return None
    return receipt if receipt and receipt.key == key and is_whole(there.store, receipt, there.sizes) else None


def is_whole(sink: Store, receipt: Receipt, there: dict[str, int] | None = None) -> bool:
    """Do the shard's bytes match its receipt? A line names one that does not. On object storage, which takes objects whole and
    checks them itself, their length is held here and their hash where they are read."""
    name = f"shards/{number_of(receipt.shard)}.arrow"
    there = sink.fs.sizes("shards") if there is None else there
    fault = "is missing" if name not in there else None
    if fault is None and there[name] != receipt.sizes.get(name, there[name]):
        fault = "does not match its receipt"
    if fault is None and isinstance(sink.fs, Local) and hash_of(sink.fs.read(name)) != receipt.bytes_hash:
        fault = "does not match its receipt"
    if fault:
        log.warning(f"dedup: {sink.fs.path(name)} {fault}; made again")
    return fault is None


def key_ranges(total: int, most: int) -> Sequence[tuple[int, int]]:
    """The 64-bit keys in equal ranges (first, last inclusive), enough that `total` even ones are at most `most` each."""
    parts = max(1, -(-total // most))
    edges = [part * (1 << 64) // parts for part in range(parts + 1)]
    return [(low, high - 1) for low, high in zip(edges, edges[1:])]


def range_of(keys: np.ndarray, count: int) -> np.ndarray:
    """int64: in which of `count` equal ranges (`key_ranges`) each 64-bit key lies."""
    lows = np.array([low for low, _ in key_ranges(count, 1)], np.uint64)
    return np.searchsorted(lows, keys, side="right") - 1
