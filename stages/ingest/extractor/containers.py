"""What is known of each container: what it holds, what its class words and those above say, how many like it stand beside it."""

from __future__ import annotations

import numpy as np

from stages.ingest.extractor.blocks import (
    ABOVE,
    BLOCK0,
    BLOCK1,
    CHILDREN,
    CONTROL0,
    CONTROL1,
    FLAGS,
    IMAGE0,
    IMAGE1,
    PLACE,
    WORD0,
    WORD1,
)
from stages.ingest.extractor.hashing import find, groups, mix
from stages.ingest.extractor.scan import BYTES, LINKED, LINKS, MONEY, PUNCT
from stages.text.compiled import kernel, reads, uncounted

# Columns of what is known of a container.
SIZE, LINK_SHARE, COUNT, SHARE, ODDS, LEAST, MOST, SUM, ALIKE, PROSE, PICTURES, CONTROLS, FLAGS_ABOVE, NEXT, PLACES, STOPS, PRICES, ALIKE_SIZE = range(18)  # fmt: skip
KNOWN_COLUMNS = 18
ROWS = reads(np.int64, 2)
PROSE_BYTES = 80
"""Bytes from which a block with little of it linked counts as a paragraph."""


@uncounted
def is_prose(size, linked):
    return size > PROSE_BYTES and 10 * linked < 3 * size


@kernel(ROWS, ROWS, reads(np.uint32), reads(np.uint64), reads(np.uint32), reads(np.int16))
def know(block, container, named, signature, keys, values):
    """int64 (containers, KNOWN_COLUMNS): one row a container, log odds of class words in hundredths, shares in thousandths."""
    n = len(container)
    known = np.zeros((n, KNOWN_COLUMNS), np.int64)
    sums = np.zeros((len(block) + 1, 6), np.int64)
    for i in range(len(block)):
        sums[i + 1, 0] = sums[i, 0] + block[i, BYTES]
        sums[i + 1, 1] = sums[i, 1] + block[i, LINKED]
        sums[i + 1, 2] = sums[i, 2] + is_prose(block[i, BYTES], block[i, LINKED])
        sums[i + 1, 3] = sums[i, 3] + block[i, PUNCT]
        sums[i + 1, 4] = sums[i, 4] + block[i, MONEY]
        sums[i + 1, 5] = sums[i, 5] + block[i, LINKS]
    total = max(sums[len(block), 0], 1)
    beside = np.empty(n, np.uint64)
    for c in range(n):
        row, out = container[c], known[c]
        a, b = row[BLOCK0], row[BLOCK1]
        size = sums[b, 0] - sums[a, 0]
        out[SIZE] = size
        out[LINK_SHARE] = 1000 * (sums[b, 1] - sums[a, 1]) // max(size, 1)
        out[COUNT] = b - a
        out[SHARE] = 1000 * size // total
        out[PROSE] = sums[b, 2] - sums[a, 2]
        out[STOPS] = sums[b, 3] - sums[a, 3]
        out[PRICES] = sums[b, 4] - sums[a, 4]
        out[PICTURES] = row[IMAGE1] - row[IMAGE0]
        out[CONTROLS] = row[CONTROL1] - row[CONTROL0]
        low, high = 0, 0
        for k in range(row[WORD0], row[WORD1]):
            odds = find(keys, values, named[k])
            low, high = min(low, odds), max(high, odds)
        out[ODDS] = low + high
        up = row[ABOVE]
        out[FLAGS_ABOVE] = row[FLAGS]
        out[LEAST], out[MOST], out[SUM], out[NEXT] = min(low, 0), max(high, 0), low + high, up
        beside[c] = mix(np.uint64(up), signature[c])
        if c == 0:
            continue
        out[FLAGS_ABOVE] |= known[up, FLAGS_ABOVE]
        out[LEAST] = min(out[LEAST], known[up, LEAST])
        out[MOST] = max(out[MOST], known[up, MOST])
        out[SUM] += known[up, SUM]
        out[PLACES] = 1000 * row[PLACE] // max(container[up, CHILDREN], 1)
    group, count = groups(beside)
    members = np.zeros(count, np.int64)
    sizes = np.zeros(count, np.int64)
    for c in range(n):
        members[group[c]] += 1
        sizes[group[c]] += known[c, SIZE]
    for c in range(n):
        known[c, ALIKE] = members[group[c]]
        known[c, ALIKE_SIZE] = sizes[group[c]] // members[group[c]]
    # The next container that holds more than this one: boxes in boxes with the same text are one step.
    for c in range(1, n):
        up = container[c, ABOVE]
        known[c, NEXT] = known[up, NEXT] if up > 0 and known[up, SIZE] == known[c, SIZE] else up
    return known


@kernel(ROWS, ROWS)
def extremes(container, known):
    """Log odds by container, with those of the boxes around it that hold the same text: (lowest + highest)."""
    out = np.zeros(len(container), np.int64)
    low = np.zeros(len(container), np.int64)
    high = np.zeros(len(container), np.int64)
    alike = np.ones(len(container), np.int64)
    for c in range(len(container)):
        low[c], high[c], alike[c] = min(known[c, ODDS], 0), max(known[c, ODDS], 0), known[c, ALIKE]
        up = container[c, ABOVE]
        if c and known[up, SIZE] == known[c, SIZE]:
            low[c], high[c], alike[c] = min(low[c], low[up]), max(high[c], high[up]), max(alike[c], alike[up])
        out[c] = low[c] + high[c]
    return out, alike


@kernel(ROWS, reads(np.bool_))
def below(container, boxes):
    """Booleans by container: the boxes and whatever stands in one."""
    out = boxes.copy()
    for c in range(1, len(out)):
        out[c] |= out[container[c, ABOVE]]
    return out
