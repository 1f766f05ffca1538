"""Edits from decisions about lines, and several rounds of edits as one.

Offsets are code points. Every list made here is sorted and free of overlaps, as `pipeline.schema.apply_edits` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat

import numpy as np

from pipeline.schema import Edit
from stages.text.lines.flags import BLANK_ABOVE, BROKEN_BY_LF
from stages.text.lines.table import Lines

_EDIT = partial(tuple.__new__, Edit)
"""Makes an Edit of a tuple without a Python frame: there are many."""


def joined(lines: Lines, keep: np.ndarray, by: str, *, citations: bool = True) -> EditLists:
    """Edits per text that leave exactly the lines `keep` (bool per line), stripped, one per line: what C4 leaves.

    With `citations`, wiki citations inside kept lines go too.
    """
    kept = np.flatnonzero(keep)
    row, start, end = lines.row[kept], lines.start[kept], lines.end[kept]
    opening = np.ones(len(kept), bool)
    opening[1:] = row[1:] != row[:-1]
    before = np.zeros(len(kept), np.int64)
    before[1:] = np.where(opening[1:], 0, end[:-1])
    lf = np.zeros(len(kept), bool)
    lf[1:] = lines.has(BROKEN_BY_LF)[kept[:-1]]
    clean = np.where(opening, start == 0, lf & (start == before + 1))
    gaps = np.flatnonzero(~clean)
    size = _sizes(lines)
    tail = np.zeros(len(size), np.int64)
    tail[row] = end  # the last kept line of a text wins: rows ascend
    tails = np.flatnonzero(tail < size)
    rows, starts, ends = [row[gaps], tails], [before[gaps], tail[tails]], [start[gaps], size[tails]]
    breaks = [~opening[gaps], np.zeros(len(tails), bool)]
    if citations and len(lines.cites):
        owner = np.repeat(np.arange(lines.n), np.diff(lines.cite_bounds))
        inside = np.asarray(keep)[owner]
        rows.append(lines.row[owner[inside]])
        starts.append(lines.cites[inside, 0])
        ends.append(lines.cites[inside, 1])
        breaks.append(np.zeros(int(inside.sum()), bool))
    return EditLists(
        len(size), np.concatenate(rows), np.concatenate(starts), np.concatenate(ends), np.concatenate(breaks), by
    )


def _sizes(lines: Lines) -> np.ndarray:
    """Code points of every text."""
    from stages.text.utf8 import lengths

    return lengths(lines.docs.data, lines.docs.offsets)


class EditLists(Sequence[list[Edit]]):
    """One list of edits per text, held as arrays: lists are made when asked for, because most are never looked at."""

    def __init__(self, n: int, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, breaks: np.ndarray, by: str):
        """Spans of `n` texts, in any order: replaced by a line feed where `breaks`, else by nothing."""
        order = np.lexsort((starts, rows))
        self.bounds = np.searchsorted(rows[order], np.arange(n + 1))
        self.starts, self.ends, self.breaks, self.by = starts[order], ends[order], breaks[order], by

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, row: int) -> list[Edit]:  # type: ignore[override]
        part = slice(self.bounds[row], self.bounds[row + 1])
        words = map(("", "\n").__getitem__, self.breaks[part].tolist())
        return list(map(_EDIT, zip(self.starts[part].tolist(), self.ends[part].tolist(), words, repeat(self.by))))

    @property
    def filled(self) -> np.ndarray:
        """Which texts have edits. bool, n."""
        return np.diff(self.bounds) > 0


def filled(edits: Sequence[Sequence[Edit]]) -> np.ndarray:
    """Which texts have edits. bool, n."""
    return edits.filled if isinstance(edits, EditLists) else np.fromiter((bool(row) for row in edits), bool, len(edits))


def without(lines: Lines, drop: np.ndarray, by: str) -> list[list[Edit]]:
    """Edits per text that remove the lines `drop` (bool per line) and leave all others as they stand.

    A line goes with its break; where a blank line stands above it, the blank lines below it go too, so that paragraphs
    stay one blank line apart. Lines dropped at the end take the blanks before them along.
    """
    out: list[list[Edit]] = [[] for _ in range(len(lines.bounds) - 1)]
    touched = np.unique(lines.row[np.asarray(drop, bool)])
    if not len(touched):
        return out
    size = _sizes(lines)
    above = lines.has(BLANK_ABOVE)
    for row in touched.tolist():
        first, last = int(lines.bounds[row]), int(lines.bounds[row + 1])
        out[row] = _removed(lines, drop, above, first, last, int(size[row]), by)
    return out


def _removed(
    lines: Lines, drop: np.ndarray, above: np.ndarray, first: int, last: int, size: int, by: str
) -> list[Edit]:
    tail = last
    while tail > first and drop[tail - 1]:
        tail -= 1
    spans: list[list[int]] = []
    for line in (first + np.flatnonzero(drop[first:tail])).tolist():
        end = int(lines.begin[line + 1]) if above[line] else int(lines.following[line])
        if spans and spans[-1][1] >= int(lines.begin[line]):
            spans[-1][1] = end
        else:
            spans.append([int(lines.begin[line]), end])
    if tail < last:
        spans.append([int(lines.end[tail - 1]) if tail > first else 0, size])
    return [Edit(start, end, "", by) for start, end in spans]


def composed(first: Sequence[Edit], second: Sequence[Edit], size: int) -> list[Edit]:
    """One list of edits that does what `first` and then `second` do to a text of `size` code points."""
    if not second:
        return list(first)
    if not first:
        return list(second)
    return _as_edits(_rewritten(_pieces(first, size), second), size)


_Piece = tuple[int, int, str, str]
"""A stretch kept (start, end, "", "") or something written (-1, -1, text, by)."""


def _pieces(edits: Sequence[Edit], size: int) -> list[_Piece]:
    """The edited text as kept stretches and written pieces, in order; a deletion is a written piece of nothing."""
    out: list[_Piece] = []
    at = 0
    for start, end, text, by in edits:
        if start > at:
            out.append((at, start, "", ""))
        out.append((-1, -1, text, by))
        at = end
    if size > at:
        out.append((at, size, "", ""))
    return out


def _rewritten(pieces: list[_Piece], edits: Sequence[Edit]) -> list[_Piece]:
    """`pieces` after `edits`, whose offsets count along the pieces."""
    out: list[_Piece] = []
    waiting = list(edits)[::-1]
    at = 0
    for piece in pieces:
        start, end, text, by = piece
        width = end - start if start >= 0 else len(text)
        if not width:
            out.append(piece)
            continue
        done = 0
        while waiting and waiting[-1].start < at + width:
            edit = waiting[-1]
            cut = max(edit.start - at, done)
            _cut(out, piece, done, cut)
            if edit.start >= at:
                out.append((-1, -1, edit.replacement, edit.by))
            if edit.end > at + width:
                done = width
                break
            done = max(edit.end - at, cut)
            waiting.pop()
        _cut(out, piece, done, width)
        at += width
    out += [(-1, -1, edit.replacement, edit.by) for edit in reversed(waiting) if edit.start >= at]
    return out


def _cut(out: list[_Piece], piece: _Piece, start: int, end: int) -> None:
    """Append `piece[start:end]`."""
    if end <= start:
        return
    first, _, text, by = piece
    out.append((first + start, first + end, "", "") if first >= 0 else (-1, -1, text[start:end], by))


def _as_edits(pieces: list[_Piece], size: int) -> list[Edit]:
    """What is written and what is missing between kept stretches, as edits of the original text."""
    out: list[Edit] = []
    at = 0
    text, makers = "", []
    for start, end, written, by in [*pieces, (size, size, "", "")]:
        if start < 0:
            text += written
            makers += [by] if by and by not in makers else []
            continue
        if start > at or text:
            out.append(Edit(at, start, text, "+".join(makers)))
        at, text, makers = end, "", []
    return out
