"""A page's source to its flat tree: lexbor reads it as a browser does, and its serialisation is cut into arrays.

What a parser writes is well-formed: every element that is not void has its end tag, values stand in double quotes, and five
character references are left. So the compiled part is small, and the tree is lexbor's own, without a walk over its nodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ingest.flat.cut import cut
from stages.ingest.flat.tree import Flat

MAX_DEPTH = 500
"""Elements inside each other that are nodes; text deeper than that hangs on the deepest."""


class Built(NamedTuple):
    tree: Flat
    flattened: int
    """Elements deeper than MAX_DEPTH, which are no nodes; their text is."""


def build(source: str) -> Built:
    """The flat tree of an HTML source. A source without a tag gives `html`, `head` and `body` with its text."""
    from resiliparse.parse.html import HTMLTree

    try:
        parsed = HTMLTree.parse(source)
    except UnicodeEncodeError:  # lone surrogates, which no file holds but a JSON row may
        parsed = HTMLTree.parse(source.encode("utf-8", "replace").decode())
    return from_serialised(str(parsed).encode("utf-8"))


def from_serialised(written: bytes) -> Built:
    """The flat tree of what an HTML parser wrote; `written` is one element."""
    data = np.frombuffer(written, np.uint8).copy()
    most = 2 * written.count(b"<") + 2
    values = written.count(b'="') + 1
    tag, depth = np.empty(most, np.int16), np.empty(most, np.int16)
    parent, end, first, last = (np.empty(most, np.int32) for _ in range(4))
    attribute, (begin, stop) = np.empty(values, np.int16), (np.empty(values, np.int32) for _ in range(2))
    nodes, given, flattened = cut(data, tag, parent, end, depth, first, last, attribute, begin, stop, MAX_DEPTH)
    kept = [array[:nodes] for array in (tag, parent, end, depth, first, last)]
    return Built(Flat(data, *kept, *(array[:given] for array in (attribute, begin, stop))), flattened)
