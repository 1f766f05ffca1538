"""A pass: numbered shards of a sub-store, each made by one pool task and proven by its receipt.

A proven shard under its current key is not made again. Its bytes are held against the receipt first: what a crash or a
bad disk damaged is named and made again, before anything reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.engine.tasks import drop_others, resumed
from pipeline.errors import MaetdolError
from pipeline.storage.ledger import COLUMNS, Receipt
from pipeline.storage.shards import hash_of
from pipeline.storage.store import Store

log = logging.getLogger("maetdol.dedup")

STAGE = "dedup"
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
        """Write the shard; a pass has no documents of its own, so its ledger is empty."""
        return self.sink.put(self.number, table, COLUMNS.empty_table(), key=self.key, stage=STAGE, notes=notes)


def make(
    sink: Store, fn: Callable[[PassTask], Receipt], keys: dict[int, str], given: Callable[[int], Any], pool: Pool
) -> list[Receipt]:
    """Make the shards `keys` (number -> key) of a pass that are not proven; returns their receipts by number.

    Shards of other numbers are removed. `given(number)` is what a task carries.
    """
    drop_others(sink, keys)
    tasks = [PassTask(sink, number, key, given(number)) for number, key in keys.items()]
    return resumed(pool, fn, tasks, f"dedup {sink.name}", lambda task: _whole(sink, task.number, task.key))


def signatures_of(home: Store) -> Store:
    """The pass `minhash` of a store; a store of 0.1.0 goes on under the old name, so that nothing is computed again."""
    old = home.sub(f"passes/{SIGNATURES_BEFORE}")
    return old if old.fs.exists("receipts") else home.sub(f"passes/{SIGNATURES}")


def proven(sink: Store, keys: dict[int, str]) -> bool:
    """Are all these shards there, whole and under these keys?"""
    return all(_whole(sink, number, key) is not None for number, key in keys.items())


def _whole(sink: Store, number: int, key: str) -> Receipt | None:
    """The receipt of a shard that was made under `key` and is whole; a line names what is damaged."""
    try:
        receipt = sink.receipt(number)
    except MaetdolError as fault:
        log.warning(f"dedup: {fault.message}; made again")
        return None
    return receipt if receipt is not None and receipt.key == key and is_whole(sink, receipt) else None


def is_whole(sink: Store, receipt: Receipt) -> bool:
    """Do the shard's bytes match its receipt? A line names one that does not."""
    name = f"shards/{receipt.shard:05d}.arrow"
    fault = "is missing" if not sink.fs.exists(name) else None
    if fault is None:
        fault = None if hash_of(sink.fs.read(name)) == receipt.bytes_hash else "does not match its receipt"
    if fault:
        log.warning(f"dedup: {sink.fs.path(name)} {fault}; made again")
    return fault is None


def key_ranges(total: int, most: int) -> Sequence[tuple[int, int]]:
    """The 64-bit keys in equal ranges (first, last inclusive), enough that `total` even ones are at most `most` each."""
    parts = max(1, -(-total // most))
    edges = [part * (1 << 64) // parts for part in range(parts + 1)]
    return [(low, high - 1) for low, high in zip(edges, edges[1:])]
