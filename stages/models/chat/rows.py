"""The one form every objective trains on: a row of token ids, cut into segments that do not see each other.

A segment is a document, a conversation or one side of a pair. Labels are shifted here, inside each segment, so that the last
token of one document never predicts the first of the next; whatever packs segments into a row can then not get
it wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

IGNORED = -100


class EncodedSegment(NamedTuple):
    """One segment: ids (int32), and labels shifted in it (int64: the next token, or -100)."""

    ids: np.ndarray
    labels: np.ndarray
    unseen: int = 0
    """Answers whose reasoning the template left out."""


class Row(NamedTuple):
    """Arrays of one length: ids (int32), labels (int64: the next token, or -100), segments (int32, 1 upwards)."""

    ids: np.ndarray
    labels: np.ndarray
    segments: np.ndarray
    unseen: int = 0
    """Answers in it whose reasoning the template left out."""


@dataclass(frozen=True)
class Batch:
    """Tensors (rows, width) on a device. `mask` (rows, 1, width, width) is None where causal attention alone is right; a function
    is called for it each time it is asked for, so that nobody pays for a mask whose attention needs none (`stages.models.inference.attention`)."""

    ids: Any
    labels: Any
    positions: Any
    written: Any

    @property
    def mask(self) -> Any:
        return self.written() if callable(self.written) else self.written

    def _replace(self, **changes: Any) -> Batch:
        """As a named tuple's; `mask` for the mask."""
        return replace(self, **{"written" if name == "mask" else name: value for name, value in changes.items()})


def segment(ids: np.ndarray, trained: np.ndarray | None = None, unseen: int = 0) -> EncodedSegment:
    """Ids and shifted labels of one segment; `trained` says which of its tokens are asked for (None: all).

    >>> segment(np.array([5, 6, 7], np.int32), np.array([False, False, True])).labels.tolist()
    [-100, 7, -100]
    """
    labels = np.full(len(ids), IGNORED, dtype=np.int64)
    if len(ids) > 1:
        labels[:-1] = ids[1:] if trained is None else np.where(trained[1:], ids[1:], IGNORED)
    return EncodedSegment(ids, labels, unseen)


def join(parts: Sequence[EncodedSegment]) -> Row:
    """Segments side by side as one row."""
    return Row(
        np.concatenate([part.ids for part in parts]).astype(np.int32, copy=False),
        np.concatenate([part.labels for part in parts]),
        np.repeat(np.arange(1, len(parts) + 1, dtype=np.int32), [len(part.ids) for part in parts]),
        sum(part.unseen for part in parts),
    )


def collate(rows: Sequence[Row], pad: int, device: Any, width: int | None = None) -> Batch:
    """Rows padded on the right to `width` (None: the longest). Positions start anew in every segment.

    The mask (rows, 1, width, width; True = may look) lets a token see its own segment up to itself. Rows of one segment need
    none: padding stands to the right, where causal attention never looks from within the segment.
    """
    import torch

    width = width or max(len(row.ids) for row in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
    segments = np.zeros((len(rows), width), dtype=np.int32)
    for n, row in enumerate(rows):
        ids[n, : len(row.ids)] = row.ids
        labels[n, : len(row.ids)] = row.labels
        segments[n, : len(row.ids)] = row.segments
    positions = _positions(segments)
    mask: Any = None
    if segments.max(initial=0) > 1:

        def mask() -> Any:
            seg = torch.from_numpy(segments).to(device)
            causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
            return ((seg[:, :, None] == seg[:, None, :]) & causal)[:, None]

    elif segments.size:
        positions = np.tile(np.arange(width), (len(rows), 1))
    return Batch(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (ids, labels, positions)), mask)


def _positions(segments: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... inside every run of equal segment numbers, per row."""
    index = np.broadcast_to(np.arange(segments.shape[1]), segments.shape)
    starts = np.zeros(segments.shape, dtype=np.int64)
    new = segments[:, 1:] != segments[:, :-1]
    starts[:, 1:] = np.where(new, index[:, 1:], 0)
    return index - np.maximum.accumulate(starts, axis=1)


def best_fit(lengths: np.ndarray, width: int) -> list[list[int]]:
    """The items of each row (`stages.models.packing.best_fit`).

    >>> best_fit(np.array([3, 6, 4, 7]), 10)
    [[3, 0], [1, 2]]
    """
    from stages.models import packing

    items, rows = packing.best_fit(lengths, width)
    return [part.tolist() for part in np.split(items, np.flatnonzero(np.diff(rows)) + 1)] if len(items) else []
