"""How documents fill rows: pure functions from token counts to positions.

Three ways. `concat` lays the documents end to end and cuts every `seq_len` tokens: no room is lost, and most rows begin in the
middle of a document. `best_fit` cuts only what is longer than a row and puts each piece into the fullest row that still holds
it: nearly no room is lost, and a document that fits stands whole (Ding et al. 2024, "Fewer truncations improve language modeling").
`bucketed` gives every piece of such a cut a row of its own, rows of like length together: no row mixes documents, and batches of
neighbours need little padding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.models import packing

WINDOW = 16_384
"""Pieces packed together by best_fit: bounds its time, and a constant of the format, since it decides the rows."""


class Layout(NamedTuple):
    """Pieces in row order, all int64 of one length: piece i puts tokens offset[i] .. offset[i] + length[i] of document doc[i]
    at start[i] of row row[i]. Rows are numbered from 0 without gaps; within a row pieces follow each other without gaps."""

    row: np.ndarray
    doc: np.ndarray
    start: np.ndarray
    length: np.ndarray
    offset: np.ndarray

    @property
    def rows(self) -> int:
        return int(self.row[-1]) + 1 if len(self.row) else 0


def concat(lengths: np.ndarray, seq_len: int) -> Layout:
    """Documents end to end, cut every `seq_len` tokens; the last row may be shorter.

    >>> concat(np.array([3, 4]), 5)._asdict()["row"].tolist(), concat(np.array([3, 4]), 5).offset.tolist()
    ([0, 0, 1], [0, 0, 2])
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(begins[-1])
    cuts = np.union1d(begins, np.arange(0, total, seq_len, dtype=np.int64))
    at = cuts[:-1]
    doc = np.searchsorted(begins, at, side="right") - 1
    return Layout(at // seq_len, doc, at % seq_len, np.diff(cuts), at - begins[doc])


def best_fit(lengths: np.ndarray, seq_len: int) -> Layout:
    """Every document whole where it fits in a row; longer ones cut every `seq_len` tokens, the rest placed like a document.

    Pieces are placed longest first, window by window of 16,384; ties go to the earlier piece, so the result is a function
    of the lengths alone.

    >>> best_fit(np.array([3, 4, 2, 12]), 5).row.tolist(), best_fit(np.array([3, 4, 2, 12]), 5).doc.tolist()
    ([0, 1, 2, 3, 3, 4], [3, 3, 1, 0, 2, 3])
    """
    doc, offset, length = cut(lengths, seq_len)
    order, row, made = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for begin in range(0, len(doc), WINDOW):
        items, rows = packing.best_fit(length[begin : begin + WINDOW], seq_len)
        order.append(begin + items)
        row.append(made + rows)
        made = int(row[-1][-1]) + 1
    chosen, rows = np.concatenate(order), np.concatenate(row)
    return Layout(rows, doc[chosen], _starts(rows, length[chosen]), length[chosen], offset[chosen])


def bucketed(lengths: np.ndarray, seq_len: int) -> Layout:
    """A row for each document, or for each `seq_len` tokens of a longer one: bucket by bucket, the shortest first, each in document order.
    The bucket of a row is as wide as the next power of two, `seq_len` at most.

    >>> bucketed(np.array([3, 7, 4, 12]), 10).doc.tolist(), bucketed(np.array([3, 7, 4, 12]), 10).length.tolist()
    ([3, 0, 2, 1, 3], [2, 3, 4, 7, 10])
    """
    doc, offset, length = cut(lengths, seq_len)
    order = np.argsort(widths(length, seq_len), kind="stable")
    row = np.arange(len(order), dtype=np.int64)
    return Layout(row, doc[order], np.zeros(len(order), np.int64), length[order], offset[order])


def widths(length: np.ndarray, seq_len: int) -> np.ndarray:
    """The width of each row's bucket, tokens.

    >>> widths(np.array([1, 2, 3, 5, 9, 10]), 10).tolist()
    [1, 2, 4, 8, 10, 10]
    """
    length = np.asarray(length, dtype=np.int64)
    wide = np.int64(1) << np.ceil(np.log2(np.maximum(length, 1))).astype(np.int64)
    return np.minimum(wide, seq_len)


METHODS = {"best_fit": best_fit, "concat": concat, "bucketed": bucketed}


def cut(lengths: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents as pieces of at most `seq_len` tokens: (doc, offset, length), in document order. Empty documents give none.

    >>> [part.tolist() for part in cut(np.array([3, 0, 12]), 5)]
    [[0, 2, 2, 2], [0, 0, 5, 10], [3, 5, 5, 2]]
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    counts = -(-lengths // seq_len)
    doc = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    offset = (np.arange(len(doc), dtype=np.int64) - first) * seq_len
    return doc, offset, np.minimum(seq_len, lengths[doc] - offset)


def _starts(row: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Where each piece begins in its row: the sum of the lengths before it there."""
    before = np.cumsum(length) - length
    new = np.ones(len(row), dtype=bool)
    new[1:] = row[1:] != row[:-1]
    return before - np.maximum.accumulate(np.where(new, before, 0))
