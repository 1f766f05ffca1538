"""Chosen text of a flat tree as plain text or Markdown, with the blocks of that text by code point.

Blocks are parted by a blank line, lines of one list, table or address by a line feed; white space inside is one blank. A row of a
table is one line. What the rendering adds of its own (list bullets and numbers, cell bars, fences) is listed in `marks`, so that
text can be compared without it.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from stages.ingest.flat import pen as pens
from stages.ingest.flat.names import TEXT, table_of
from stages.ingest.flat.tree import TREE, Flat
from stages.ingest.flat.write import BR, CELL, KINDS, OF, TR, layouts, write
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


@kernel(TREE, reads(np.bool_), int64, int64)
def _texts(tree, hidden, low, high):
    mask = outside(tree, hidden, low, high)
    for at in range(low, high):
        mask[at - low] &= tree.tag[at] == TEXT
    return mask


def shown(tree: Flat, hidden: np.ndarray = HIDDEN, low: int = 0, high: int | None = None) -> np.ndarray:
    """Booleans by node, from `low` to `high`: text that no element of `hidden` behind `low` holds."""
    return _texts(tree, hidden, low, len(tree.tag) if high is None else high)


def render(tree: Flat, chosen: np.ndarray | None = None, node: int = 0, markdown: bool = False) -> Rendered:
    """The text below `node`: the text nodes that are set in `chosen` (booleans by node), or all that are shown."""
    low, high = node, int(tree.end[node])
    mask = shown(tree, low=low, high=high) if chosen is None else chosen[low:high]
    mask, before, counts = _measured(tree, mask, low, high)
    if not before[-1]:
        return Rendered("")
    pen = _pen(tree, counts.tolist(), markdown)
    write(tree, low, high, mask, before, layouts(tree, low, high), pen)
    return _read(pen)


TEXTS, SIZE, CELLS, BLOCKS, LINES, DEPTH, COUNTS = range(7)
"""What `_measured` counts of a range of nodes: chosen texts and their bytes; cells, blocks, rows and line breaks, whatever is in them;
elements inside each other."""


@kernel(TREE, reads(np.bool_), int64, int64)
def _measured(tree, chosen, low, high):
    """Of the nodes from `low` to `high`: booleans, the texts that are `chosen`; how many of them stand before each and before the end; and the counts."""
    mask = np.zeros(high - low, np.bool_)
    before = np.zeros(high - low + 1, np.int32)
    counts = np.zeros(COUNTS, np.int64)
    for at in range(low, high):
        tag = tree.tag[at]
        before[at - low] = counts[TEXTS]
        counts[DEPTH] = max(counts[DEPTH], tree.depth[at] - tree.depth[low])
        counts[CELLS] += CELL[tag]
        counts[BLOCKS] += OF[tag] > 0
        counts[LINES] += tag in (TR, BR)
        if tag == TEXT and chosen[at - low]:
            mask[at - low] = True
            counts[TEXTS] += 1
            counts[SIZE] += tree.last[at] - tree.first[at]
    before[high - low] = counts[TEXTS]
    return mask, before, counts


def _pen(tree: Flat, counts: list[int], markdown: bool) -> pens.Pen:
    """Room for whatever may be written of a range of nodes (`_measured`)."""
    texts, size, cells, blocks, lines, depth = counts
    coded = int(np.count_nonzero(tree.data == 10)) + lines if markdown and blocks else 0
    state = np.zeros(pens.STATES, np.int64)
    state[pens.RUN] = state[pens.LIST] = state[pens.TABLE] = -1
    state[pens.MARKDOWN] = markdown
    return pens.Pen(
        np.empty((3 if markdown else 1) * size + GAP * (texts + blocks + coded + 2) + 12 * (cells + lines), np.uint8),
        state,
        np.empty((depth + 2, 7), np.int32),
        np.empty((texts + blocks + 2, 4), np.int32),
        np.empty((4 * texts + lines + 4 * blocks + 2 * coded + 2, 2), np.int32),
        np.zeros(len(KINDS), np.int32),
    )


def _read(pen: pens.Pen) -> Rendered:
    """What was written, its places counted in code points, composed (NFC)."""
    state = pen.state.tolist()
    data = pen.out[: state[pens.AT]]
    spans, marks = pen.spans[: state[pens.SPANS]], pen.marks[: state[pens.MARKS]]
    text = data.tobytes().decode("utf-8", "replace")
    if len(text) < len(data) and (len(spans) or len(marks)):
        places = np.zeros(len(data) + 1, np.int32)
        np.cumsum((data & 0xC0) != 0x80, out=places[1:])
        spans[:, 1:3], marks = places[spans[:, 1:3]], places[marks]
    if len(spans) > 1:
        spans = spans[np.lexsort((-spans[:, 2], spans[:, 1]))]
    found = [Span(KINDS[kind], start, end, level or None) for kind, start, end, level in spans.tolist()]
    bars = [(start, end) for start, end in marks.tolist()]
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        return recomposed(text, found, bars)
    return Rendered(text, found, bars)
