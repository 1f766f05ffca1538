"""Chosen text of a flat tree as plain text or Markdown, with the blocks of that text by code point.

Blocks are parted by a blank line, lines of one list, table or address by a line feed; white space inside is one blank. A row of a
table is one line. What the rendering adds of its own (list bullets and numbers, cell bars, fences) is listed in `marks`, so that
text can be compared without it.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from stages.ingest.flat import pen as pens
from stages.ingest.flat.names import TAG, TEXT, table_of
from stages.ingest.flat.tree import TREE, Flat
from stages.ingest.flat.write import CELL, KINDS, OF, layouts, write
from stages.ingest.html.render import Rendered, Span, recomposed
from stages.text.compiled import int64, kernel, reads

HIDDEN = table_of(
    "script style noscript template head title svg math button select option input textarea iframe object embed canvas audio "
    "video map area source track img link meta datalist dialog"
)
"""Elements without text of the page."""
GAP = 64
"""Bytes that separators and marks before one text or line of code take at most: two line ends, a quote's mark, an indented number, or
the blanks of one."""


@kernel(TREE, reads(np.bool_), int64, int64)
def outside(tree, hidden, low, high):
    """Booleans by node, from `low` to `high`: nodes that no element of `hidden` (booleans by tag) behind `low` is or holds."""
    mask = np.zeros(high - low, np.bool_)
    at = low
    while at < high:
        if hidden[tree.tag[at]] and at > low:
            at = tree.end[at]
        else:
            mask[at - low] = True
            at += 1
    return mask


def shown(tree: Flat, hidden: np.ndarray = HIDDEN, low: int = 0, high: int | None = None) -> np.ndarray:
    """Booleans by node, from `low` to `high`: text that no element of `hidden` behind `low` holds."""
    return outside(tree, hidden, low, len(tree.tag) if high is None else high) & (tree.tag[low:high] == TEXT)


def render(tree: Flat, chosen: np.ndarray | None = None, node: int = 0, markdown: bool = False) -> Rendered:
    """The text below `node`: the text nodes that are set in `chosen` (booleans by node), or all that are shown."""
    low, high = node, int(tree.end[node])
    mask = shown(tree, low=low, high=high) if chosen is None else chosen[low:high] & (tree.tag[low:high] == TEXT)
    before = np.zeros(len(mask) + 1, np.int32)
    np.cumsum(mask, out=before[1:])
    if not before[-1]:
        return Rendered("")
    pen = _pen(tree, mask, low, high, int(before[-1]), markdown)
    write(tree, low, high, mask, before, layouts(tree, low, high), pen)
    return _read(pen)


def _pen(tree: Flat, mask: np.ndarray, low: int, high: int, texts: int, markdown: bool) -> pens.Pen:
    """Room for whatever may be written of the chosen text of a range of nodes."""
    tag = tree.tag[low:high]
    inside = np.flatnonzero(mask) + low
    size = int((tree.last[inside] - tree.first[inside]).sum())
    cells, blocks = int(CELL[tag].sum()), int((OF[tag] > 0).sum())
    lines = int(((tag == TAG["tr"]) | (tag == TAG["br"])).sum())
    coded = int(np.count_nonzero(tree.data == 10)) + lines if markdown and blocks else 0
    state = np.zeros(pens.STATES, np.int64)
    state[[pens.RUN, pens.LIST, pens.TABLE]] = -1
    state[pens.MARKDOWN] = markdown
    return pens.Pen(
        np.empty((3 if markdown else 1) * size + GAP * (texts + blocks + coded + 2) + 12 * (cells + lines), np.uint8),
        state,
        np.empty((int(tree.depth[low:high].max()) - int(tree.depth[low]) + 2, 7), np.int32),
        np.empty((texts + blocks + 2, 4), np.int32),
        np.empty((4 * texts + lines + 4 * blocks + 2 * coded + 2, 2), np.int32),
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
        return recomposed(text, found, bars)
    return Rendered(text, found, bars)
