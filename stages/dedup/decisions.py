"""The decisions table: every level appends rows to it, and whatever needs to know which documents stay joins it.

The rows of a level are the shards of the pass of its name. Columns, sorted by `doc` within a shard:

    doc            int64: number of the document
    reason         int8: what removes it (position in REASONS; 0 for a representative)
    duplicate_of   int64: the document it duplicates; its own number for a representative
    score          float64: exact similarity of the two; NaN for a representative
    members        int64: documents that the representative stands for, itself and identical ones included

Levels run in the order exact, near, url, semantic, and each names only documents whose decision it changes. A document without
a row at a level has its representative's. A representative goes only if every document it stands for matches the new one
too; otherwise it stays, for those were compared with it and nothing else. So no level removes through a chain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.store import Store
from stages.dedup.columns import between, blocks, lookup

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
COLUMNS = ("reason", "duplicate_of", "score", "members")


def rows_of(
    reason: int, docs: np.ndarray, duplicate_of: np.ndarray, score: np.ndarray, members: np.ndarray, **more: np.ndarray
) -> pa.Table:
    """Rows of a level (any order), `reason` for those that are not their own representative; `more` are columns of its own."""
    order = np.argsort(docs)
    docs, duplicate_of = docs[order], duplicate_of[order]
    reasons = np.where(docs == duplicate_of, KEPT, reason).astype(np.int8)
    own = {name: values[order] for name, values in more.items()}
    return blocks(
        doc=docs, reason=reasons, duplicate_of=duplicate_of, score=score[order], members=members[order], **own
    )


def no_rows() -> pa.Table:
    """A shard of a level that changes nothing."""
    empty = np.zeros(0, np.int64)
    return rows_of(KEPT, empty, empty, np.zeros(0), empty)


class Decision(NamedTuple):
    """What became of consecutive documents; columns as in the table."""

    reason: np.ndarray
    duplicate_of: np.ndarray
    score: np.ndarray
    members: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """bool: which of them stay."""
        return self.reason == KEPT

    def __getitem__(self, rows: slice) -> Decision:  # type: ignore[override]
        """Those of some rows; writing to them writes here."""
        return Decision(self.reason[rows], self.duplicate_of[rows], self.score[rows], self.members[rows])

    def _set(self, rows: np.ndarray, found: list[np.ndarray]) -> None:
        reason, duplicate_of, score, members = found
        self.members[rows] = members
        moved = reason != KEPT
        rows = rows[moved]
        self.reason[rows], self.duplicate_of[rows], self.score[rows] = reason[moved], duplicate_of[moved], score[moved]


class Decisions(NamedTuple):
    """The table, as far as some levels have filled it."""

    levels: tuple[Store, ...]
    """Passes, in the order of the levels."""
    drop_all: bool = False
    """Do representatives of several documents go with them (`copies: drop-all`)?"""

    def of(self, first: int, rows: int) -> Decision:
        """What became of the documents `first` to `first + rows - 1`."""
        docs = np.arange(first, first + rows)
        found = Decision(np.zeros(rows, np.int8), docs.copy(), np.full(rows, np.nan), np.ones(rows, np.int64))
        for level in self.levels:
            shards = [level.read(number) for number in level.shards()]
            gone = np.flatnonzero(found.duplicate_of != docs)
            representatives = found.duplicate_of[gone]
            for shard in shards:
                at, *columns = lookup(shard, "doc", representatives, *COLUMNS)
                found._set(gone[at], columns)
            for shard in shards:
                own, *columns = between(shard, "doc", first, first + rows - 1, "doc", *COLUMNS)
                found._set(own - first, columns)
        if self.drop_all:
            found.reason[found.kept & (found.members > 1)] = COPIED
        return found
