"""Which blocks of a page are its main text: the set with the highest expected F1."""

from __future__ import annotations

import numpy as np

from stages.ingest.extractor.blocks import BLOCK0, BLOCK1, OWN_TAG
from stages.ingest.extractor.containers import ROWS
from stages.ingest.extractor.scan import BYTES
from stages.ingest.flat.names import table_of
from stages.text.compiled import kernel, reads

LEAST = 0.2
"""Expected F1 below which a page is taken to have no main text (out of fold: F1 .8787 to .8807, from pages whose gold is empty)."""
LISTS = table_of("ul ol dl menu dir")
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


@kernel(reads(np.bool_), ROWS, ROWS)
def with_whole_lists(kept, block, container):
    """Booleans per block: those kept, and the rest of every list of which two thirds, by bytes, are kept.

    Out of fold the mean F1 is .8807 with it and without; half a list is of less use than its figure.
    """
    n = len(block)
    sums = np.zeros((n + 1, 2), np.int64)
    for i in range(n):
        sums[i + 1, 0] = sums[i, 0] + block[i, BYTES]
        sums[i + 1, 1] = sums[i, 1] + (block[i, BYTES] if kept[i] else 0)
    change = np.zeros(n + 1, np.int64)
    for c in range(len(container)):
        a, z = container[c, BLOCK0], container[c, BLOCK1]
        if LISTS[container[c, OWN_TAG]] and z > a and 3 * (sums[z, 1] - sums[a, 1]) >= 2 * (sums[z, 0] - sums[a, 0]):
            change[a] += 1
            change[z] -= 1
    out = np.zeros(n, np.bool_)
    lists = 0
    for i in range(n):
        lists += change[i]
        out[i] = kept[i] or lists > 0
    return out
