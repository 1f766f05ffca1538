"""What the report says of packed tokens."""

from __future__ import annotations

from html import escape

from pipeline.inspection.charts import number, table
from pipeline.inspection.sections import Samples
from pipeline.storage.store import Store

TITLE = "Packing"
HEAD = ["store", "tokens", "padding, % of the rows' room", "documents", "cut, %"]


def section(stores: list[Store], samples: Samples) -> str:
    """Tokens, the share of padding (rows filled up to their length, or to their bucket's) and of documents that stand in several rows."""
    rows = []
    for store in stores:
        if store.shape == "TOKENS":
            notes = [receipt.notes for receipt in store.receipts().values() if "row_room" in receipt.notes]
            tokens, room, documents, cut = (
                sum(note[name] for note in notes) for name in ("tokens", "row_room", "documents", "documents_cut")
            )
            if documents:
                padding, torn = 100 * (1 - tokens / room), 100 * cut / documents
                rows.append([escape(store.name), number(tokens), f"{padding:.2f}", number(documents), f"{torn:.2f}"])
    return table(HEAD, rows, (1, 2, 3, 4)) if rows else ""
