"""A page's source to its flat tree: lexbor reads it as a browser does, and its serialisation is cut into arrays.

What a parser writes is well-formed: every element that is not void has its end tag, values stand in double quotes, and five
character references are left. So the compiled part is small, and the tree is lexbor's own, without a walk over its nodes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from stages.ingest.flat.bound import bound
from stages.ingest.flat.cut import cut
from stages.ingest.flat.formulas import settled
from stages.ingest.flat.tree import Flat
from stages.ingest.html import tags

MAX_DEPTH = 500
"""Elements inside each other that are nodes; text deeper than that hangs on the deepest."""
MAX_TAGS = 2_000_000
"""Start tags of one page; the largest real page met holds 200,000."""
_OPENING = re.compile(rb"<[a-zA-Z]")


class TooComplex(ValueError):
    """A source of more start tags than are read."""


class Built(NamedTuple):
    tree: Flat
    flattened: int
    """Elements deeper than MAX_DEPTH, which are no nodes; their text is."""
    changes: int
    """Tags and attributes taken out of the source, or put in, to stay within limits (`bound.py`, `tags.repaired`)."""


def build(source: str | bytes) -> Built:
    """The flat tree of an HTML source (bytes are UTF-8), its formulas as TeX. A source without a tag gives `html`, `head` and `body` with its text.

    TooComplex where it has more than MAX_TAGS start tags. Time and memory grow with the source.
    """
    made = as_parsed(source)
    return made._replace(tree=settled(made.tree))


def as_parsed(source: str | bytes) -> Built:
    """As `build`, with the elements of formulas as they are."""
    from resiliparse.parse.html import HTMLTree

    given = (
        source if isinstance(source, bytes) else source.encode("utf-8", "replace")
    )  # a JSON row may hold lone surrogates
    found = bound(given)
    changes = found.changes
    if found.hides and 2 * found.tags < len(_OPENING.findall(given)):
        found = bound(tags.repaired(given.decode()).encode("utf-8", "replace"))
        changes += found.changes + 1
    if found.tags > MAX_TAGS:
        raise TooComplex(f"{found.tags} tags, over {MAX_TAGS}")
    parsed = HTMLTree.parse_from_bytes(found.source)
    return from_serialised(str(parsed).encode("utf-8"))._replace(changes=changes)


def from_serialised(written: bytes) -> Built:
    """The flat tree of what an HTML parser wrote; `written` is one element."""
    data = np.frombuffer(written, np.uint8).copy()
    most = 2 * int(np.count_nonzero(data == 60)) + 2
    values = int(np.count_nonzero(data == 34)) // 2 + 1
    tag, depth = np.empty(most, np.int16), np.empty(most, np.int16)
    parent, end, first, last = (np.empty(most, np.int32) for _ in range(4))
    attribute, (begin, stop, owner) = np.empty(values, np.int16), (np.empty(values, np.int32) for _ in range(3))
    nodes, given, flattened = cut(data, tag, parent, end, depth, first, last, attribute, begin, stop, owner, MAX_DEPTH)
    kept = [array[:nodes] for array in (tag, parent, end, depth, first, last)]
    return Built(Flat(data, *kept, *(array[:given] for array in (attribute, begin, stop, owner))), flattened, 0)
