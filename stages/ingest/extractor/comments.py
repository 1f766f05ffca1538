"""Which blocks are readers' comments, by the names that comment systems give their boxes."""

from __future__ import annotations

import re

import numpy as np

from stages.ingest.extractor.blocks import ABOVE, NODE, OWN_TAG, WORD0, WORD1, Blocks
from stages.ingest.extractor.hashing import first_word
from stages.ingest.extractor.scan import OWNER
from stages.ingest.extractor.tables import ID
from stages.ingest.flat.names import table_of
from stages.ingest.flat.tree import Flat, value

NAMED = re.compile(
    r"(?:[a-z]+[-_]){0,2}comments?(?:[-_]?(?:list|section|area|wrap|wrapper|container|thread|block|box|item|content|body|form|respond))?"
    r"|commentlist|disqus_thread|respond|(?:[a-z]+[-_])?cmt[-_](?:list|wrap|area|box)",
    re.I,
)
"""A class name or id of a box of comments; `comments-open` or `comment-count` are none."""
WHOLE = table_of("html body main article")
"""Elements whose names speak of the page: an article `has-comments`."""
WORDS = "comment comments commentlist disqus respond cmt".split()
_HASHES = np.array([first_word(np.frombuffer(word.encode(), np.uint8), salt) for word in WORDS for salt in (0, ID)])


def are_comments(tree: Flat, blocks: Blocks) -> np.ndarray:
    """Booleans by block: does it stand in a box of comments?"""
    rows = blocks.container
    inside = np.zeros(len(rows), np.bool_)
    found = np.concatenate([[0], np.cumsum(np.isin(blocks.class_words, _HASHES))])
    for place in np.flatnonzero((found[rows[:, WORD1]] > found[rows[:, WORD0]]) & ~WHOLE[rows[:, OWN_TAG]]):
        node = int(rows[place, NODE])
        names = f"{value(tree, node, 'class') or ''} {value(tree, node, 'id') or ''}".split()
        inside[place] = any(NAMED.fullmatch(name) for name in names)
    for place in range(1, len(rows)) if inside.any() else ():
        inside[place] |= inside[rows[place, ABOVE]]
    return inside[blocks.block[:, OWNER]]
