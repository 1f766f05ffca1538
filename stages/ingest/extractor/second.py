"""What the second stage knows beside the features: what the first stage said of the blocks around, and of the boxes they stand in."""

from __future__ import annotations

import numpy as np

from stages.ingest.extractor.blocks import ABOVE, BLOCK0, BLOCK1, CODE
from stages.ingest.extractor.containers import NEXT, ROWS, SIZE
from stages.ingest.extractor.features import H1, H6, LEVELS
from stages.ingest.extractor.hashing import groups, mix
from stages.ingest.extractor.scan import BYTES, OWNER
from stages.text.compiled import int64, kernel, part, reads, uncounted, writes

ONE = 1000
"""Probabilities are thousandths."""
SECOND_COLUMNS = 9 + 3 + 3 * LEVELS + 2 + 4 + 4 + 4


@uncounted
def _beside(block, p, sums, M, at):
    """The block's own probability, four neighbours on each side, and means within 3, 8 and 25 blocks, by bytes."""
    n = len(p)
    for i in range(n):
        M[i, at] = p[i]
        to = at + 1
        for step in (-4, -3, -2, -1, 1, 2, 3, 4):
            M[i, to] = p[i + step] if 0 <= i + step < n else 0
            to += 1
        for reach in (3, 8, 25):
            a, z = max(i - reach, 0), min(i + reach + 1, n)
            M[i, to] = (sums[z, 1] - sums[a, 1]) // max(sums[z, 0] - sums[a, 0], 1)
            to += 1
    return at + 12


@uncounted
def _above(block, container, known, sums, M, at):
    """Of LEVELS containers: mean probability by bytes, share of the page's probable bytes, mean by blocks."""
    whole = max(sums[len(block), 1], 1)
    for i in range(len(block)):
        c = block[i, OWNER]
        to = at
        for _ in range(LEVELS):
            a, z = container[c, BLOCK0], container[c, BLOCK1]
            mass = sums[z, 1] - sums[a, 1]
            M[i, to] = mass // max(sums[z, 0] - sums[a, 0], 1)
            M[i, to + 1] = ONE * mass // whole
            M[i, to + 2] = (sums[z, 2] - sums[a, 2]) // max(z - a, 1)
            to += 3
            c = known[c, NEXT]
    return at + 3 * LEVELS


@part
def _alike(block, container, signature, p, M, at):
    """Mean probability of the blocks whose container and the one above have the same tags and class words, and how many."""
    n = len(block)
    keys = np.empty(n, np.uint64)
    for i in range(n):
        c = block[i, OWNER]
        keys[i] = mix(signature[c], signature[container[c, ABOVE]])
    group, count = groups(keys)
    mass, size, members = np.zeros(count, np.int64), np.ones(count, np.int64), np.zeros(count, np.int64)
    for i in range(n):
        mass[group[i]] += np.int64(p[i]) * block[i, BYTES]
        size[group[i]] += block[i, BYTES]
        members[group[i]] += 1
    for i in range(n):
        M[i, at] = mass[group[i]] // size[group[i]]
        M[i, at + 1] = members[group[i]]
    return at + 2


@uncounted
def _under_heading(block, container, p, sums, M, at):
    """The heading above: its probability and that of what stands under it; the same of the section before."""
    n = len(block)
    before = 0
    i = 0
    while i < n:
        z = i + 1
        while z < n and not H1 <= container[block[z, OWNER], CODE] <= H6:
            z += 1
        mean = (sums[z, 1] - sums[i, 1]) // max(sums[z, 0] - sums[i, 0], 1)
        for k in range(i, z):
            M[k, at] = p[i]
            M[k, at + 1] = mean
            M[k, at + 2] = before
            M[k, at + 3] = z - i
        before = mean
        i = z
    return at + 4


@uncounted
def _homes(block, container, known, sums, M, at):
    """Where the block stands to the smallest containers with six and nine tenths of the page's probable bytes, and how probable those are."""
    n = len(block)
    whole = sums[n, 1]
    for place, tenths in enumerate((6, 9)):
        best = 0
        for c in range(1, len(container)):
            mass = sums[container[c, BLOCK1], 1] - sums[container[c, BLOCK0], 1]
            if 10 * mass >= tenths * whole and known[c, SIZE] <= known[best, SIZE]:
                best = c
        a, z = container[best, BLOCK0], container[best, BLOCK1]
        mean = (sums[z, 1] - sums[a, 1]) // max(sums[z, 0] - sums[a, 0], 1)
        for i in range(n):
            M[i, at + 2 * place] = 0 if a <= i < z else i - a if i < a else i - z + 1
            M[i, at + 2 * place + 1] = mean
    return at + 4


@kernel(ROWS, ROWS, ROWS, reads(np.uint64), reads(np.int32), writes(np.int32, 2), int64)
def fill_second(block, container, known, signature, p, M, at):
    """Fills SECOND_COLUMNS columns of `M` from `at` on; `p` is int32 per block, in thousandths."""
    n = len(block)
    sums = np.zeros((n + 1, 3), np.int64)
    most = 0
    for i in range(n):
        sums[i + 1, 0] = sums[i, 0] + block[i, BYTES]
        sums[i + 1, 1] = sums[i, 1] + np.int64(p[i]) * block[i, BYTES]
        sums[i + 1, 2] = sums[i, 2] + p[i]
        most = max(most, p[i])
    at = _beside(block, p, sums, M, at)
    at = _above(block, container, known, sums, M, at)
    at = _alike(block, container, signature, p, M, at)
    at = _under_heading(block, container, p, sums, M, at)
    at = _homes(block, container, known, sums, M, at)
    whole = max(sums[n, 1], 1)
    for i in range(n):
        M[i, at] = most
        M[i, at + 1] = sums[n, 1] // max(sums[n, 0], 1)
        M[i, at + 2] = min(sums[n, 1] // ONE, 1 << 30)
        M[i, at + 3] = ONE * sums[i, 1] // whole
    return at + 4
