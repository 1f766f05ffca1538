"""Removal of repeated spans from the documents that stay: edits, the edited texts, and what follows from a text."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.schema import Edit, apply_edits, content_id
from pipeline.storage.ledger import EDITS
from stages.dedup.exchange.ranges import Exchange

NONE = np.zeros(0, np.int64)
WORD = re.compile(r"\w")
"""A letter or a digit: a text without any has no words."""


class Removals(NamedTuple):
    """What is removed of the texts of consecutive documents, by document, then position (bytes; int64)."""

    docs: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    holders: np.ndarray
    """Documents that hold a copy that stays, ascending."""
    by: str
    """What edits are of: `dedup.line`."""

    @classmethod
    def of(cls, sent: Exchange, level: str, position: int) -> Removals:
        """From what the pass `repeats` sent to the part at `position`."""
        from stages.dedup.spans.keys import removed

        found = sent.read(position)
        docs, firsts, lasts, stays = (found.get(name, NONE) for name in ("doc", "first", "last", "stays"))
        order = np.argsort(docs, kind="stable")
        stays = stays[order].astype(bool)
        return cls(
            *removed(docs[order], firsts[order], lasts[order], stays), np.unique(docs[order][stays]), f"dedup.{level}"
        )

    def by_row(self, first: int, keep: np.ndarray) -> list[tuple[int, slice]]:
        """(row, its removals) of a batch whose first document is number `first`, for the rows `keep` (bool) that have any."""
        low, high = np.searchsorted(self.docs, (first, first + len(keep)))
        found, starts = np.unique(self.docs[low:high] - first, return_index=True)
        bounds = (np.r_[starts, high - low] + low).tolist()
        return [(row, slice(*ends)) for row, *ends in zip(found.tolist(), bounds, bounds[1:]) if keep[row]]

    def holds(self, doc: int) -> bool:
        """Does the document hold a copy that stays?"""
        at = np.searchsorted(self.holders, doc)
        return bool(at < len(self.holders) and self.holders[at] == doc)

    def edits(self, text: str, here: slice | np.ndarray, base: int = 0) -> list[Edit]:
        """The removals `here` of a text as edits in code points; `base` is the byte of the row at which it begins."""
        data = np.frombuffer(text.encode("utf-8"), np.uint8)
        found, at, point = [], 0, 0
        for first, last in zip((self.firsts[here] - base).tolist(), (self.lasts[here] - base).tolist()):
            start = point + _points(data[at:first])
            at, point = last, start + _points(data[first:last])
            found.append(Edit(start, point, "", self.by))
        return found


class Edited(NamedTuple):
    """A batch after the removal."""

    batch: pa.RecordBatch
    edits: dict[int, list[Edit]]
    """By row, code points of the text as it was."""
    emptied: np.ndarray
    """Rows of which no word is left (their text is as it was)."""
    alike: np.ndarray = NONE
    """Pairs whose answers would be equal (as they were)."""
    left: np.ndarray = NONE
    """Chats and pairs that would go, but hold a copy that stays (as they were)."""


def edit_batch(batch: pa.RecordBatch, first: int, keep: np.ndarray, removals: Removals) -> Edited:
    """Remove the repeated spans of the rows `keep` (bool) of a batch whose first document is `first`."""
    texts, blocks, contents = {}, {}, {}
    edits: dict[int, list[Edit]] = {}
    emptied = []
    for row, here in removals.by_row(first, keep):
        text = batch.column("text")[row].as_py()
        found = removals.edits(text, here)
        edited, moved = apply_edits(text, found, batch.column("blocks")[row].as_py())
        if not WORD.search(edited):
            emptied.append(row)
            continue
        edits[row], texts[row], blocks[row], contents[row] = found, edited, moved, content_id(edited)
    for name, values in (("text", texts), ("blocks", blocks), ("content_id", contents)):
        batch = replaced(batch, name, values)
    return Edited(batch, edits, np.array(emptied, np.int64))


def _points(data: np.ndarray) -> int:
    """Code points that begin in a stretch of UTF-8."""
    return int(np.count_nonzero((data & 0xC0) != 0x80))


def replaced(batch: pa.RecordBatch, name: str, values: dict) -> pa.RecordBatch:
    """`batch` with other values in some rows of a column."""
    if not values:
        return batch
    where = batch.schema.get_field_index(name)
    field = batch.schema.field(where)
    picks = np.arange(len(batch))
    picks[list(values)] = len(batch) + np.arange(len(values))
    fresh = pa.array(list(values.values()), field.type)
    return batch.set_column(where, field, pa.concat_arrays([batch.column(where), fresh]).take(pa.array(picks)))


def ledger_edits(edits: dict[int, list[Edit]], rows: int) -> pa.Array:
    """The ledger's column of edits."""
    if not edits:
        return pa.nulls(rows, EDITS)
    return pa.array([[edit._asdict() for edit in edits[row]] if row in edits else None for row in range(rows)], EDITS)
