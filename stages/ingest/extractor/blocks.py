"""Blocks and containers of a page, out of its flat tree.

A block is a run of inline text under one block-level element, with nothing block-level inside; a container is a
block-level element (the root is container 0). Both are rows of integers in document order; a container knows the range of
its blocks. Lengths are UTF-8 bytes of text, white space in a row counted as one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ingest.extractor.hashing import OFFSET, class_words, mix
from stages.ingest.extractor.scan import (
    BLOCK_COLUMNS,
    BYTES,
    FIRST_WORDS,
    FRAGMENT,
    HASH,
    IMAGES,
    IN_CODE,
    IN_LINK,
    LENGTH,
    LINKS,
    NUMBER,
    OUTWARD,
    OWNER,
    RUN,
    RUN_COLUMNS,
    STATE,
    WAITING,
    YEARS,
    end_word,
    scan,
)
from stages.ingest.extractor.stated import STATED, Stated, stated_of
from stages.ingest.extractor.tables import (
    ARIA_HIDDEN,
    BREAK,
    CLASS,
    CONTROL,
    HIDDEN,
    HIDDEN_BIT,
    HREF,
    ID,
    IMAGE,
    INLINE,
    ITEMPROP,
    LEVEL,
    LINK,
    NO_ATTRIBUTE,
    PRESSED,
    ROLE,
    SKIPPED,
    STYLE,
    TABLES,
    TEST_ID,
    TEXTUAL,
    TYPED,
    WITH_NOSCRIPT,
    Tables,
)
from stages.ingest.flat.names import TAG
from stages.ingest.flat.tree import TREE, Flat
from stages.text.compiled import kernel, tuple_of, uncounted, writes

# Columns of a container; pairs are running counts where it opens and where it closes.
ABOVE, CODE, FLAGS, DEPTH, BLOCK0, BLOCK1, NODE, WORD0, WORD1, IMAGE0, IMAGE1, CONTROL0, CONTROL1, CHILDREN, PLACE, OWN_TAG = range(16)  # fmt: skip
CONTAINER_COLUMNS = 16
FEW = 1000
"""Bytes of text below which a page is read with its `noscript`."""
WORDS_PER_ATTRIBUTE = 25
DISPLAY, NONE = np.frombuffer(b"display", np.uint8), np.frombuffer(b"none", np.uint8)


TABLE = tuple_of(Tables, *(writes(array.dtype) for array in TABLES))
NOSCRIPT = TAG["noscript"]


class Blocks(NamedTuple):
    """A page's blocks and containers; kernels take the tuple as it is."""

    block: np.ndarray
    """int64 (blocks, BLOCK_COLUMNS), columns as in `scan`."""
    container: np.ndarray
    """int64 (containers, CONTAINER_COLUMNS), columns as above."""
    words: np.ndarray
    """uint32 (blocks, FIRST_WORDS): hashes of each block's first words, 0 where it has fewer."""
    class_words: np.ndarray
    """uint32: hashes of the containers' class words, ranges WORD0 to WORD1."""
    text: np.ndarray
    """uint64 per block: hash of its words."""
    signature: np.ndarray
    """uint64 per container: hash of its tag and class words."""
    home: np.ndarray
    """int32 per node of the tree: the block a text node belongs to; -1 for what is no text of a block."""
    stated: np.ndarray
    """int64 (3): distinct words of the page's title, and distinct runs of three words of its descriptions and of its JSON-LD."""


@uncounted
def _holds(data, start, stop, word):
    for i in range(start, stop - len(word) + 1):
        k = 0
        while k < len(word) and (data[i + k] | np.uint8(32)) == word[k]:
            k += 1
        if k == len(word):
            return True
    return False


@uncounted
def _close(run, here, block, count, words, texts, stated):
    """Ends the open run: a block where it has text. Returns the new count of blocks."""
    if run[BYTES]:
        end_word(run, np.uint32(run[STATE]), run[LENGTH], words, count, stated)
        if run[RUN] == 4 and 1900 <= run[NUMBER] < 2100:
            run[YEARS] += 1
        run[OWNER] = here
        for k in range(BLOCK_COLUMNS):
            block[count, k] = run[k]
        texts[count] = np.uint64(run[HASH])
        count += 1
    for k in range(RUN_COLUMNS):
        if not IN_LINK <= k <= IN_CODE:
            run[k] = 0
    run[STATE] = OFFSET
    return count


@uncounted
def _links_to(data, attribute, begin, stop, read, first, last, run):
    """Counts where a link leads: inside the page or to a script, or to a full address."""
    for k in range(first, last):
        if read[attribute[k]] == HREF:
            a, b = begin[k], stop[k]
            if b > a and (data[a] == 35 or data[a] == 106):
                run[FRAGMENT] += 1
            elif b - a > 7 and data[a] == 104 and (data[a + 4] == 58 or data[a + 4] == 115):
                run[OUTWARD] += 1


@uncounted
def _open(tree, tables, node, row, named, at):
    """Fills what a container's tag and attributes say; returns (next free place of class words, signature)."""
    tag = tree.tag[node]
    flags = tables.flag[tag]
    sign = mix(np.uint64(tag), np.uint64(17))
    row[WORD0] = at
    for k in range(tree.first[node], tree.last[node]):
        name = tables.read[tree.attribute[k]]
        if name == NO_ATTRIBUTE:
            continue
        a, b = tree.begin[k], tree.stop[k]
        if name in (CLASS, ROLE):
            start = at
            at = class_words(tree.data, a, b, 0, named, at)
            for x in range(start, at):
                sign = mix(sign, np.uint64(named[x]))
            if name == ROLE and at > start:
                for x in range(len(tables.role_words)):
                    if tables.role_words[x] == named[start]:
                        flags |= tables.role_bits[x]
        elif name in (ID, ITEMPROP, TEST_ID):
            at = class_words(tree.data, a, b, name, named, at)
        elif (
            name == HIDDEN
            or (name == ARIA_HIDDEN and b - a == 4)
            or name == STYLE
            and _holds(tree.data, a, b, DISPLAY)
            and _holds(tree.data, a, b, NONE)
        ):
            flags |= 1 << HIDDEN_BIT
    row[WORD1] = at
    row[FLAGS] = flags
    row[CODE] = tables.code[tag]
    row[OWN_TAG] = tag
    row[NODE] = node
    return at, sign


@uncounted
def _sizes(tree, tables):
    """How many text nodes, containers and named attributes of containers there are."""
    texts, levels, attributes = 0, 1, 0
    for i in range(len(tree.tag)):
        role = tables.role[tree.tag[i]]
        if role == TEXTUAL:
            texts += 1
        elif role == LEVEL:
            levels += 1
            for k in range(tree.first[i], tree.last[i]):
                attributes += tables.read[tree.attribute[k]] != NO_ATTRIBUTE
    return texts, levels, attributes


@kernel(TREE, TABLE, STATED)
def cut(tree, tables, stated):
    """(blocks, containers, words, class words, text hashes, signatures, block by node) of a page; the arrays of `Blocks`."""
    n = len(tree.tag)
    texts, levels, attributes = _sizes(tree, tables)
    block = np.zeros((texts, BLOCK_COLUMNS), np.int64)
    container = np.zeros((levels, CONTAINER_COLUMNS), np.int64)
    words = np.zeros((texts, FIRST_WORDS), np.uint32)
    named = np.empty(attributes * WORDS_PER_ATTRIBUTE + 1, np.uint32)
    text = np.empty(texts, np.uint64)
    signature = np.zeros(levels, np.uint64)
    home = np.full(n, -1, np.int32)
    run = np.zeros(RUN_COLUMNS, np.int64)
    run[STATE] = OFFSET
    stack = np.empty(n + 1, np.int32)
    depth, blocks, containers, here, at, images, controls = 0, 0, 1, 0, 0, 0, 0
    i = 0
    while True:
        while depth and (i == n or tree.end[stack[depth - 1]] <= i):
            depth -= 1
            tag = tree.tag[stack[depth]]
            if tables.role[tag] == LEVEL:
                blocks = _close(run, here, block, blocks, words, text, stated)
                container[here, BLOCK1] = blocks
                container[here, IMAGE1] = images
                container[here, CONTROL1] = controls
                here = container[here, ABOVE]
            else:
                kind = tables.kind[tag]
                if LINK <= kind <= TYPED:
                    run[IN_LINK + kind - LINK] -= 1
        if i == n:
            break
        tag = tree.tag[i]
        role = tables.role[tag]
        if role == TEXTUAL:
            scan(tree.data, tree.first[i], tree.last[i], i, run, words, blocks, stated)
            home[i] = blocks
            i += 1
            continue
        kind = tables.kind[tag]
        if role == SKIPPED:
            controls += kind == CONTROL
            i = tree.end[i]
            continue
        if role == INLINE:
            if LINK <= kind <= TYPED:
                run[IN_LINK + kind - LINK] += 1
                controls += kind == PRESSED
                if kind == LINK:
                    run[LINKS] += 1
                    _links_to(
                        tree.data, tree.attribute, tree.begin, tree.stop, tables.read, tree.first[i], tree.last[i], run
                    )
            elif kind == BREAK:
                run[WAITING] = 1 if run[BYTES] else 0
            elif kind == IMAGE:
                images += 1
                run[IMAGES] += 1
        else:
            blocks = _close(run, here, block, blocks, words, text, stated)
            row = container[containers]
            at, signature[containers] = _open(tree, tables, i, row, named, at)
            row[ABOVE] = here
            row[DEPTH] = container[here, DEPTH] + 1
            row[BLOCK0] = blocks
            row[IMAGE0] = images
            row[CONTROL0] = controls
            row[PLACE] = container[here, CHILDREN]
            container[here, CHILDREN] += 1
            here = containers
            containers += 1
        stack[depth] = i
        depth += 1
        i += 1
    blocks = _close(run, here, block, blocks, words, text, stated)
    container[0, BLOCK1] = blocks
    container[0, IMAGE1] = images
    container[0, CONTROL1] = controls
    for k in range(n):
        if home[k] >= blocks:  # white space behind the last block
            home[k] = -1
    return (
        block[:blocks],
        container[:containers],
        words[:blocks],
        named[:at],
        text[:blocks],
        signature[:containers],
        home,
    )


def blocks_of(tree: Flat) -> Blocks:
    """The blocks and containers of a page; those of `noscript` among them where it says more than all the rest.

    A forum whose page is made by a script often gives its posts there for readers without one.
    """
    stated = Stated(*stated_of(tree))
    counts = np.array([len(stated.title), *stated.runs])
    found = Blocks(*cut(tree, TABLES, stated), counts)
    if found.block[:, BYTES].sum() >= FEW or not (tree.tag == NOSCRIPT).any():
        return found
    return Blocks(*cut(tree, WITH_NOSCRIPT, stated), counts)
