"""Which blocks of a page are its main text: the set with the highest expected F1."""

from __future__ import annotations

import numpy as np

from stages.ingest.extractor.blocks import ABOVE, BLOCK0, BLOCK1, CODE, OWN_TAG
from stages.ingest.extractor.containers import ROWS
from stages.ingest.extractor.features import H1, H6
from stages.ingest.extractor.scan import BYTES, LINKED, LINKS, OWNER
from stages.ingest.flat.names import TAG, table_of
from stages.text.compiled import kernel, part, reads

LEAST = 0.28
"""Expected F1 below which a page is taken to have no main text (out of fold, with comments: F1 .8833 at 0, .8851 at .2, .8867 at .28 and .3, .8862 at
.33, all from pages whose gold is empty)."""
LISTS, TABLES, PRE = table_of("ul ol dl menu dir"), table_of("table"), TAG["pre"]
LIKELY = 150
"""Thousandths that the blocks of a list without links have at least, their mean by bytes, to be kept with what stands around them."""
SURE, TOP, DOUBTED = 900, 950, 30
"""Thousandths: what wanted blocks are raised to, the most that one is raised to, and what the lowest are taken for."""
AROUND = 4
"""Bytes added to each block's length, so that short ones count as the words they are."""


@kernel(reads(np.int32), reads(np.int64, 1, "A"))
def most_expected(p, size):
    """Booleans per block. `p` thousandths, `size` bytes.

    With blocks in order of probability, the expected F1 of the first k is 2 * sum(p * size over k) / (sum(size over k) +
    sum(p * size over all)); the best k is taken, ties by place on the page;
    none where not even that is expected to reach LEAST.
    """
    n = len(p)
    out = np.zeros(n, np.bool_)
    whole = np.int64(0)
    starts = np.zeros(1002, np.int64)
    for i in range(n):
        whole += np.int64(p[i]) * (size[i] + AROUND)
        starts[1000 - p[i] + 1] += 1
    for k in range(1001):
        starts[k + 1] += starts[k]
    order = np.empty(n, np.int64)
    for i in range(n):
        order[starts[1000 - p[i]]] = i
        starts[1000 - p[i]] += 1
    hit, length, best, count = np.int64(0), np.int64(0), 0.0, 0
    for k in range(n):
        i = order[k]
        hit += np.int64(p[i]) * (size[i] + AROUND)
        length += 1000 * (size[i] + AROUND)
        expected = hit / (length + whole)
        if expected > best:
            best, count = expected, k + 1
    if 2 * best < LEAST:
        return out
    for k in range(count):
        out[order[k]] = True
    return out


@part
def _is_between(kept, block, container, up, a, z):
    """Stand blocks `a` to `z` between two kept blocks that are children of the box `up`?"""
    return (
        container[up, BLOCK0] < a
        and z < container[up, BLOCK1]
        and kept[a - 1]
        and kept[z]
        and container[block[a - 1, OWNER], ABOVE] == up
        and container[block[z, OWNER], ABOVE] == up
    )


@kernel(reads(np.int32), reads(np.int64, 1, "A"), reads(np.bool_))
def as_wanted(p, size, group):
    """Thousandths per block: those of the `group` (booleans) raised as if the page's main text were known to hold it.

    Whether a page's comments belong to its main text is one question for all of them, and p is the answer to that times how
    likely each block is text of a comment: so p is divided by the share that four fifths of the group's bytes do not pass. Out of fold,
    with readers' comments as groups: forums .800 to .811, articles, whose gold has none, .959 to .954.
    """
    counts = np.zeros(1001, np.int64)
    total = np.int64(0)
    for i in range(len(p)):
        if group[i]:
            counts[p[i]] += size[i]
            total += size[i]
    said, most = np.int64(0), 0
    while most < 1000 and 5 * (said + counts[most]) < 4 * total:
        said += counts[most]
        most += 1
    out = p.copy()
    if most < SURE:
        for i in range(len(p)):
            if group[i]:
                out[i] = min(SURE * p[i] // max(most, DOUBTED), TOP)
    return out


@kernel(reads(np.bool_), reads(np.int32), ROWS, ROWS)
def made_whole(kept, said, block, container):
    """Booleans per block: those kept, and what goes with them, though it was not likely enough by itself.

    - The rest of every list of which two thirds, by bytes, are kept.
    - Lists and tables between two kept children of the box that they stand in; and those without links that are not unlikely (LIKELY) where
      seven tenths of the rest of that box are kept.
    - Code (`pre`) beside a kept block of the box that it stands in, with boxes of it alone looked through.
    - Headings, h1 aside, right before a kept block.

    Out of fold the mean F1 is .8797 without and .8799 with all of it, and of the gold's headings .91 are kept for .89; half a list is of less
    use than its figure.
    """
    n = len(block)
    sums = np.zeros((n + 1, 4), np.int64)
    for i in range(n):
        sums[i + 1, 0] = sums[i, 0] + block[i, BYTES]
        sums[i + 1, 1] = sums[i, 1] + (block[i, BYTES] if kept[i] else 0)
        sums[i + 1, 2] = sums[i, 2] + np.int64(said[i]) * block[i, BYTES]
        sums[i + 1, 3] = sums[i, 3] + block[i, LINKS]
    change = np.zeros(n + 1, np.int64)
    passed = 0
    for c in range(len(container)):
        a, z = container[c, BLOCK0], container[c, BLOCK1]
        tag = container[c, OWN_TAG]
        if z <= a or not (LISTS[tag] or TABLES[tag]):
            continue
        size, had = sums[z, 0] - sums[a, 0], sums[z, 1] - sums[a, 1]
        whole = LISTS[tag] and 3 * had >= 2 * size
        if a >= passed:  # the outermost
            passed = z
            up = container[c, ABOVE]
            whole |= _is_between(kept, block, container, up, a, z)
            if not whole and sums[z, 3] == sums[a, 3] and sums[z, 2] - sums[a, 2] >= LIKELY * size:
                while up and container[up, BLOCK0] == a and container[up, BLOCK1] == z:
                    up = container[up, ABOVE]
                x, y = container[up, BLOCK0], container[up, BLOCK1]
                rest = sums[y, 0] - sums[x, 0] - size
                whole = up > 0 and rest > 0 and 10 * (sums[y, 1] - sums[x, 1] - had) >= 7 * rest
        if whole:
            change[a] += 1
            change[z] -= 1
    out = np.zeros(n, np.bool_)
    lists = 0
    for i in range(n):
        lists += change[i]
        out[i] = kept[i] or lists > 0
    for c in range(1, len(container)):
        a, z, up = container[c, BLOCK0], container[c, BLOCK1], container[c, ABOVE]
        if container[c, OWN_TAG] == PRE and z > a:
            while up and container[up, BLOCK0] == a and container[up, BLOCK1] == z:
                up = container[up, ABOVE]
            if (container[up, BLOCK0] < a and out[a - 1]) or (z < container[up, BLOCK1] and out[z]):
                out[a:z] = True
    for i in range(n - 1):
        code = container[block[i, OWNER], CODE]
        if H1 < code <= H6 and out[i + 1] and 2 * block[i, LINKED] <= block[i, BYTES]:
            after = container[block[i + 1, OWNER], CODE]
            out[i] |= not H1 < after <= H6
    return out
