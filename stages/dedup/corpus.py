"""The rows that are compared: every shard of `of` and `against` in one numbering, and how to fetch rows by number.

A document's number is its position in the input (shards in order, rows in order). Numbers name documents between passes and
decide nothing: what decides is text, keep policy and id, so that another shard layout gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from pipeline.engine.stage import Inputs
from pipeline.storage.files import Local
from pipeline.storage.store import Store


@dataclass(frozen=True)
class InputPart:
    """One shard of the corpus: rows `first` to `first + rows` of the numbering."""

    store: Store
    shard: int
    content: str
    """Hash of its bytes."""
    first: int
    rows: int
    old: bool
    """Of `against`: compared with, never touched."""


def opened(store: Store, shard: int, content: str) -> pa.Table:
    """A shard as a table. Local ones stay mapped from task to task: where texts are read here and there, mapping them anew
    costs more than reading them."""
    return _mapped(store.path, shard, content) if isinstance(store.fs, Local) else store.read(shard)


@lru_cache(maxsize=64)
def _mapped(path: str, shard: int, content: str) -> pa.Table:
    return Store(path).read(shard)


@dataclass(frozen=True)
class Corpus:
    """All parts, those of `of` first: part n is output shard n."""

    parts: tuple[InputPart, ...]

    @classmethod
    def of(cls, inputs: Inputs) -> Corpus:
        parts: list[InputPart] = []
        first = 0
        for port in ("of", "against"):
            for store in inputs[port]:
                for shard, content, rows in _shards(store):
                    parts.append(InputPart(store, shard, content, first, rows, port == "against"))
                    first += rows
        return cls(tuple(parts))

    @property
    def rows(self) -> int:
        return self.parts[-1].first + self.parts[-1].rows if self.parts else 0

    @property
    def new_rows(self) -> int:
        """Rows of `of`: documents from here on are of `against`."""
        return sum(part.rows for part in self.parts if not part.old)

    @cached_property
    def firsts(self) -> np.ndarray:
        return np.array([part.first for part in self.parts], np.int64)

    def batches(self, number: int) -> Iterator[pa.RecordBatch]:
        """The record batches of part `number`."""
        part = self.parts[number]
        yield from opened(part.store, part.shard, part.content).to_batches()

    def find(self, docs: np.ndarray, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray]]:
        """(batch, rows, positions): each record batch that holds some of `docs` (int64, any order), where in it they stand
        (ascending), and their positions in `docs`."""
        order = np.argsort(docs, kind="stable")
        wanted = docs[order]
        at = 0
        while at < len(wanted):
            part = self.parts[int(np.searchsorted(self.firsts, wanted[at], side="right")) - 1]
            first = part.first
            for batch in with_columns(opened(part.store, part.shard, part.content), columns).to_batches():
                stop = at + int(np.searchsorted(wanted[at:], first + len(batch)))
                if stop > at:
                    yield batch, wanted[at:stop] - first, order[at:stop]
                at, first = stop, first + len(batch)

    def gather(self, docs: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """`columns` of the documents `docs` (int64, any order), in that order."""
        pieces, positions = [], []
        for batch, rows, at in self.find(docs, columns):
            pieces.append(batch.take(pa.array(rows)))
            positions.append(at)
        if not pieces:
            return with_columns(self.parts[0].store.read(self.parts[0].shard), columns).slice(0, 0)
        back = np.empty(len(docs), np.int64)
        back[np.concatenate(positions)] = np.arange(len(docs))
        whole = pa.concat_tables([pa.Table.from_batches([piece]) for piece in pieces], promote_options="permissive")
        return whole.combine_chunks().take(pa.array(back)).combine_chunks()

    def groups(self, rows: int, parts: int = 256) -> list[range]:
        """Consecutive parts of at most so many rows together, and at most `parts`; a larger part is alone."""
        found, first, held = [], 0, 0
        for number, part in enumerate(self.parts):
            if number > first and (held + part.rows > rows or number - first == parts):
                found.append(range(first, number))
                first, held = number, 0
            held += part.rows
        return [*found, range(first, len(self.parts))] if self.parts else []


def with_columns(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns; an extra one that the shard lacks is null."""
    lacking = [name for name in columns if name not in rows.column_names]
    for name in lacking:
        rows = rows.append_column(name, pa.nulls(len(rows)))
    return rows.select(list(columns))


def _shards(store: Store) -> list[tuple[int, str, int]]:
    """(number, hash of its bytes as they lie there, rows) of every shard. A takedown leaves a shard its hash in the manifest, and moves
    the rows behind a lost one: what is kept of its rows by their positions goes by the bytes."""
    manifest = store.manifest()
    if manifest is not None and not manifest.get("takedowns"):
        return [(entry["shard"], entry["content_hash"], entry["rows"]) for entry in manifest["shards"]]
    receipts = ((number, store.require_receipt(number)) for number in store.shards())
    return [(number, receipt.bytes_hash, receipt.rows) for number, receipt in receipts]
