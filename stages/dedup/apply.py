"""Pass `apply`: the kept rows of each shard and the ledger of all of them.

Output shard n mirrors input shard n. Kept rows gain `cluster_size`: how many documents the row stands for, itself
included. Ledger metrics: `dedup.score` (exact similarity with the keeper: Jaccard, or the cosine where the level is
`semantic`; 1 for identical texts and addresses) and `dedup.cluster_size`, for kept and removed alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.schema import STR, Edit
from pipeline.storage.ledger import COLUMNS, Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import between, column, lookup
from stages.dedup.corpus import Corpus
from stages.dedup.exact.groups import Twins
from stages.dedup.later import Later
from stages.dedup.passes import Task
from stages.dedup.spans.removal import Marks, cut_batch, ledger_edits
from stages.dedup.spans.turns import Taken, cut_turns, noted

SIZE = "cluster_size"
KEPT, EXACT, NEAR, COPIED, EMPTIED, URL, SEMANTIC, ALIKE = range(8)
REASONS = (
    None,
    "dedup.exact",
    "dedup.near",
    "dedup.has_copies",
    "dedup.nothing_left",
    "dedup.url",
    "dedup.semantic",
    "dedup.answers_alike",
)
NULL_TEXT, NO_TEXT, NO_WORDS = "text is null", "text is empty", "text has no words"
LIMITED = "not compared with all its candidates: too many are nearly as similar as the threshold asks"


class Applying(NamedTuple):
    """What a task needs."""

    corpus: Corpus
    sign: Store
    exact: Store
    verify: Store
    name_exact: bool
    """Is the exact level asked for? Otherwise identical texts are near-duplicates of similarity 1."""
    drop_all: bool
    """Does what has copies go with them?"""
    notes: dict[str, Any]
    repeats: Store | None = None
    """Repeated spans to cut, where a level of spans is asked for."""
    level: str = ""
    taken: Taken | None = None
    """The turns they are cut from, in chats and pairs."""
    later: tuple[Later, ...] = ()
    """What the levels after `near` decided, in their order."""


class Fate(NamedTuple):
    """What becomes of the rows of a part, by row."""

    keeper: np.ndarray
    """int64: number of the keeper; its own for one that is kept."""
    why: np.ndarray
    """int8: KEPT or what else stands above."""
    score: np.ndarray
    members: np.ndarray


def run(task: Task) -> Receipt:
    """Write one output shard."""
    given: Applying = task.given
    part = given.corpus.parts[task.number]
    fate = fate_of(given, part.first, part.rows)
    keepers = _keeper_ids(given.corpus, fate)
    notes = _remarks(given, task.number)
    marks = Marks.of(given.repeats, given.level, part.first, part.rows) if given.repeats else None
    seen: list[pa.Array] = []
    with task.sink.writer(task.number, stage="dedup", key=task.key) as writer:
        writer.expect(widened(part.store.read(part.shard).schema))
        at = 0
        for batch in given.corpus.batches(task.number):
            rows, remarks = slice(at, at + len(batch)), notes.slice(at, len(batch))
            mine = Fate(*(values[rows] for values in fate))
            edits: dict[int, list[Edit]] = {}
            if marks is not None:
                cut = (batch, part.first + at, mine.why == KEPT, marks)
                edited = cut_turns(*cut, given.taken) if given.taken else cut_batch(*cut)
                batch, edits = edited.batch, edited.edits
                mine.why[edited.emptied], mine.why[edited.alike] = EMPTIED, ALIKE
                remarks = noted(remarks, edited.left)
            writer.write(_kept(batch, mine.why == KEPT, mine.members, writer.schema))
            writer.record(_ledger(batch.column("id"), mine, keepers.slice(at, len(batch)), remarks, edits))
            seen.append(batch.column("id"))
            at += len(batch)
        return writer.commit(input_ids=pa.chunked_array(seen, STR), notes=given.notes)


def widened(schema: pa.Schema) -> pa.Schema:
    """The output's columns: the input's, and `cluster_size` last."""
    return pa.schema([f for f in schema if f.name != SIZE] + [pa.field(SIZE, pa.int64())])


def fate_of(given: Applying, first: int, rows: int) -> Fate:
    """What the passes found out about the documents `first` to `first + rows - 1`."""
    fate = Fate(np.arange(first, first + rows), np.zeros(rows, np.int8), np.full(rows, np.nan), np.ones(rows, np.int64))
    verdicts = [given.verify.read(number) for number in given.verify.shards()]
    for shard in verdicts:
        docs, keeper, score, members = between(
            shard, "doc", first, first + rows - 1, "doc", "keeper", "score", "members"
        )
        at = docs - first
        fate.keeper[at], fate.score[at], fate.members[at] = keeper, score, members
        fate.why[at] = np.where(keeper == docs, KEPT, NEAR)
    docs, leaders, members = Twins(given.exact).of(first, first + rows)
    at = docs - first
    keeper, score, sizes, why = (
        leaders.copy(),
        np.ones(len(docs)),
        members.copy(),
        np.full(len(docs), EXACT if given.name_exact else NEAR, np.int8),
    )
    for shard in verdicts:
        hit, found_keeper, found_score, found_members = lookup(shard, "doc", leaders, "keeper", "score", "members")
        moved = found_keeper != leaders[hit]
        keeper[hit], sizes[hit] = found_keeper, found_members
        score[hit[moved]], why[hit[moved]] = found_score[moved], NEAR
    removed = docs != leaders
    fate.members[at] = sizes
    at = at[removed]
    fate.keeper[at], fate.score[at], fate.why[at] = keeper[removed], score[removed], why[removed]
    for level in given.later:
        level.lay_over(fate, first, rows)
    if given.drop_all:
        fate.why[(fate.why == KEPT) & (fate.members > 1)] = COPIED
    return fate


def _keeper_ids(corpus: Corpus, fate: Fate) -> pa.Array:
    """Id of each row's keeper; null for rows that have none."""
    has = np.isin(fate.why, (EXACT, NEAR, URL, SEMANTIC))
    gone = np.flatnonzero(has)
    known, places = np.unique(fate.keeper[gone], return_inverse=True)
    ids = corpus.gather(known, ["id"])["id"].combine_chunks() if len(known) else pa.array([], STR)
    picks = np.zeros(len(fate.why), np.int64)
    picks[gone] = places
    return ids.take(pa.array(picks, mask=~has)).cast(STR)


def _remarks(given: Applying, number: int) -> pa.Array:
    """A note for each row that could not be compared, only as a whole, or not with all its candidates; null for the others."""
    signed = given.sign.read(number)
    sizes, tokens, exact = column(signed, "size"), column(signed, "tokens"), column(signed, "exact_a")
    code = np.where(sizes < 0, 0, np.where(tokens > 0, 4, np.where(exact == 0, 1, 2)))
    part = given.corpus.parts[number]
    for shard in given.verify.shards():
        docs, left = between(given.verify.read(shard), "doc", part.first, part.first + part.rows - 1, "doc", "left")
        code[docs[left > 0] - part.first] = 3
    words = pa.array([NULL_TEXT, NO_TEXT, NO_WORDS, LIMITED], STR)
    return words.take(pa.array(np.minimum(code, 3), mask=code == 4))


def _kept(batch: pa.RecordBatch, keep: np.ndarray, members: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns[SIZE] = pa.array(members)
    whole = pa.record_batch([columns[name] for name in schema.names], schema=schema)
    return whole if keep.all() else whole.filter(pa.array(keep))


def _ledger(ids: pa.Array, fate: Fate, keepers: pa.Array, notes: pa.Array, edits: dict[int, list[Edit]]) -> pa.Table:
    """One row per document: made column by column, for a shard can hold a quarter of a million."""
    kept = fate.why == KEPT
    n = len(ids)
    reason = pa.array(REASONS[1:], STR).take(pa.array(np.maximum(fate.why, 1) - 1, mask=kept))
    ends = np.r_[0, np.cumsum(~kept)]
    known = {
        "id": ids,
        "out": pa.array(ids).filter(pa.array(kept)).take(pa.array(np.cumsum(kept) - 1, mask=~kept))
        if kept.any()
        else pa.nulls(n, STR),
        "reason": reason,
        "reasons": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), reason.drop_null()),
        "duplicate_of": keepers,
        "edits": ledger_edits(edits, n),
        "note": notes,
        "dedup.cluster_size": pa.array(fate.members.astype(np.float64)),
        "dedup.score": pa.array(fate.score, mask=~np.isfinite(fate.score)),
    }
    schema = pa.schema([*COLUMNS, ("dedup.cluster_size", pa.float64()), ("dedup.score", pa.float64())])
    return pa.table([known.get(f.name, pa.nulls(n, f.type)) for f in schema], schema=schema)
