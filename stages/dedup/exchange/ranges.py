"""An exchange: what many tasks send to many others, with bounded fan-in and fan-out however many there are.

Writer w writes one file, cut into pieces by reader, in the order of readers. Up to `FAN` writers and readers that is all: a reader
takes its piece of every file by one ranged read. Beyond, a file has a piece for each of `FAN` runs of readers, and passes that merge
come between (level 1, 2, ...): a task takes one piece of up to `FAN` files and writes one file, in which these readers are received apart
`FAN` times finer. So no task reads more than `FAN` pieces and no receipt names more, and the requests of an exchange are
`FAN` times its tasks times its levels, which grow with the logarithm (to the base `FAN`) of writers and readers. A merging task holds
`FAN` pieces: as much as a file of a writer where that has as many, and up to eight times that where it has fewer (65 readers: 8 pieces).

Entries reach a reader in the order of the writers, and those of one writer as it gave them, whatever the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import BLOCK, blocks, column
from stages.dedup.passes import PIECES, PassTask, piece

if TYPE_CHECKING:
    from stages.dedup.run import Run

FAN = 64
"""Pieces that one task reads at most, and into which a file is cut. Files made with another number are not understood
(`FORMAT` of stages/dedup/run.py)."""
TO = "to"
"""Column of entries whose reader the piece does not tell."""

Columns = dict[str, np.ndarray]
Take = Callable[[np.ndarray], Columns]
"""The columns of the entries at some positions."""


def put(task: PassTask, readers: int, to: np.ndarray, take: Take, notes: dict[str, Any] | None = None) -> Receipt:
    """Write what a writer sends: entry i goes to the reader `to[i]` (int, 0 to readers - 1). `take` is asked for `BLOCK` entries at a
    time, so that wide columns need not be there all at once."""
    return _put(task, ExchangeLayout(1, readers), 0, 0, to, take, notes)


class ExchangeLayout(NamedTuple):
    """How many files and pieces there are, and of whom."""

    writers: int
    readers: int

    @property
    def merges(self) -> int:
        """Levels of merging between writers and readers."""
        return max(_digits(self.writers), _digits(self.readers)) - 1

    def run(self, level: int) -> int:
        """Readers whose entries lie in one piece of a file of this level; -1: of those that a writer's file covers."""
        digits = _digits(self.readers)
        base = next(
            base for base in count(1) if base**digits >= self.readers
        )  # so that files of all levels have as many pieces
        return base ** max(0, digits - 1 - level)

    def groups(self, level: int) -> int:
        """Files of this level that cover the same readers."""
        return -(-self.writers // FAN**level)

    def files(self, level: int) -> int:
        """Files of this level."""
        return -(-self.readers // self.run(level - 1)) * self.groups(level)

    def sources(self, level: int, first: int, groups: range) -> tuple[int, list[int]]:
        """(piece, files of this level) in which the entries for the run of readers that begins with `first` lie, from `groups`."""
        covered = first // self.run(level - 1)
        inside = (first - covered * self.run(level - 1)) // self.run(level)
        return inside, [covered * self.groups(level) + group for group in groups]


def _digits(number: int) -> int:
    """How many digits the numbers below `number` have to the base `FAN`; at least one."""
    return next(digits for digits in count(1) if FAN**digits >= number)


class Exchange(NamedTuple):
    """The exchange of a pass: shard w of `store` was written by `put`, by writer w."""

    store: Store
    layout: ExchangeLayout

    @classmethod
    def of(cls, store: Store, writers: int, readers: int) -> Exchange:
        return cls(store, ExchangeLayout(writers, readers))

    def merge(self, run: Run, pool: Pool) -> None:
        """Make the levels between writers and readers."""
        for level in range(1, self.layout.merges + 1):
            given = [Merging(self, level)] * self.layout.files(level)
            run.make_in(self._level(level), _merge, given, pool)

    def _level(self, level: int) -> Store:
        """Levels that merge lie below the writers' folder."""
        return self.store.sub(f"{self.store.name}-merged-{level}") if level else self.store

    def pieces(self, reader: int) -> Iterator[Columns]:
        """What was sent to a reader, a file's piece at a time; nothing where there are no writers."""
        level = self.layout.merges
        return self._pieces(level, reader, range(self.layout.groups(level)))

    def read(self, reader: int) -> Columns:
        """All that was sent to a reader; no columns where there are no writers."""
        return joined(list(self.pieces(reader)))

    def _pieces(self, level: int, first: int, groups: range) -> Iterator[Columns]:
        inside, files = self.layout.sources(level, first, groups)
        for number in files:
            rows = piece(self._level(level), number, inside)
            yield {name: column(rows, name) for name in rows.column_names}


class Merging(NamedTuple):
    """What a task that merges carries."""

    exchange: Exchange
    level: int


def _merge(task: PassTask) -> Receipt:
    """One file of a level: the same run of readers out of up to `FAN` files of the level before."""
    exchange, level = task.given
    layout: ExchangeLayout = exchange.layout
    covered, group = divmod(task.number, layout.groups(level))
    first = covered * layout.run(level - 1)
    before = range(group * FAN, min((group + 1) * FAN, layout.groups(level - 1)))
    found = joined(list(exchange._pieces(level - 1, first, before)))
    to = found.pop(TO).astype(np.int64) if TO in found else np.full(len(next(iter(found.values()))), first)
    return _put(task, layout, level, first, to, lambda at: {name: values[at] for name, values in found.items()})


def _put(
    task: PassTask,
    layout: ExchangeLayout,
    level: int,
    first: int,
    to: np.ndarray,
    take: Take,
    notes: dict[str, Any] | None = None,
) -> Receipt:
    """Write a file of a level, whose readers begin with `first`."""
    wide = layout.run(level)
    order = np.argsort(to, kind="stable") if (to[1:] < to[:-1]).any() else np.arange(len(to))
    to = to[order]

    def table(at: np.ndarray, readers: np.ndarray) -> pa.Table:
        return blocks(**take(at), **({TO: readers.astype(np.uint32)} if wide > 1 else {}))

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        for number in np.unique((to - first) // wide).tolist():
            low, high = np.searchsorted(to, (first + number * wide, first + (number + 1) * wide)).tolist()
            for at in range(low, high, BLOCK):
                some = slice(at, min(at + BLOCK, high))
                yield number, table(order[some], to[some])

    nothing = np.zeros(0, np.int64)
    return task.put_pieces(table(nothing, nothing).schema, pieces(), notes)


def joined(pieces: list[Columns]) -> Columns:
    """Pieces one behind the other. Those without entries are left out: what was sent by nobody has no type."""
    pieces = [some for some in pieces if any(map(len, some.values()))] or pieces[:1]
    return {name: np.concatenate([some[name] for some in pieces]) for name in pieces[0]} if pieces else {}


def notes_of(receipt: Receipt) -> dict[str, Any]:
    """What a writer noted, without where its pieces lie."""
    return {name: value for name, value in receipt.notes.items() if name not in PIECES}
