"""The decisions table: every level appends rows to it, and whatever needs to know which documents stay joins it.

The rows of a level lie in the pass of its name, sent to the groups of parts of their documents (stages/dedup/exchange/ranges.py);
`exact` writes this table itself. Columns:

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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import blocks, column
from stages.dedup.corpus import InputPart
from stages.dedup.exchange.gather import Gather
from stages.dedup.exchange.ranges import Columns, Exchange, joined, put
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


GROUP_ROWS = 4 << 20
"""Documents of a group: of a task that decides for a run of parts, some 300 MB."""


class Joining(NamedTuple):
    """What is joined into the table: the state before a level, and what that level decided."""

    run: Run
    state: Store | None
    """The table before the level, by part; None: every document stays."""
    level: Exchange | None
    """Rows of the level; None where the state is all there is."""
    elsewhere: Gather | None = None
    """Asks other groups what became of the representatives that lie there."""


def put_rows(
    task: PassTask,
    run: Run,
    reason: int,
    docs: np.ndarray,
    duplicate_of: np.ndarray,
    score: np.ndarray,
    members: np.ndarray,
    kept_id: np.ndarray,
    notes: dict[str, Any] | None = None,
    **more: np.ndarray,
) -> Receipt:
    """Write rows of a level (any order), to the groups of their documents: `reason` for those that are not their own
    representative; `more` are columns of its own."""
    reasons = np.where(docs == duplicate_of, KEPT, reason).astype(np.int8)
    columns = {"doc": docs, "reason": reasons, "duplicate_of": duplicate_of, "score": score, "members": members, **more}
    columns["kept_id"] = kept_id
    to = run.group_of(docs)
    return put(task, len(run.groups), to, lambda at: {name: values[at] for name, values in columns.items()}, notes)


def put_no_rows(task: PassTask, run: Run, notes: dict[str, Any] | None = None) -> Receipt:
    """A shard of a level that changes nothing."""
    empty = np.zeros(0, np.int64)
    return put_rows(task, run, KEPT, empty, empty, np.zeros(0), empty, np.zeros(0, "S1"), notes)


def consolidate(run: Run, pool: Pool, before: str | None = None) -> None:
    """Pass `decided` (or `decided-LEVEL`: of the levels before that one): the table by part, so that whoever works on a part reads
    what became of its documents in one piece. A task joins one more level to the table, for a group of parts.

    Where a document had gone before that level, what counts is what became of its representative, which may lie in another group:
    that one is asked.
    """
    names = run.before(before)
    if not names or (before and names == ["exact"]):
        return  # nothing is decided, or `exact` has written the table itself
    *earlier, last = names
    groups = len(run.groups)
    joining = Joining(run, run.store("exact"), None)
    if last != "exact":
        consolidate(run, pool, last)
        writers = len(run.store(last).shards())
        joining = Joining(run, run.table(last), Exchange.of(run.store(last), writers, groups))
        joining.level.merge(run, pool)  # type: ignore[union-attr]
    if joining.level is not None and earlier and groups > 1:
        asking = Gather(run, name_of(before), groups, GROUP_ROWS)
        run.make(asking.passes[0], _ask, [joining._replace(elsewhere=asking)] * groups, pool)
        asking.answer(pool, _rows_among, joining)
        joining = joining._replace(elsewhere=asking)
    run.make(name_of(before), _consolidate, [joining] * groups, pool)


def name_of(before: str | None) -> str:
    return f"decided-{before}" if before else "decided"


def _ask(task: PassTask) -> Receipt:
    """Ask for the representatives in other groups of documents that are gone."""
    joining: Joining = task.given
    found = _state(joining, task.number)
    gone = found.duplicate_of[~found.kept]
    return joining.elsewhere.ask(task, np.unique(gone[joining.run.group_of(gone) != task.number]))  # type: ignore[union-attr]


def _rows_among(joining: Joining, number: int, docs: np.ndarray) -> tuple[np.ndarray, Columns]:
    """(positions in `docs`, rows) of those that the level has rows of; `docs` are ascending and of one group."""
    rows = joining.level.read(number) if joining.level else {}
    return _found(rows, docs) if rows else (docs[:0], {"doc": docs[:0]})


def _found(rows: Columns, docs: np.ndarray) -> tuple[np.ndarray, Columns]:
    """(positions in `docs`, rows) of the documents that have a row."""
    order = np.argsort(rows["doc"])
    at = np.minimum(np.searchsorted(rows["doc"], docs, sorter=order), len(order) - 1) if len(order) else docs[:0]
    hit = np.flatnonzero(rows["doc"][order[at]] == docs) if len(order) else docs[:0]
    return hit, {name: rows[name][order[at[hit]]] for name in ("doc", *COLUMNS)}


DECIDED = {
    "doc": pa.int64(),
    "reason": pa.int8(),
    "duplicate_of": pa.int64(),
    "score": pa.float64(),
    "members": pa.int64(),
    "left": pa.int64(),
}


def _consolidate(task: PassTask) -> Receipt:
    joining: Joining = task.given
    run, found = joining.run, _state(joining, task.number)
    rows = joining.level.read(task.number) if joining.level else {}
    if rows:
        base = run.corpus.parts[run.groups[task.number][0]].first
        gone = np.flatnonzero(found.duplicate_of != np.arange(base, base + len(found.reason)))
        own = {name: rows[name] for name in ("doc", *COLUMNS)}
        known = joined([own, joining.elsewhere.read(task.number)]) if joining.elsewhere else own
        at, theirs = _found(known, found.duplicate_of[gone])
        found = found._with(gone[at], [theirs[name] for name in COLUMNS])
        found = found._with(rows["doc"] - base, [rows[name] for name in COLUMNS])
        if LEFT in rows:
            found.left[rows["doc"] - base] = rows[LEFT]
    if task.sink.name == name_of(None) and run.stage.copies == "drop-all":
        found.reason[found.kept & (found.members > 1)] = COPIED
    return put_table(task, run, task.number, found)


def put_table(task: PassTask, run: Run, group: int, found: Decision) -> Receipt:
    """Write what became of the documents of a group as pieces for its parts, without those to whom nothing happened."""
    parts = [run.corpus.parts[number] for number in run.groups[group]]
    base = parts[0].first
    docs = np.arange(base, base + len(found.reason))
    changed = ~found.kept | (found.duplicate_of != docs) | (found.members > 1) | (found.left > 0)

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        for number, part in zip(run.groups[group], parts):
            at = np.flatnonzero(changed[part.first - base : part.first - base + part.rows]) + (part.first - base)
            if len(at):
                yield number, blocks(doc=docs[at], **{name: values[at] for name, values in found._asdict().items()})

    words = pa.large_list(pa.binary(found.kept_id.dtype.itemsize))
    numbers = [(name, pa.large_list(kind)) for name, kind in DECIDED.items()]
    schema = pa.schema([*numbers[:-1], ("kept_id", words), numbers[-1]])
    return task.put_pieces(schema, pieces())


def _state(joining: Joining, number: int) -> Decision:
    """What became of the documents of a group before the level."""
    parts = [joining.run.corpus.parts[at] for at in joining.run.groups[number]]
    first, rows = parts[0].first, sum(part.rows for part in parts)
    return _filled(first, rows, joining.state.read(number)) if joining.state else Decision.none(first, rows)


def decided(store: Store, shard: int, number: int, part: InputPart) -> Decision:
    """What became of the documents of part `number`, out of shard `shard` of a pass that is the table by part."""
    return _filled(part.first, part.rows, piece(store, shard, number))


def _filled(first: int, count: int, rows: pa.Table) -> Decision:
    columns = {name: column(rows, name) for name in rows.column_names}
    found = Decision.none(first, count, columns["kept_id"].dtype.itemsize)
    at = columns.pop("doc") - first
    for name, values in columns.items():
        getattr(found, name)[at] = values
    return found
