"""One batch against the index: tiers, reasons, and the ledger's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.engine.stage import Work
from pipeline.storage.ledger import Ledger
from stages.decontaminate.index import Hits, load
from stages.decontaminate.match import NO_ITEM, TIERS, Match, Needs, found_in, template_in
from stages.text.view import TEXT, text_view

if TYPE_CHECKING:
    from stages.decontaminate import Decontaminate

NAMED = 5
"""Items named in a ledger note."""
SAMPLES = 5
"""Samples per tier of a batch that the report may show."""


def evaluated(stage: Decontaminate, batch: pa.RecordBatch) -> Work:
    """What becomes of `batch`: rows with an item in a dropped tier go, all that was found is in the ledger."""
    index = load(stage.against, stage.template_items)
    view, unread = text_view(batch, stage.fields, 1 << 62)
    docs = Docs(view, TEXT)
    hits, templates = index.lookup(docs.data, docs.offsets)
    needs = Needs(stage.coverage, stage.words)
    found: dict[int, list[Match]] = {}
    bounds = np.searchsorted(hits.row, np.arange(docs.n + 1))
    for row in np.unique(hits.row).tolist():
        own = Hits(*(column[bounds[row] : bounds[row + 1]] for column in hits))
        if items := found_in(index, docs.text[row].as_py(), own, needs):
            found[row] = items
    for row in np.flatnonzero(templates.length).tolist():
        if row not in found and (items := template_in(docs.text[row].as_py(), templates, row)):
            found[row] = items
    reason: list[str | None] = [None] * docs.n
    reasons: list[list[str]] = [[]] * docs.n
    span: list[tuple[int, int] | None] = [None] * docs.n
    note = [None if why is None else _note(index.items, [], why) for why in unread]
    coverage, counts = np.zeros(docs.n), np.zeros(docs.n)
    for row, items in found.items():  # few rows have any
        dropped = _reasons(items, stage.drop)
        reason[row], reasons[row] = dropped[0] if dropped else None, dropped or _reported(items)
        span[row], coverage[row] = (items[0].start, items[0].end), items[0].share
        note[row] = _note(index.items, items, unread[row])
        counts[row] = sum(f.item != NO_ITEM for f in items)
    ledger = Ledger.rows(
        batch.column("id"),
        reason=reason,
        reasons=reasons if found else None,
        span=span if found else None,
        note=note,
        metrics={
            "decontaminate.coverage": coverage,
            "decontaminate.items": counts,
            "decontaminate.template_windows": templates.count.astype(np.float64),
        },
    )
    kept = np.array([why is None for why in reason], bool)
    return Work(
        batch.filter(pa.array(kept)) if not kept.all() else batch, ledger, _notes(stage, index.items, batch, found)
    )


def _reasons(items: list[Match], drop: tuple[str, ...]) -> list[str]:
    return [f"decontaminate.{tier}" for tier in TIERS if tier in drop and any(f.tier == tier for f in items)]


def _reported(items: list[Match]) -> list[str]:
    return [f"decontaminate.{tier}" for tier in TIERS if any(f.tier == tier for f in items)]


def _note(known: list, items: list[Match], unread: str | None) -> str | None:
    named = [f"{f.tier} {known[f.item].id} {f.share:.2f}" if f.item != NO_ITEM else f.tier for f in items[:NAMED]]
    more = [f"and {len(items) - NAMED} more"] if len(items) > NAMED else []
    return "; ".join(named + more + ([f"not read: {unread}"] if unread else [])) or None


def _notes(stage: Decontaminate, known: list, batch: pa.RecordBatch, found: dict[int, list[Match]]) -> dict:
    """For the report: documents per tier and set, and samples of every tier by id and position (no text)."""
    tiers: dict[str, dict[str, int]] = {}
    samples: dict[str, list[dict]] = {}
    ids = batch.column("id")
    for row, items in found.items():
        for tier, name in {(f.tier, _set_of(known, f)) for f in items}:
            tiers.setdefault(tier, {}).setdefault(name, 0)
            tiers[tier][name] += 1
        first = items[0]
        item = known[first.item].id if first.item != NO_ITEM else None
        samples.setdefault(first.tier, []).append(
            {"id": ids[row].as_py(), "tier": first.tier, "item": item, "start": first.start, "end": first.end}
        )
    chosen = [sample for tier in TIERS for sample in samples.get(tier, [])[:SAMPLES]]
    return {"decontaminate": {"tiers": tiers, "samples": chosen, "searched": len(batch)}}


def _set_of(known: list, found: Match) -> str:
    return known[found.item].id.split("#")[0] if found.item != NO_ITEM else "any"
