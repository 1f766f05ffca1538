"""The decisions table: every level appends rows to it, and whatever needs to know which documents stay joins it.

The rows of a level are the shards of the pass of its name. Columns, sorted by `doc` within a shard:

    doc            int64: number of the document
    reason         int8: what removes it (position in REASONS; 0 for a representative)
    duplicate_of   int64: the document it duplicates; its own number for a representative
    score          float64: exact similarity of the two; NaN for a representative
    members        int64: documents that the representative stands for, itself and identical ones included
    kept_id        the id of `duplicate_of`, in bytes

Levels run in the order exact, near, url, semantic, and each names only documents whose decision it changes. A document without
a row at a level has its representative's. A representative goes only if every document it stands for matches the new one
too; otherwise it stays, for those were compared with it and nothing else. So no level removes through a chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import between, blocks, column, lookup
from stages.dedup.corpus import InputPart
from stages.dedup.passes import PassTask, piece

if TYPE_CHECKING:
    from stages.dedup.run import Run

REASONS = (
    None,
    "dedup.exact",
    "dedup.near",
    "dedup.url",
    "dedup.semantic",
    "dedup.has_copies",
    "dedup.nothing_left",
    "dedup.answers_alike",
)
KEPT, EXACT, NEAR, URL, SEMANTIC, COPIED, EMPTIED, ALIKE = range(len(REASONS))
COLUMNS = ("reason", "duplicate_of", "score", "members", "kept_id")
LEFT = "not_compared"


def rows_of(
    reason: int,
    docs: np.ndarray,
    duplicate_of: np.ndarray,
    score: np.ndarray,
    members: np.ndarray,
    kept_id: np.ndarray,
    **more: np.ndarray,
) -> pa.Table:
    """Rows of a level (any order), `reason` for those that are not their own representative; `more` are columns of its own."""
    order = np.argsort(docs)
    docs, duplicate_of = docs[order], duplicate_of[order]
    reasons = np.where(docs == duplicate_of, KEPT, reason).astype(np.int8)
    own = {name: values[order] for name, values in more.items()}
    own["kept_id"] = kept_id[order]
    return blocks(
        doc=docs, reason=reasons, duplicate_of=duplicate_of, score=score[order], members=members[order], **own
    )


def no_rows() -> pa.Table:
    """A shard of a level that changes nothing."""
    empty = np.zeros(0, np.int64)
    return rows_of(KEPT, empty, empty, np.zeros(0), empty, np.zeros(0, "S1"))


class Decision(NamedTuple):
    """What became of consecutive documents; columns as in the table, and `left`: candidates of each that were not compared."""

    reason: np.ndarray
    duplicate_of: np.ndarray
    score: np.ndarray
    members: np.ndarray
    kept_id: np.ndarray
    left: np.ndarray

    @classmethod
    def none(cls, first: int, rows: int, width: int = 1) -> Decision:
        """Every one of the documents from `first` on stays. `width`: of the ids, in bytes."""
        numbers = (
            np.zeros(rows, np.int8),
            np.arange(first, first + rows),
            np.full(rows, np.nan),
            np.ones(rows, np.int64),
        )
        return cls(*numbers, np.zeros(rows, f"S{width}"), np.zeros(rows, np.int64))

    @property
    def kept(self) -> np.ndarray:
        """bool: which of them stay."""
        return self.reason == KEPT

    def __getitem__(self, rows: slice) -> Decision:  # type: ignore[override]
        """Those of some rows; writing to them writes here."""
        return Decision(*(values[rows] for values in (*self,)))

    def _with(self, rows: np.ndarray, found: list[np.ndarray]) -> Decision:
        """With the columns `found` in `rows`."""
        reason, duplicate_of, score, members, kept_id = found
        whole = self
        if kept_id.dtype.itemsize > self.kept_id.dtype.itemsize:
            whole = self._replace(kept_id=self.kept_id.astype(kept_id.dtype))
        whole.members[rows] = members
        moved = reason != KEPT
        rows = rows[moved]
        for into, values in zip((*whole,), (reason, duplicate_of, score, None, kept_id)):
            if values is not None:
                into[rows] = values[moved]
        return whole


class Decisions(NamedTuple):
    """The table, as far as some levels have filled it."""

    levels: tuple[Store, ...]
    """Passes, in the order of the levels."""
    drop_all: bool = False
    """Do representatives of several documents go with them (`copies: drop-all`)?"""

    def of(self, first: int, rows: int) -> Decision:
        """What became of the documents `first` to `first + rows - 1`. Every shard of every level is read once."""
        docs, found = np.arange(first, first + rows), Decision.none(first, rows)
        for level in self.levels:
            gone = np.flatnonzero(found.duplicate_of != docs)
            theirs, own = [], []
            for number in level.shards():
                shard = level.read(number)
                at, *columns = lookup(shard, "doc", found.duplicate_of[gone], *COLUMNS)
                theirs.append((gone[at], columns))
                at, *columns = between(shard, "doc", first, first + rows - 1, "doc", *COLUMNS)
                own.append((at - first, columns))
                if LEFT in shard.column_names:
                    at, left = between(shard, "doc", first, first + rows - 1, "doc", LEFT)
                    found.left[at - first] = left
            for at, columns in (*theirs, *own):
                found = found._with(at, columns)
        if self.drop_all:
            found.reason[found.kept & (found.members > 1)] = COPIED
        return found


GROUP_ROWS = 4 << 20
"""Documents of a task of `decided`: some 300 MB."""


class Consolidating(NamedTuple):
    """What a task of `decided` carries."""

    run: Run
    before: str | None


def consolidate(run: Run, pool: Pool, before: str | None = None) -> None:
    """Pass `decided` (or `decided-LEVEL`: of the levels before that one): the table by part, so that whoever works on a part reads
    what became of its documents in one piece. A task joins all levels for a run of parts."""
    groups = run.corpus.groups(GROUP_ROWS)
    run.make(name_of(before), _consolidate, [Consolidating(run, before)] * len(groups), pool)


def name_of(before: str | None) -> str:
    return f"decided-{before}" if before else "decided"


DECIDED = {
    "doc": pa.int64(),
    "reason": pa.int8(),
    "duplicate_of": pa.int64(),
    "score": pa.float64(),
    "members": pa.int64(),
    "left": pa.int64(),
}


def _consolidate(task: PassTask) -> Receipt:
    run, before = task.given
    parts = [run.corpus.parts[number] for number in run.corpus.groups(GROUP_ROWS)[task.number]]
    base = parts[0].first
    found = run.decisions(before).of(base, sum(part.rows for part in parts))
    docs = np.arange(base, base + len(found.reason))
    changed = ~found.kept | (found.duplicate_of != docs) | (found.members > 1) | (found.left > 0)

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        for number, part in zip(run.corpus.groups(GROUP_ROWS)[task.number], parts):
            at = np.flatnonzero(changed[part.first - base : part.first - base + part.rows]) + (part.first - base)
            if len(at):
                yield number, blocks(doc=docs[at], **{name: values[at] for name, values in found._asdict().items()})

    words = pa.large_list(pa.binary(found.kept_id.dtype.itemsize))
    numbers = [(name, pa.large_list(kind)) for name, kind in DECIDED.items()]
    schema = pa.schema([*numbers[:-1], ("kept_id", words), numbers[-1]])
    return task.put_pieces(schema, pieces())


def decided(store: Store, shard: int, number: int, part: InputPart) -> Decision:
    """What became of the documents of part `number`, out of shard `shard` of the pass `decided`."""
    rows = piece(store, shard, number)
    columns = {name: column(rows, name) for name in rows.column_names}
    found = Decision.none(part.first, part.rows, columns["kept_id"].dtype.itemsize)
    at = columns.pop("doc") - part.first
    for name, values in columns.items():
        getattr(found, name)[at] = values
    return found
