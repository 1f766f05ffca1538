"""The rows that are compared: every shard of `of` and `against` in one numbering, and how to fetch rows by number.

A part's number is that of the output shard that is made of it (`input_shards`), so that what is known of a part stays its own where
others come and go.

A document's number is its position in the input (shards in order, rows in order). Numbers name documents between passes and
decide nothing: what decides is text, keep policy and id, so that another shard layout gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from pipeline.engine.stage import Inputs, input_shards
from pipeline.storage.files import Local
from pipeline.storage.store import Store

PORTS = ("of", "against")


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
    """All parts by number, those of `of` first."""

    parts: dict[int, InputPart]

    @classmethod
    def of(cls, inputs: Inputs) -> Corpus:
        parts: dict[int, InputPart] = {}
        first = 0
        lying = {store.path: _shards(store) for port in PORTS for store in inputs[port]}
        new = sum(len(lying[store.path]) for store in inputs["of"])
        for number, store, shard, _ in input_shards(inputs, PORTS):
            content, rows = lying[store.path][shard]
            parts[number] = InputPart(store, shard, content, first, rows, len(parts) >= new)
            first += rows
        return cls(parts)

    @property
    def rows(self) -> int:
        last = next(reversed(self.parts.values()), None)
        return last.first + last.rows if last else 0

    @property
    def new_rows(self) -> int:
        """Rows of `of`: documents from here on are of `against`."""
        return sum(part.rows for part in self.parts.values() if not part.old)

    @cached_property
    def _begins(self) -> tuple[np.ndarray, np.ndarray]:
        """Number and first document of each part."""
        return np.array([*self.parts], np.int64), np.array([part.first for part in self.parts.values()], np.int64)

    def number_at(self, position: int) -> int:
        """Number of the part at a position."""
        return int(self._begins[0][position])

    def position(self, number: int) -> int:
        """Position of part `number`."""
        return int(np.searchsorted(self._begins[0], number))

    def positions(self, docs: np.ndarray) -> np.ndarray:
        """int64: position of the part that holds each of `docs`."""
        return np.searchsorted(self._begins[1], docs, side="right") - 1

    def owners(self, docs: np.ndarray) -> np.ndarray:
        """Number of the part (int64) that holds each of `docs`."""
        return self._begins[0][self.positions(docs)]

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
            part = self.parts[int(self.owners(wanted[at : at + 1])[0])]
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
            part = next(iter(self.parts.values()))
            return with_columns(part.store.read(part.shard), columns).slice(0, 0)
        back = np.empty(len(docs), np.int64)
        back[np.concatenate(positions)] = np.arange(len(docs))
        whole = pa.concat_tables([pa.Table.from_batches([piece]) for piece in pieces], promote_options="permissive")
        return whole.combine_chunks().take(pa.array(back)).combine_chunks()

    def groups(self, rows: int, parts: int = 256) -> list[list[int]]:
        """Numbers of consecutive parts of at most so many rows together, and at most `parts`; a larger part is alone."""
        found: list[list[int]] = []
        held = 0
        for number, part in self.parts.items():
            if not found or held + part.rows > rows or len(found[-1]) == parts:
                found.append([])
                held = 0
            found[-1].append(number)
            held += part.rows
        return found

    def owner_groups(self, groups: list[list[int]], docs: np.ndarray) -> np.ndarray:
        """Position in `groups` (int64) of the group whose parts hold each of `docs`."""
        firsts = np.array([self.parts[group[0]].first for group in groups], np.int64)
        return np.searchsorted(firsts, docs, side="right") - 1


def with_columns(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns; an extra one that the shard lacks is null."""
    lacking = [name for name in columns if name not in rows.column_names]
    for name in lacking:
        rows = rows.append_column(name, pa.nulls(len(rows)))
    return rows.select(list(columns))


def _shards(store: Store) -> dict[int, tuple[str, int]]:
    """(hash of its bytes as they lie there, rows) of every shard. A takedown leaves a shard its hash in the manifest, and moves
    the rows behind a lost one: what is kept of its rows by their positions goes by the bytes."""
    manifest = store.manifest()
    if manifest is not None and not manifest.get("takedowns"):
        return {entry["shard"]: (entry["content_hash"], entry["rows"]) for entry in manifest["shards"]}
    known = store.receipts()
    receipts = (known.get(number) or store.require_receipt(number) for number in store.shards())
    return {receipt.shard: (receipt.bytes_hash, receipt.rows) for receipt in receipts}
