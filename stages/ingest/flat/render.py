"""Chosen text of a flat tree as plain text or Markdown, with the blocks of that text by code point.

Blocks are parted by a blank line, lines of one list, table or address by a line feed; white space inside is one blank. A row of a
table is one line. What the rendering adds of its own (list bullets and numbers, cell bars, fences) is listed in `marks`, so that
text can be compared without it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.unicode import normalised
from stages.ingest.flat import pen as pens
from stages.ingest.flat.names import TAG, TEXT, table_of
from stages.ingest.flat.tree import Flat
from stages.ingest.flat.write import CELL, KINDS, OF, TREE, layouts, write
from stages.text.compiled import kernel, reads

HIDDEN = table_of(
    "script style noscript template head title svg math button select option input textarea iframe object embed canvas audio "
    "video map area source track img link meta datalist dialog"
)
"""Elements without text of the page."""
GAP = 32
"""Bytes that separators and marks before one text take at most: two line ends, a quote's mark, an indented number."""


class Span(NamedTuple):
    """A block of the rendered text: `text[start:end]`."""

    kind: str
    start: int
    end: int
    level: int | None = None


@dataclass
class Rendered:
    """`text`, its blocks in order, and the spans of it that stand for layout."""

    text: str
    spans: list[Span] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)


@kernel(TREE, reads(np.bool_))
def _shown(tree, hidden):
    mask = np.zeros(len(tree.tag), np.bool_)
    at = 0
    while at < len(tree.tag):
        if hidden[tree.tag[at]]:
            at = tree.end[at]
        else:
            mask[at] = tree.tag[at] == TEXT
            at += 1
    return mask


def shown(tree: Flat, hidden: np.ndarray = HIDDEN) -> np.ndarray:
    """Booleans by node: text that no element of `hidden` (booleans by tag) holds."""
    return _shown(tree, hidden)


def render(tree: Flat, chosen: np.ndarray | None = None, node: int = 0, markdown: bool = False) -> Rendered:
    """The text below `node`: the text nodes that are set in `chosen` (booleans by node), or all that are shown."""
    low, high = node, int(tree.end[node])
    mask = shown(tree) if chosen is None else chosen & (tree.tag == TEXT)
    before = np.zeros(len(mask) + 1, np.int32)
    np.cumsum(mask, out=before[1:])
    texts = int(before[high] - before[low])
    if not texts:
        return Rendered("")
    pen = _pen(tree, mask, low, high, texts, markdown)
    write(tree, low, high, mask, before, layouts(tree, low, high), pen)
    return _read(pen)


def _pen(tree: Flat, mask: np.ndarray, low: int, high: int, texts: int, markdown: bool) -> pens.Pen:
    """Room for whatever may be written of the chosen text of a range of nodes."""
    tag = tree.tag[low:high]
    inside = np.flatnonzero(mask[low:high]) + low
    size = int((tree.last[inside] - tree.first[inside]).sum())
    cells, blocks = int(CELL[tag].sum()), int((OF[tag] > 0).sum())
    lines = int(((tag == TAG["tr"]) | (tag == TAG["br"])).sum())
    state = np.zeros(pens.STATES, np.int64)
    state[[pens.RUN, pens.LIST, pens.TABLE]] = -1
    state[pens.MARKDOWN] = markdown
    return pens.Pen(
        np.empty((3 if markdown else 1) * size + GAP * (texts + blocks + 2) + 12 * (cells + lines), np.uint8),
        state,
        np.empty((int(tree.depth[low:high].max()) - int(tree.depth[low]) + 2, 7), np.int32),
        np.empty((texts + blocks + 2, 4), np.int32),
        np.empty((3 * texts + lines + 2 * blocks + 2, 2), np.int32),
        np.zeros(len(KINDS), np.int32),
    )


def _read(pen: pens.Pen) -> Rendered:
    """What was written, its places counted in code points, composed (NFC)."""
    state = pen.state
    data = pen.out[: state[pens.AT]]
    spans, marks = pen.spans[: state[pens.SPANS]], pen.marks[: state[pens.MARKS]]
    text = data.tobytes().decode("utf-8", "replace")
    if len(text) < len(data):
        places = np.zeros(len(data) + 1, np.int32)
        np.cumsum((data & 0xC0) != 0x80, out=places[1:])
        spans[:, 1:3], marks = places[spans[:, 1:3]], places[marks]
    found = [
        Span(KINDS[kind], start, end, level or None)
        for kind, start, end, level in spans[np.lexsort((-spans[:, 2], spans[:, 1]))].tolist()
    ]
    bars = [(start, end) for start, end in marks.tolist()]
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        return composed(text, found, bars)
    return Rendered(text, found, bars)


def _joins(character: str) -> bool:
    """Could it compose with what stands before it? A combining mark, or a Hangul vowel or final."""
    return unicodedata.combining(character) != 0 or "\u1161" <= character <= "\u11ff"


def composed(text: str, spans: list[Span], marks: list[tuple[int, int]]) -> Rendered:
    """NFC of a text and its spans: every offset is moved by composing what precedes it."""
    places = sorted(
        {place for span in spans for place in (span.start, span.end)} | {place for mark in marks for place in mark}
    )
    moved, pieces, at, last = {}, [], 0, 0
    for place in places + [len(text)]:
        # A border that would part a letter from its mark moves behind the mark.
        while place < len(text) and _joins(text[place]):
            place += 1
        piece = normalised("NFC", text[last:place]) if place > last else ""
        pieces.append(piece)
        at += len(piece)
        last = max(last, place)
        moved[place] = at
    ends = {original: moved[_past(text, original)] for original in places}
    return Rendered(
        "".join(pieces),
        [Span(s.kind, ends[s.start], ends[s.end], s.level) for s in spans if ends[s.end] > ends[s.start]],
        [(ends[a], ends[b]) for a, b in marks],
    )


def _past(text: str, place: int) -> int:
    while place < len(text) and _joins(text[place]):
        place += 1
    return place
