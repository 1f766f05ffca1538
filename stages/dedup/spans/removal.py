"""Repeated spans cut out of the documents that stay: edits, the edited texts, and what follows from a text."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.schema import Edit, apply_edits, content_id
from pipeline.storage.ledger import EDITS
from pipeline.storage.store import Store
from stages.dedup.columns import between

NONE = np.zeros(0, np.int64)
WORD = re.compile(r"\w")
"""A letter or a digit: a text without any has no words."""


class Marks(NamedTuple):
    """The repeated spans of one part, by document."""

    docs: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    stays: np.ndarray
    by: str

    @classmethod
    def of(cls, repeats: Store, level: str, first: int, rows: int) -> Marks:
        """What the pass `repeats` found in the documents `first` to `first + rows - 1`."""
        names = ("doc", "first", "last", "stays")
        pieces = [between(repeats.read(number), "doc", first, first + rows - 1, *names) for number in repeats.shards()]
        docs, firsts, lasts, stays = (
            (np.concatenate(columns) for columns in zip(*pieces)) if pieces else (np.zeros(0, np.int64),) * 4
        )
        order = np.lexsort((firsts, docs))
        return cls(docs[order], firsts[order], lasts[order], stays[order].astype(bool), f"dedup.{level}")

    def by_row(self, first: int, rows: int) -> list[tuple[int, slice]]:
        """(row, its marks) of a batch of `rows` documents from number `first` on, where a row has any."""
        low, high = np.searchsorted(self.docs, (first, first + rows))
        found, starts = np.unique(self.docs[low:high] - first, return_index=True)
        bounds = (np.r_[starts, high - low] + low).tolist()
        return [(row, slice(begin, end)) for row, begin, end in zip(found.tolist(), bounds, bounds[1:])]


class Edited(NamedTuple):
    """A batch after its cuts."""

    batch: pa.RecordBatch
    edits: dict[int, list[Edit]]
    """By row, code points of the text as it was."""
    emptied: np.ndarray
    """Rows of which no word is left (their text is as it was)."""
    alike: np.ndarray = NONE
    """Pairs whose answers would be equal (as they were)."""
    left: np.ndarray = NONE
    """Chats and pairs that would go, but hold a copy that stays (as they were)."""


def cut_batch(batch: pa.RecordBatch, first: int, keep: np.ndarray, marks: Marks) -> Edited:
    """Cut the repeated spans out of the rows `keep` (bool) of a batch whose first document is `first`."""
    texts, blocks, contents = {}, {}, {}
    edits: dict[int, list[Edit]] = {}
    emptied = []
    for row, here in marks.by_row(first, len(batch)):
        if not keep[row] or marks.stays[here].all():
            continue
        text = batch.column("text")[row].as_py()
        found = edits_of(text, marks, here)
        if not found:
            continue
        edited, moved = apply_edits(text, found, batch.column("blocks")[row].as_py())
        if not WORD.search(edited):
            emptied.append(row)
            continue
        edits[row], texts[row], blocks[row], contents[row] = found, edited, moved, content_id(edited)
    for name, values in (("text", texts), ("blocks", blocks), ("content_id", contents)):
        batch = replaced(batch, name, values)
    return Edited(batch, edits, np.array(emptied, np.int64))


def edits_of(text: str, marks: Marks, here: slice | np.ndarray, base: int = 0) -> list[Edit]:
    """The cuts of one text as edits in code points; `base` is the byte of the row at which it begins."""
    from stages.dedup.spans.keys import cut

    cuts = cut(marks.firsts[here].astype(np.int64) - base, marks.lasts[here].astype(np.int64) - base, marks.stays[here])
    data = np.frombuffer(text.encode("utf-8"), np.uint8)
    edits, at, point = [], 0, 0
    for first, last in cuts:
        start = point + _points(data[at:first])
        at, point = last, start + _points(data[first:last])
        edits.append(Edit(start, point, "", marks.by))
    return edits


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
