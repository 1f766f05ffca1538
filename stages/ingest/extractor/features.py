"""What the first stage knows of each block: integers, so that every machine computes the same.

Shares are thousandths, log odds hundredths, lengths bytes. Nothing is written for one language: words are looked up by hash in
tables learnt from the training pages.
"""

from __future__ import annotations

import numpy as np

from stages.ingest.extractor.blocks import ABOVE, BLOCK0, BLOCK1, CODE, DEPTH, FLAGS
from stages.ingest.extractor.containers import (
    ALIKE_SIZE,
    CONTROLS,
    COUNT,
    FLAGS_ABOVE,
    LEAST,
    LINK_SHARE,
    MOST,
    NEXT,
    ODDS,
    PICTURES,
    PLACES,
    PRICES,
    PROSE,
    ROWS,
    SHARE,
    SIZE,
    STOPS,
    SUM,
    is_prose,
)
from stages.ingest.extractor.hashing import find, groups
from stages.ingest.extractor.scan import (
    BUTTON,
    BYTES,
    CAPITALS,
    DESCRIBED,
    DESCRIBED_RUNS,
    DIGITS,
    ENDING,
    FIRST_WORDS,
    FRAGMENT,
    IMAGES,
    LINKED,
    LINKS,
    MARKS,
    MONEY,
    OUTWARD,
    OWNER,
    PUNCT,
    STATED_RUNS,
    STATED_WORDS,
    STRONG,
    TIMES,
    TITLED,
    UPPER,
    WORDS,
    YEARS,
)
from stages.ingest.extractor.scan import CODE as CODE_BYTES
from stages.ingest.extractor.tables import CODE as CODES
from stages.ingest.extractor.tables import FLAG, FLAG_BITS
from stages.text.compiled import kernel, part, reads, uncounted, writes

OWN = 41
"""Columns of the block by itself."""
LEVELS = 7
"""Containers above a block that are looked at, each holding more than the one before."""
H1 = CODES["h1"]
H6 = CODES["h6"]
TD = CODES["td"]
ARTICLE, MAIN = FLAG["article"], FLAG["main"]
MAIN_ROLE = 23
FAR = 9999


@part
def own(block, text, words, stated, keys, values, M, at):
    """The block by itself."""
    n = len(block)
    title = max(stated[0], 1)
    group, count = groups(text)
    times = np.zeros(count, np.int64)
    total = 1
    for i in range(n):
        times[group[i]] += 1
        total += block[i, BYTES]
    seen = np.zeros(count, np.int64)
    before = 0
    for i in range(n):
        b = block[i]
        size = b[BYTES]
        low, high, odds, known = 0, 0, 0, 0
        if size < 300:
            for k in range(min(b[WORDS], FIRST_WORDS)):
                value = find(keys, values, words[i, k])
                low, high = min(low, value), max(high, value)
                odds += value
                known += value != 0
        seen[group[i]] += 1
        row = (
            size, 1000 * b[LINKED] // size, b[LINKS], 1000 * b[STRONG] // size, 1000 * b[BUTTON] // size, 1000 * b[CODE_BYTES] // size,
            1000 * b[PUNCT] // size, b[PUNCT], b[WORDS], 10 * size // max(b[WORDS], 1), b[ENDING], b[UPPER], 1000 * b[DIGITS] // size,
            b[YEARS], b[TIMES], b[MONEY], b[MARKS], 1000 * b[CAPITALS] // size, b[FRAGMENT], b[OUTWARD], b[IMAGES],
            1000 * b[TITLED] // title, 1000 * b[TITLED] // max(b[WORDS], 1), times[group[i]], seen[group[i]],
            low, high, odds, odds // max(known, 1), 1000 * before // total, 1000 * i // n, i, n - i,
            1000 * b[DESCRIBED] // max(b[WORDS], 1), 1000 * b[DESCRIBED_RUNS] // max(b[WORDS] - 2, 1), b[DESCRIBED_RUNS], stated[1],
            1000 * b[STATED_WORDS] // max(b[WORDS], 1), 1000 * b[STATED_RUNS] // max(b[WORDS] - 2, 1), b[STATED_RUNS], stated[2],
        )  # fmt: skip
        for k in range(len(row)):
            M[i, at + k] = row[k]
        before += size
    return at + OWN


@uncounted
def chains(block, container, known, M, at):
    """The block's own container, and what any of those above it is."""
    for i in range(len(block)):
        c = block[i, OWNER]
        flags = known[c, FLAGS_ABOVE]
        for k in range(FLAG_BITS):
            M[i, at + k] = (flags >> k) & 1
        to = at + FLAG_BITS
        M[i, to] = container[c, DEPTH]
        M[i, to + 1] = container[c, CODE]
        M[i, to + 2] = known[c, ODDS]
        M[i, to + 3] = known[c, LEAST]
        M[i, to + 4] = known[c, MOST]
        M[i, to + 5] = known[c, SUM]
        M[i, to + 6] = container[container[c, ABOVE], CODE]
    return at + FLAG_BITS + 7


@uncounted
def ancestors(block, container, known, odds, alike, M, at):
    """LEVELS containers above the block, each holding more than the one before."""
    for i in range(len(block)):
        c = block[i, OWNER]
        to = at
        for level in range(LEVELS):
            row = known[c]
            values = (
                row[SIZE], row[LINK_SHARE], row[COUNT], row[SHARE], odds[c], alike[c], row[PROSE],
                1000 * row[STOPS] // max(row[SIZE], 1), row[PICTURES], row[CONTROLS], row[PRICES],
            )  # fmt: skip
            for k in range(11):
                M[i, to + k] = values[k]
            to += 11
            if level < 4:
                M[i, to] = container[c, CODE]
                M[i, to + 1] = row[PLACES]
                M[i, to + 2] = row[ALIKE_SIZE]
                to += 3
            c = row[NEXT]
    return at + 11 * LEVELS + 12


@part
def around(block, container, known, M, at):
    """The three blocks before and behind, and the text within five and fifteen blocks."""
    n = len(block)
    sums = np.zeros((n + 1, 4), np.int64)
    for i in range(n):
        sums[i + 1, 0] = sums[i, 0] + block[i, BYTES]
        sums[i + 1, 1] = sums[i, 1] + block[i, LINKED]
        sums[i + 1, 2] = sums[i, 2] + block[i, PUNCT]
        sums[i + 1, 3] = sums[i, 3] + is_prose(block[i, BYTES], block[i, LINKED])
    for i in range(n):
        to = at
        for step in (-3, -2, -1, 1, 2, 3):
            j = i + step
            near = step == 1 or step == -1
            if 0 <= j < n:
                b = block[j]
                M[i, to] = b[BYTES]
                M[i, to + 1] = 1000 * b[LINKED] // b[BYTES]
                M[i, to + 2] = b[PUNCT]
                if near:
                    M[i, to + 3] = container[b[OWNER], CODE]
                    M[i, to + 4] = known[b[OWNER], ODDS]
                    M[i, to + 5] = b[ENDING]
                    M[i, to + 6] = b[OWNER] == block[i, OWNER]
            to += 7 if near else 3
        for reach in (5, 15):
            a, z = max(i - reach, 0), min(i + reach + 1, n)
            for k in range(4):
                M[i, to + k] = sums[z, k] - sums[a, k]
            to += 4
    return at + 34


@uncounted
def sections(block, container, known, words, keys, values, M, at):
    """The heading above, how far it is, and where the first h1 stands."""
    n = len(block)
    first = -1
    for i in range(n):
        if container[block[i, OWNER], CODE] == H1:
            first = i
            break
    last, since, rank, odds, least = -1, 0, 0, 0, 0
    for i in range(n):
        owner = block[i, OWNER]
        M[i, at] = i - first if first >= 0 else -FAR
        M[i, at + 1] = i - last if last >= 0 else FAR
        M[i, at + 2] = since
        M[i, at + 3] = rank
        M[i, at + 4] = odds
        M[i, at + 5] = least
        M[i, at + 6] = known[block[last, OWNER], ODDS] if last >= 0 else 0
        M[i, at + 7] = known[owner, LEAST] - known[block[last, OWNER], LEAST] if last >= 0 else 0
        since += block[i, BYTES]
        code = container[owner, CODE]
        if H1 <= code <= H6:
            last, since, rank, odds, least = i, 0, code, 0, 0
            for k in range(min(block[i, WORDS], FIRST_WORDS)):
                value = find(keys, values, words[i, k])
                odds += value
                least = min(least, value)
    return at + 8


@part
def prose_homes(block, container, known, M, at):
    """Where the block stands to the smallest containers that hold half, seven and nine tenths of the page's paragraphs."""
    n = len(block)
    total = 0
    for i in range(n):
        if is_prose(block[i, BYTES], block[i, LINKED]):
            total += block[i, BYTES]
    held = np.zeros(len(container), np.int64)
    for i in range(n):
        if is_prose(block[i, BYTES], block[i, LINKED]):
            held[block[i, OWNER]] += block[i, BYTES]
    for c in range(len(container) - 1, 0, -1):
        held[container[c, ABOVE]] += held[c]
    for place, tenths in enumerate((5, 7, 9)):
        best = 0
        for c in range(1, len(container)):
            if 10 * held[c] >= tenths * total and known[c, SIZE] <= known[best, SIZE]:
                best = c
        a, z = container[best, BLOCK0], container[best, BLOCK1]
        for i in range(n):
            M[i, at + place] = 0 if a <= i < z else i - a if i < a else i - z + 1
            M[i, at + 3 + place] = known[best, SHARE]
    return at + 6


@uncounted
def page(block, container, known, M, at):
    """The page as a whole, the same on every block; returns the next column."""
    n = len(block)
    size = linked = paragraphs = stops = long = years = money = links = 0
    for i in range(n):
        b = block[i]
        size += b[BYTES]
        linked += b[LINKED]
        links += b[LINKS]
        years += b[YEARS]
        money += b[MONEY]
        long += b[BYTES] > 150
        if is_prose(b[BYTES], b[LINKED]):
            paragraphs += 1
            stops += b[PUNCT]
    articles = mains = cells = headings = 0
    for c in range(len(container)):
        flags = container[c, FLAGS]
        articles += (flags >> ARTICLE) & 1
        mains += ((flags >> MAIN) | (flags >> MAIN_ROLE)) & 1
        cells += container[c, CODE] == TD
        headings += H1 <= container[c, CODE] <= H6
    row = (
        size, 1000 * linked // max(size, 1), n, stops, paragraphs, articles, mains, long, cells, headings, years, money, links,
        known[0, PICTURES], known[0, CONTROLS], len(container),
    )  # fmt: skip
    for i in range(n):
        for k in range(len(row)):
            M[i, at + k] = row[k]
    return at + 16


COLUMNS = OWN + FLAG_BITS + 7 + 11 * LEVELS + 12 + 34 + 8 + 6 + 16


@kernel(
    ROWS,
    ROWS,
    ROWS,
    reads(np.int64),
    reads(np.int64),
    reads(np.uint64),
    reads(np.uint32, 2),
    reads(np.int64),
    reads(np.uint32),
    reads(np.int16),
    writes(np.int32, 2),
)
def fill_features(block, container, known, odds, alike, text, words, stated, keys, values, M):
    """Fills int32 (blocks, COLUMNS); returns the number of columns filled."""
    at = own(block, text, words, stated, keys, values, M, 0)
    at = chains(block, container, known, M, at)
    at = ancestors(block, container, known, odds, alike, M, at)
    at = around(block, container, known, M, at)
    at = sections(block, container, known, words, keys, values, M, at)
    at = prose_homes(block, container, known, M, at)
    return page(block, container, known, M, at)
