"""One batch through the filters: verdicts, edits, and the ledger's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.docs import Docs
from pipeline.engine.stage import Work
from pipeline.errors import OptionError, WorkError
from pipeline.filter import Verdict
from pipeline.schema import Edit, apply_edits, content_id, shape_of
from pipeline.storage.ledger import Ledger
from stages.quality.exemptions import exempted, structure
from stages.text.lines.edits import composed, filled
from stages.text.rules import word_of
from stages.text.view import BLANK, TEXT, text_view
from stages.text.words.counts import read

if TYPE_CHECKING:
    from stages.quality import Quality


def evaluated(stage: Quality, batch: pa.RecordBatch) -> Work:
    """What becomes of `batch` under the stage's filters."""
    view, unfit = text_view(batch, stage.fields, stage.max_bytes)
    docs = Docs(view, TEXT)
    sizes = docs.cached(read)
    for row in np.flatnonzero(sizes.words == 0).tolist():
        unfit[row] = unfit[row] or BLANK
    metrics = {
        "document.bytes": np.diff(docs.offsets).astype(np.float64),
        "document.chars": sizes.chars.astype(np.float64),
        "document.words": sizes.words.astype(np.float64),
        **structure(batch),
    }
    reasons: list[list[str]] = [[why] if why else [] for why in unfit]
    notes: list[list[str]] = [[] for _ in unfit]
    columns: dict[str, pa.Array] = {}
    rounds: list[Sequence[Sequence[Edit]]] = []
    last = len(stage.filters) - 1
    for number, (name, each) in enumerate(zip(names(stage.filters), stage.filters)):
        verdict = _one_each(each.evaluate(docs), docs.n, name)
        for why, reason, lost in zip(reasons, verdict.reason, unfit, strict=True):
            if reason is not None and lost is None:
                why.append(reason)
        metrics |= {f"{name}.{measure}": values for measure, values in verdict.metrics.items()}
        for row, note in enumerate(verdict.notes or ()):
            if note:
                notes[row].append(f"{name}: {note}")
        if verdict.columns:
            set_ = {key: _array(values) for key, values in verdict.columns.items()}
            columns |= set_
            docs = docs.with_columns(set_)
        if verdict.edits is not None:
            _refuse_edits_of_views(stage, batch, name)
            wanted = np.ones(docs.n, bool) if number < last else np.array([not why for why in reasons], bool)
            docs = _edited(docs, verdict.edits, wanted)
            rounds.append(verdict.edits)
    return _work(stage, batch, docs, reasons, notes, columns, rounds, metrics)


def _one_each(verdict: Verdict, rows: int, name: str) -> Verdict:
    """The verdict, where it says something of every row; WorkError names the filter and the counts."""
    if not isinstance(verdict, Verdict):
        raise WorkError(
            f"quality: filter {name} returned a {type(verdict).__name__}, no Verdict",
            "return pipeline.filter.Verdict from evaluate()",
        )
    given = {"reason": verdict.reason, "edits": verdict.edits, "notes": verdict.notes}
    given |= {f"metrics[{key!r}]": values for key, values in verdict.metrics.items()}
    given |= {f"columns[{key!r}]": values for key, values in verdict.columns.items()}
    for part, values in given.items():
        if values is not None and len(values) != rows:
            raise WorkError(
                f"quality: filter {name} returned {len(values)} values of {part} for {rows} documents",
                "return one for each row of the batch",
            )
    return verdict


def names(filters: tuple) -> list[str]:
    """The metric prefix of each filter: its word, with a number from its second use on."""
    out: list[str] = []
    for each in filters:
        word = word_of(type(each))
        times = sum(name.split("#")[0] == word for name in out)
        out.append(f"{word}#{times + 1}" if times else word)
    return out


def _array(values: object) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def _refuse_edits_of_views(stage: Quality, batch: pa.RecordBatch, name: str) -> None:
    if shape_of(batch.schema) != "DOCUMENT" or stage.fields not in ((), ("text",)):
        raise OptionError(
            f"quality: {name} edits the text, but the text judged is made of {', '.join(stage.fields) or 'messages'}",
            "leave `fields` out for filters that edit, and give them documents",
        )


def _edited(docs: Docs, edits: Sequence[Sequence[Edit]], wanted: np.ndarray) -> Docs:
    """The documents after `edits`, where `wanted`."""
    rows = np.flatnonzero(filled(edits) & wanted).tolist()
    if not rows:
        return docs
    texts = docs.text.take(pa.array(rows, pa.int64())).to_pylist()
    changed = pa.array([apply_edits(text, edits[row])[0] for row, text in zip(rows, texts)], pa.large_string())
    mask = np.zeros(docs.n, bool)
    mask[rows] = True
    return docs.replaced(pc.replace_with_mask(docs.text, pa.array(mask), changed))


def _work(
    stage: Quality,
    batch: pa.RecordBatch,
    docs: Docs,
    reasons: list[list[str]],
    notes: list[list[str]],
    columns: dict[str, pa.Array],
    rounds: list[Sequence[Sequence[Edit]]],
    metrics: dict[str, np.ndarray],
) -> Work:
    free = exempted(metrics, stage.exempt, reasons)
    for row in np.flatnonzero(free).tolist():
        notes[row].append("exempted")
    langs = docs.batch.column("lang").to_pylist() if "lang" in docs.batch.schema.names else [None] * docs.n
    reason = [why[0] if why and not loose else None for why, loose in zip(reasons, free)]
    kept = np.array([why is None for why in reason], bool)
    edits = _whole(rounds, np.flatnonzero(kept).tolist(), metrics["document.chars"])
    ledger = Ledger.rows(
        batch.column("id"),
        reason=reason,
        reasons=reasons,
        edits=[edits.get(row) for row in range(docs.n)] if edits else None,
        note=["; ".join([f"lang={lang}", *more] if lang else more) or None for lang, more in zip(langs, notes)],
        metrics=metrics,
    )
    out = Docs(batch, "id").with_columns(columns).batch if columns else batch
    if edits:
        out = _with_text(out, docs.text, edits)
    return Work(out.filter(pa.array(kept)) if not kept.all() else out, ledger)


def _whole(rounds: list[Sequence[Sequence[Edit]]], rows: list[int], sizes: np.ndarray) -> dict[int, list[Edit]]:
    """All rounds of edits as edits of the original text, for those of `rows` that have any."""
    out: dict[int, list[Edit]] = {}
    for row in rows:
        edits: list[Edit] = []
        for fresh in rounds:
            edits = composed(edits, fresh[row], int(sizes[row]))
        if edits:
            out[row] = edits
    return out


def _with_text(batch: pa.RecordBatch, text: pa.Array, edits: dict[int, list[Edit]]) -> pa.RecordBatch:
    """The batch with its edited texts; what follows from the text (`content_id`, blocks) follows it in rows of `edits`."""
    rows = list(edits)
    index = pa.array(rows, pa.int64())
    fresh = pa.array([content_id(value) for value in text.take(index).to_pylist()], pa.large_string())
    before = batch.column("text")
    batch = _set(batch, "content_id", replaced(batch.column("content_id"), rows, fresh))
    batch = _set(batch, "text", text)
    blocks = batch.column("blocks")
    filled = pc.fill_null(pc.list_value_length(blocks), 0).to_numpy(zero_copy_only=False)
    rows = [row for row in rows if filled[row]]
    if not rows:
        return batch
    index = pa.array(rows, pa.int64())
    pairs = zip(rows, before.take(index).to_pylist(), blocks.take(index).to_pylist())
    moved = pa.array([apply_edits(old, edits[row], own)[1] for row, old, own in pairs], blocks.type)
    return _set(batch, "blocks", replaced(blocks, rows, moved))


def _set(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    where = batch.schema.get_field_index(name)
    return batch.set_column(where, batch.schema.field(where), values)


def replaced(column: pa.Array, rows: list[int], fresh: pa.Array) -> pa.Array:
    """`column` with `fresh` at `rows`; any type, nested ones too."""
    index = np.arange(len(column))
    index[rows] = len(column) + np.arange(len(rows))
    return pa.concat_arrays([column, fresh]).take(pa.array(index))
