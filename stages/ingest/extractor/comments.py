"""Which blocks are readers' comments or the posts of a thread, by the names that such systems give their boxes."""

from __future__ import annotations

import re

import numpy as np

from stages.ingest.extractor.blocks import ABOVE, FLAGS, NODE, OWN_TAG, WORD0, WORD1, Blocks
from stages.ingest.extractor.containers import ROWS, below
from stages.ingest.extractor.hashing import find, first_word, name_words, open_table
from stages.ingest.extractor.scan import OWNER
from stages.ingest.extractor.tables import FLAG, ID
from stages.ingest.flat.names import table_of
from stages.ingest.flat.tree import Flat, value
from stages.ingest.html.structure import FEWEST_POSTS, POST_BODY
from stages.text.compiled import kernel, reads

NAMED = re.compile(
    r"(?:[a-z]+[-_]){0,2}comments?(?:[-_]?(?:list|section|area|wrap|wrapper|container|thread|block|box|item|content|body|form|respond))?"
    r"|commentlist|disqus_thread|respond|(?:[a-z]+[-_])?cmt[-_](?:list|wrap|area|box)"
    r"|repl(?:y|ies)(?:[-_](?:list|area|wrap|box))?|list[-_]reply|bo_vc|fblist|fdb_lst(?:_ul|_wrp)?",
    re.I,
)
"""A class name or id of a box of comments; `comments-open` or `comment-count` are none."""
WHOLE = table_of("html body main article")
"""Elements whose names speak of the page: an article `has-comments`."""
WORDS = "comment comments commentlist disqus respond cmt reply replies bo fb fblist fdb".split()


def _hashes(names: list[str], salt: int) -> np.ndarray:
    return np.array([name_words(np.frombuffer(name.encode(), np.uint8), salt)[-1] for name in names], np.uint32)


def _table(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return open_table(hashes, np.ones(len(hashes), np.int16))


_WORDS = _table(
    np.array(
        [first_word(np.frombuffer(word.encode(), np.uint8), salt) for word in WORDS for salt in (0, ID)], np.uint32
    )
)
_POSTS = _table(np.concatenate([_hashes(sorted(POST_BODY), 0), _hashes(["post_message_", "post_text_", "msg_"], ID)]))
"""Of each name the hash of its last two words together: `postBody` and `js-post-body` are `post-body` too."""


@kernel(reads(np.uint32), ROWS, reads(np.uint32), reads(np.int16))
def _having(words, container, keys, values):
    """Booleans by container: is one of its class words or of those of its id in the table?"""
    found = np.zeros(len(container), np.bool_)
    for c in range(len(container)):
        for at in range(container[c, WORD0], container[c, WORD1]):
            if find(keys, values, words[at]):
                found[c] = True
                break
    return found


def are_comments(tree: Flat, blocks: Blocks) -> np.ndarray:
    """Booleans by block: does it stand in a box of comments?"""
    rows = blocks.container
    boxes = np.zeros(len(rows), np.bool_)
    for place in np.flatnonzero(_having(blocks.class_words, rows, *_WORDS) & ~WHOLE[rows[:, OWN_TAG]]):
        node = int(rows[place, NODE])
        names = f"{value(tree, node, 'class') or ''} {value(tree, node, 'id') or ''}".split()
        boxes[place] = any(NAMED.fullmatch(name) for name in names)
    return below(blocks.container, boxes)[blocks.block[:, OWNER]]


def are_posts(blocks: Blocks) -> np.ndarray:
    """Booleans by block: does it stand in the body of a post, where the page has several of them?"""
    rows = blocks.container
    boxes = _having(blocks.class_words, rows, *_POSTS)
    inside = below(blocks.container, boxes)
    outer = boxes & ~inside[rows[:, ABOVE]]
    outer[0] = boxes[0]
    return (inside if outer.sum() >= FEWEST_POSTS else np.zeros_like(inside))[blocks.block[:, OWNER]]


def are_answers(tree: Flat, blocks: Blocks) -> np.ndarray:
    """Booleans by block: comments and posts, forms to write one aside."""
    found = are_comments(tree, blocks) | are_posts(blocks)
    if found.any():
        forms = below(blocks.container, (blocks.container[:, FLAGS] >> FLAG["form"]) & 1 > 0)
        found &= ~forms[blocks.block[:, OWNER]]
    return found
