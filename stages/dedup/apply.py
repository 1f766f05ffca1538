"""Pass `apply`: joins the decisions table to the rows: the kept rows of each shard, and the ledger of all of them.

An output shard mirrors the input shard of its number. Kept rows gain `cluster_size`: how many documents the row represents, itself
included. Ledger metrics: `dedup.score` (exact similarity with the representative: Jaccard, or the cosine where the level is
`semantic`; 1 for identical texts and URLs) and `dedup.cluster_size`, for kept and removed alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.schema import STR, Edit
from pipeline.storage.ledger import COLUMNS, Receipt
from stages.dedup.columns import column
from stages.dedup.corpus import opened
from stages.dedup.decisions import ALIKE, EMPTIED, EXACT, NEAR, REASONS, SEMANTIC, URL, Decision
from stages.dedup.exchange.ranges import Exchange
from stages.dedup.passes import PassTask
from stages.dedup.run import Run
from stages.dedup.spans.removal import Edited, Removals, edit_batch, ledger_edits
from stages.dedup.spans.turns import edit_turns, noted

SIZE = "cluster_size"
NULL_TEXT, NO_TEXT, NO_WORDS = "text is null", "text is empty", "text has no words"
LIMITED = "not compared with all its candidates: too many are nearly as similar as the threshold asks"


class Applying(NamedTuple):
    """What a task carries."""

    run: Run
    notes: dict[str, Any]
    repeats: Exchange | None
    """Repeated spans by part, where they are asked for."""


def write(task: PassTask) -> Receipt:
    """Write one output shard."""
    given: Applying = task.given
    run = given.run
    part = run.corpus.parts[task.number]
    decision = run.decided(task.number)
    representatives = _ids(decision)
    notes = _remarks(run, task.number, decision)
    table = opened(part.store, part.shard, part.content)
    position = run.corpus.position(task.number)
    removals = Removals.of(given.repeats, run.stage.spans or "", position) if given.repeats is not None else None
    seen: list[pa.Array] = []
    with task.sink.writer(task.number, stage="dedup", key=task.key) as writer:
        writer.expect(widened(table.schema))
        at = 0
        for batch in table.to_batches():
            rows = slice(at, at + len(batch))
            mine, remarks, edits = decision[rows], notes.slice(at, len(batch)), {}
            if removals is not None:
                edited = _edited(run, batch, part.first + at, mine, removals)
                batch, edits = edited.batch, edited.edits
                mine.reason[edited.emptied], mine.reason[edited.alike] = EMPTIED, ALIKE
                remarks = noted(remarks, edited.left)
            writer.write(_kept(batch, mine.kept, mine.members, writer.schema))
            writer.record(_ledger(batch.column("id"), mine, representatives.slice(at, len(batch)), remarks, edits))
            seen.append(batch.column("id"))
            at += len(batch)
        return writer.commit(input_ids=pa.chunked_array(seen, STR), notes=given.notes)


def _edited(run: Run, batch: pa.RecordBatch, first: int, decision: Decision, removals: Removals) -> Edited:
    if run.turns is not None:
        return edit_turns(batch, first, decision.kept, removals, run.turns)
    return edit_batch(batch, first, decision.kept, removals)


def widened(schema: pa.Schema) -> pa.Schema:
    """The output's columns: the input's, and `cluster_size` last."""
    return pa.schema([f for f in schema if f.name != SIZE] + [pa.field(SIZE, pa.int64())])


def _ids(decision: Decision) -> pa.Array:
    """Id of each row's representative; null for rows that have none."""
    has = np.isin(decision.reason, (EXACT, NEAR, URL, SEMANTIC))
    return pa.array([name.decode() if known else None for name, known in zip(decision.kept_id.tolist(), has)], STR)


def _remarks(run: Run, number: int, decision: Decision) -> pa.Array:
    """A note for each row that could not be compared, only as a whole, or not with all its candidates; null for the others."""
    measures = run.store("measures").read(number)
    sizes, tokens, exact = (column(measures, name) for name in ("size", "tokens", "exact_a"))
    code = np.where(sizes < 0, 0, np.where(tokens > 0, 4, np.where(exact == 0, 1, 2)))
    code[decision.left > 0] = 3
    words = pa.array([NULL_TEXT, NO_TEXT, NO_WORDS, LIMITED], STR)
    return words.take(pa.array(np.minimum(code, 3), mask=code == 4))


def _kept(batch: pa.RecordBatch, keep: np.ndarray, members: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns[SIZE] = pa.array(members)
    whole = pa.record_batch([columns[name] for name in schema.names], schema=schema)
    return whole if keep.all() else whole.filter(pa.array(keep))


def _ledger(
    ids: pa.Array, decision: Decision, representatives: pa.Array, notes: pa.Array, edits: dict[int, list[Edit]]
) -> pa.Table:
    """One row per document: made column by column, for a shard can hold a quarter of a million."""
    kept = decision.kept
    n = len(ids)
    reason = pa.array(REASONS[1:], STR).take(pa.array(np.maximum(decision.reason, 1) - 1, mask=kept))
    ends = np.r_[0, np.cumsum(~kept)]
    known = {
        "id": ids,
        "out": pa.array(ids).filter(pa.array(kept)).take(pa.array(np.cumsum(kept) - 1, mask=~kept))
        if kept.any()
        else pa.nulls(n, STR),
        "reason": reason,
        "reasons": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), reason.drop_null()),
        "duplicate_of": representatives,
        "edits": ledger_edits(edits, n),
        "note": notes,
        "dedup.cluster_size": pa.array(decision.members.astype(np.float64)),
        "dedup.score": pa.array(decision.score, mask=~np.isfinite(decision.score)),
    }
    schema = pa.schema([*COLUMNS, ("dedup.cluster_size", pa.float64()), ("dedup.score", pa.float64())])
    return pa.table([known.get(f.name, pa.nulls(n, f.type)) for f in schema], schema=schema)
