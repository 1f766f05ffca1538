"""What the report says of packed tokens."""

from __future__ import annotations

from pipeline.inspection.charts import Part, Table, figure
from pipeline.inspection.sections import Samples
from pipeline.storage.store import Store

TITLE = "Packing"
KOREAN = {
    "cut, %": "잘린 문서, %", "Packing": "묶기", "padding, % of the rows' room": "패딩, 행 자리의 %", "store": "스토어", "tokens": "토큰",
}  # fmt: skip
HEAD = ["store", "tokens", "padding, % of the rows' room", "documents", "cut, %"]


def section(stores: list[Store], samples: Samples) -> list[Part]:
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
                rows.append(
                    [store.name, tokens, figure(padding, f"{padding:.2f}"), documents, figure(torn, f"{torn:.2f}")]
                )
    return [Table([samples.t(name) for name in HEAD], rows)] if rows else []
