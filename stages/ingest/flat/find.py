"""Elements of a flat tree found by what their attributes say, by compiled code: words, or a stretch of the value."""

from __future__ import annotations

import numpy as np

from stages.ingest.flat.cut import is_at
from stages.ingest.flat.names import ATTRIBUTE, NAMES, Names, find_name
from stages.ingest.flat.tree import TREE, Flat
from stages.text.compiled import int64, kernel, reads, uncounted


@kernel(TREE, int64, NAMES)
def _worded(tree, attribute, names):
    found = np.empty(len(tree.attribute), np.int32)
    count = 0
    for place in range(len(tree.attribute)):
        if tree.attribute[place] == attribute and _has_word(tree.data, tree.begin[place], tree.stop[place], names):
            found[count] = tree.owner[place]
            count += 1
    return found[:count]


@uncounted
def _has_word(data, at, stop, names):
    while at < stop:
        first = at
        while at < stop and data[at] > 32:
            at += 1
        if at > first and find_name(data, first, at, names) >= 0:
            return True
        at += 1
    return False


@kernel(TREE, int64, reads(np.uint8))
def _holding(tree, attribute, word):
    found = np.empty(len(tree.attribute), np.int32)
    count = 0
    for place in range(len(tree.attribute)):
        if tree.attribute[place] == attribute:
            for at in range(tree.begin[place], tree.stop[place] - len(word) + 1):
                if is_at(tree.data, at, word):
                    found[count] = tree.owner[place]
                    count += 1
                    break
    return found[:count]


def having(tree: Flat, attribute: str, words: Names | None = None) -> np.ndarray:
    """Nodes that have the attribute, with one of `words` in it where they are given, without regard to case; in document order."""
    if words is None:
        return tree.owner[tree.attribute == ATTRIBUTE[attribute]]
    return _worded(tree, ATTRIBUTE[attribute], words)


def holding(tree: Flat, attribute: str, word: str) -> np.ndarray:
    """Nodes in whose attribute `word` (in small letters) stands, without regard to the case of ASCII letters; in document order."""
    return _holding(tree, ATTRIBUTE[attribute], np.frombuffer(word.encode(), np.uint8))
