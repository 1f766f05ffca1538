"""The flat tree of a page: nodes in document order, so that whatever is below a node is a range of nodes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from stages.ingest.flat.names import ATTRIBUTE, ATTRIBUTES, ELEMENTS, TAG, TEXT, table_of
from stages.text.compiled import tuple_of, writes


class Flat(NamedTuple):
    """A page as arrays. Node 0 is the `html` element; kernels take the tuple as it is.

    Text and attribute values are UTF-8 without character references, ranges of one arena; what lies between ranges means
    nothing. Comments, doctypes and processing instructions are no nodes.
    """

    data: np.ndarray
    """uint8: the arena."""
    tag: np.ndarray
    """int16 per node: `names.TAG`, or TEXT (0) or UNKNOWN (1)."""
    parent: np.ndarray
    """int32 per node; -1 for node 0."""
    end: np.ndarray
    """int32 per node: one past the last node below it; the node's number plus one where nothing is."""
    depth: np.ndarray
    """int16 per node: elements above it."""
    first: np.ndarray
    """int32 per node: of text where it begins in the arena, of an element its first attribute."""
    last: np.ndarray
    """int32 per node: one past the end of that range."""
    attribute: np.ndarray
    """int16 per attribute: `names.ATTRIBUTE`; the first of a name on an element counts, as in a browser."""
    begin: np.ndarray
    """int32 per attribute: where its value begins in the arena."""
    stop: np.ndarray
    """int32 per attribute: one past the value's end."""
    owner: np.ndarray
    """int32 per attribute: the element that has it; -1 of one that is no longer in the tree."""


_BYTES, _SHORTS, _INTS = writes(np.uint8), writes(np.int16), writes(np.int32)
TREE = tuple_of(Flat, _BYTES, _SHORTS, _INTS, _INTS, _SHORTS, _INTS, _INTS, _SHORTS, _INTS, _INTS, _INTS)
"""Type of a flat tree as an argument of a kernel."""


def value(tree: Flat, node: int, name: str) -> str | None:
    """The value of an attribute of an element; None where it has none of that name."""
    at, last = int(tree.first[node]), int(tree.last[node])
    names = tree.attribute[at:last].tolist()
    wanted = ATTRIBUTE[name]
    if wanted not in names:
        return None
    at += names.index(wanted)
    return text_at(tree, int(tree.begin[at]), int(tree.stop[at]))


def spans_of(tree: Flat, node: int) -> dict[str, tuple[int, int]]:
    """Where the values of an element's attributes stand in the arena, by name; of two of one name the first."""
    own = slice(tree.first[node], tree.last[node])
    names, begins, stops = (array[own].tolist() for array in (tree.attribute, tree.begin, tree.stop))
    return {ATTRIBUTES[names[at]]: (begins[at], stops[at]) for at in range(len(names) - 1, -1, -1)}


def text_at(tree: Flat, begin: int, stop: int) -> str:
    """A range of the arena as text."""
    return str(tree.data[begin:stop], "utf-8", "replace")


def words(tree: Flat, node: int) -> str:
    """All text below a node, as it stands, scripts and styles included."""
    if tree.tag[node] == TEXT:
        return text_at(tree, tree.first[node], tree.last[node])
    inside = np.flatnonzero(tree.tag[node : tree.end[node]] == TEXT) + node
    return b"".join(tree.data[tree.first[at] : tree.last[at]].tobytes() for at in inside).decode("utf-8", "replace")


def elements(tree: Flat, *names: str, low: int = 0, high: int | None = None) -> list[int]:
    """Nodes of these element names, or of any, from `low` to `high`, in document order."""
    tags = tree.tag[low:high]
    known = [TAG[name] for name in names if name in TAG]
    found = tags == known[0] if len(known) == 1 else _table(names)[tags] if names else tags != TEXT
    return (found.nonzero()[0] + low).tolist()  # np.flatnonzero takes twice the time


@cache
def _table(names: tuple[str, ...]) -> np.ndarray:
    return table_of(" ".join(name for name in names if name in TAG))


def children(tree: Flat, node: int) -> Iterator[int]:
    """Nodes right below a node, text among them."""
    at, end = node + 1, int(tree.end[node])
    while at < end:
        yield at
        at = int(tree.end[at])


def name(tree: Flat, node: int) -> str:
    """The element's name; empty for text and for names in no table."""
    tag = int(tree.tag[node])
    return ELEMENTS[tag - 2] if tag >= 2 else ""
