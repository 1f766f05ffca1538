"""Which rows are measured: those training held out, at most so many, drawn by hash; and the ledger that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.evaluate import intervals
from stages.models.holdout import document_keys, hashes, held_out, prompt_key

COLUMNS = {
    "DOCUMENT": ("id", "text", "lang", "source"),
    "CHAT": ("id", "messages", "lang"),
    "PAIR": ("id", "prompt", "chosen", "rejected", "lang"),
}

OPTIONAL = ("tools",)
"""Columns that not every store has."""


class Drawn(NamedTuple):
    """Rows of one shape to be measured, and what became of every row of the stores."""

    rows: list[dict[str, Any]]
    ids: list[str]
    reasons: list[str | None]
    """Per row of the stores; null where it was drawn."""

    @property
    def too_few(self) -> bool:
        """Are so few rows held out that no interval over them says anything?"""
        all_held = "evaluate.not_held_out" in self.reasons and "evaluate.not_drawn" not in self.reasons
        return all_held and len(self.rows) < intervals.LEAST

    def ledger(self, refused: dict[str, str]) -> pa.Table:
        """The ledger; `refused` are reasons found while measuring, by id."""
        reasons = [refused.get(row_id, why) for row_id, why in zip(self.ids, self.reasons)]
        return Ledger.rows(self.ids, out=[None] * len(reasons), reason=reasons)


def draw(stores: Sequence[Store], shape: str, share: float, most: int) -> Drawn:
    """Held-out rows of the stores of `shape`, at most `most`: those whose id hashes lowest, in that order."""
    ids: list[str] = []
    reasons: list[str | None] = []
    found: list[dict[str, Any]] = []
    for store in stores:
        if store.shape != shape:
            continue
        for shard in store.shards():
            for batch in store.batches(shard):
                rows = _rows(batch, shape, share)
                ids += batch.column("id").to_pylist()
                reasons += [None if row else "evaluate.not_held_out" for row in rows]
                found += [row for row in rows if row]
    lowest = np.argsort(hashes(row["id"] for row in found), kind="stable")[:most] if found else []
    rows = [found[at] for at in lowest]
    kept = {row["id"] for row in rows}
    reasons = [why or (None if row_id in kept else "evaluate.not_drawn") for row_id, why in zip(ids, reasons)]
    return Drawn(rows, ids, reasons)


def beginning(row: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """The row with no more of its text than whole characters of the first so many bytes."""
    return {**row, "text": (row["text"] or "").encode()[:most_bytes].decode("utf-8", "ignore")}


def _rows(batch: pa.RecordBatch, shape: str, share: float) -> list[dict[str, Any] | None]:
    """The held-out rows of a batch as dicts, None for the others; the text of others is never made into Python strings."""
    if shape == "DOCUMENT":
        keys = document_keys(batch)
    else:
        keys = [
            prompt_key(messages) for messages in batch.column("messages" if shape == "CHAT" else "prompt").to_pylist()
        ]
    held = held_out(keys, share) if share < 1 else np.ones(len(keys), dtype=bool)
    names = [*COLUMNS[shape], *(name for name in OPTIONAL if name in batch.schema.names)]
    taken = batch.select(names).filter(pa.array(held)).to_pylist()
    wanted = iter(taken)
    return [next(wanted) if out else None for out in held]
