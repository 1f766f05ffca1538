"""Repeated spans of text: the keys of lines, paragraphs and windows of tokens, and the algebra of what is cut out.

An exact substring of `width` tokens that occurs twice is two windows of equal key, and every longer one is a run of such
windows: the union of repeated windows is what a suffix array finds (Lee et al. 2021), but keys can be sorted in ranges of
any size, on any number of workers, where a suffix array wants the whole corpus in memory. Keys are 64-bit hashes of
tokens (`shingles.Kind` word or eojeol), lower-cased letter by letter, without characters that nobody sees; text is read as it lies,
which ingest made NFC.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.text.compiled import int64, kernel, part, reads, writes
from stages.text.minhash import hashing
from stages.text.minhash.shingles import UNSEEN, WORD_BITS
from stages.text.minhash.tokens import mix64

_STEP, _POLY = np.uint64(hashing.STEP), np.uint64(hashing.POLY)
_TAIL, _SIX = np.uint32(0x3F), np.uint32(6)


class Spans(NamedTuple):
    """Keyed spans of some texts."""

    keys: np.ndarray
    """uint64: equal for equal tokens."""
    rows: np.ndarray
    """uint32: row of the text."""
    firsts: np.ndarray
    """uint32: first byte, in the text."""
    lasts: np.ndarray
    """uint32: byte behind the last."""


@kernel(reads(np.uint8), int64, int64, reads(np.uint32), writes(np.uint64), writes(np.uint32), writes(np.uint32))
def _tokens(data, begin, end, classes, hashes, starts, ends):
    """Hash and byte span (in the text) of each token; returns how many."""
    count = 0
    word = np.uint64(0)
    inside = False
    at = begin
    while at <= end:
        here, entry = at, np.uint32(0)
        if at < end:
            point = np.uint32(data[at])
            size = 1 if point < 0x80 else 2 if point < 0xE0 else 3 if point < 0xF0 else 4
            if at + size > end:
                point, size = np.uint32(0xFFFD), 1
            elif size == 2:
                point = ((point & np.uint32(0x1F)) << _SIX) | (np.uint32(data[at + 1]) & _TAIL)
            elif size == 3:
                point = ((point & np.uint32(0x0F)) << np.uint32(12)) | ((np.uint32(data[at + 1]) & _TAIL) << _SIX)
                point |= np.uint32(data[at + 2]) & _TAIL
            elif size == 4:
                point = ((point & np.uint32(0x07)) << np.uint32(18)) | (
                    (np.uint32(data[at + 1]) & _TAIL) << np.uint32(12)
                )
                point |= ((np.uint32(data[at + 2]) & _TAIL) << _SIX) | (np.uint32(data[at + 3]) & _TAIL)
            entry = classes[min(point, np.uint32(classes.size - 1))]
            at += size
        else:
            at += 1
        letter = entry & WORD_BITS
        if letter:
            if not inside:
                starts[count] = here - begin
            word = (word ^ np.uint64(letter)) * _STEP
            inside = True
        elif inside and not entry & UNSEEN:
            hashes[count], ends[count] = mix64(word), here - begin
            count += 1
            word, inside = np.uint64(0), False
    return count


@kernel(
    reads(np.uint64),
    reads(np.uint32),
    int64,
    int64,
    int64,
    int64,
    int64,
    int64,
    writes(np.uint64),
    writes(np.uint32),
    writes(np.uint32),
    writes(np.uint32),
)
def _slide(hashes, starts, count, width, high, size, row, made, keys, owners, firsts, lasts):
    """Every window of `width` of the `count` tokens that begins before byte `high`; returns how many windows there are now."""
    top = np.uint64(1)
    for _ in range(width):
        top *= _POLY
    total = np.uint64(0)
    for index in range(count):
        total = total * _POLY + hashes[index]
        if index >= width:
            total -= hashes[index - width] * top
        if index >= width - 1:
            if starts[index - width + 1] >= high:
                break
            keys[made], owners[made] = mix64(total), row
            firsts[made] = starts[index - width + 1]
            lasts[made] = starts[index + 1] if index + 1 < count else size
            made += 1
    return made


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.int64),
    reads(np.uint32),
    int64,
    writes(np.uint64),
    writes(np.uint32),
    writes(np.uint32),
    writes(np.uint32),
)
def _windows(data, offsets, rows, classes, width, keys, owners, firsts, lasts):
    """Every window of `width` tokens; it ends where the token behind it begins. Returns how many."""
    room = 0
    for row in rows:
        room = max(room, offsets[row + 1] - offsets[row])
    hashes, starts, ends = np.empty(room + 1, np.uint64), np.empty(room + 1, np.uint32), np.empty(room + 1, np.uint32)
    made = 0
    for row in rows:
        size = offsets[row + 1] - offsets[row]
        count = _tokens(data, offsets[row], offsets[row + 1], classes, hashes, starts, ends)
        made = _slide(hashes, starts, count, width, size, size, row, made, keys, owners, firsts, lasts)
    return made


@part
def _letter(data, at, end, classes):
    """(whether the code point at `at` is a letter of a token, whether it is not seen, its bytes)."""
    point = np.uint32(data[at])
    size = 1 if point < 0x80 else 2 if point < 0xE0 else 3 if point < 0xF0 else 4
    if at + size > end:
        return False, False, 1
    if size > 1:
        point &= np.uint32(0xFF >> (size + 1))
        for i in range(1, size):
            point = (point << _SIX) | (np.uint32(data[at + i]) & _TAIL)
    entry = classes[min(point, np.uint32(classes.size - 1))]
    return (entry & WORD_BITS) != 0, (entry & UNSEEN) != 0, size


@kernel(reads(np.uint8), int64, int64, int64, reads(np.uint32))
def _edge(data, begin, at, end, classes):
    """The first byte from `at` on that stands in no token begun before it."""
    while at < end and data[at] & 0xC0 == 0x80:
        at += 1
    back, letter, unseen = at, False, True
    while unseen and back > begin:
        back -= 1
        while back > begin and data[back] & 0xC0 == 0x80:
            back -= 1
        letter, unseen, _ = _letter(data, back, end, classes)
    if not letter:
        return at
    while at < end:
        letter, unseen, size = _letter(data, at, end, classes)
        if not letter and not unseen:
            break
        at += size
    return at


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.int64),
    reads(np.uint32),
    int64,
    int64,
    writes(np.uint64),
    writes(np.uint32),
    writes(np.uint32),
    writes(np.uint32),
)
def _units(data, offsets, rows, classes, breaks, least, keys, owners, firsts, lasts):
    """Every line (breaks 1) or paragraph (breaks 2: a blank line between) of `least` tokens and more. Returns how many."""
    room = 0
    for row in rows:
        room = max(room, offsets[row + 1] - offsets[row])
    hashes, starts, ends = np.empty(room + 1, np.uint64), np.empty(room + 1, np.uint32), np.empty(room + 1, np.uint32)
    made = 0
    for row in rows:
        begin, end = offsets[row], offsets[row + 1]
        count = _tokens(data, begin, end, classes, hashes, starts, ends)
        token, first, at = 0, begin, begin
        while at < end:
            # A unit runs to the byte behind its line breaks, further blank lines included.
            seen = 0
            while at < end and (
                seen < breaks or data[at] == 0x0A or data[at] == 0x20 or data[at] == 0x0D or data[at] == 0x09
            ):
                if data[at] == 0x0A:
                    seen += 1
                elif not (data[at] == 0x20 or data[at] == 0x0D or data[at] == 0x09):
                    seen = 0
                at += 1
            if at < end and seen >= breaks:
                while at > first and data[at - 1] != 0x0A:  # the next unit keeps its indentation
                    at -= 1
            total, size = np.uint64(0), 0
            while token < count and begin + starts[token] < at:
                total = total * _POLY + hashes[token]
                token += 1
                size += 1
            if size >= least:
                keys[made], owners[made] = mix64(total), row
                firsts[made], lasts[made] = first - begin, at - begin
                made += 1
            first = at
    return made


def windows(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, classes: np.ndarray, width: int) -> Spans:
    """Every window of `width` tokens of the texts `rows` (UTF-8 `data`, uint8; int64 `offsets`; `classes`: shingles.table)."""
    return _filled(
        int(((offsets[rows + 1] - offsets[rows] + 1) // 2).sum()), _windows, data, offsets, rows, classes, width
    )


def windows_between(
    data: np.ndarray, offsets: np.ndarray, row: int, classes: np.ndarray, width: int, low: int, high: int
) -> Spans:
    """The windows of text `row` that begin at its bytes `low` to `high - 1`: a long text in pieces that fit into memory."""
    begin, end = int(offsets[row]), int(offsets[row + 1])
    start = _edge(data, begin, begin + low, end, classes)
    ahead = 64 * width
    while True:
        stop = min(end, begin + high + ahead)
        while stop < end and data[stop] & 0xC0 == 0x80:
            stop += 1
        room = max(stop - start, 0) + 1
        hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.uint32), np.empty(room, np.uint32)
        count = _tokens(data, start, stop, classes, hashes, starts, ends) if start < stop else 0
        starts += np.uint32(start - begin)
        if stop == end:
            break
        # The last token may go on behind `stop`; as many whole ones as a window and its end need must begin after `high`.
        count -= 1
        if count > width and starts[count - width - 1] >= high:
            break
        ahead *= 4
    found = Spans(np.empty(count + 1, np.uint64), *(np.empty(count + 1, np.uint32) for _ in range(3)))
    made = _slide(hashes, starts, count, width, high, end - begin, row, 0, *found)
    return Spans(*(column[:made] for column in found))


def merged(keys: np.ndarray, docs: np.ndarray, firsts: np.ndarray, lasts: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same spans (by key, then document, then position), overlapping repeats of a key in one document drawn together.

    The first of each document stays apart: it may be the copy that stays. So a text of one word a million times over is two
    spans and not a million.
    """
    if not len(keys):
        return keys, docs, firsts, lasts
    again = np.r_[False, (keys[1:] == keys[:-1]) & (docs[1:] == docs[:-1])]
    joined = again & np.r_[False, again[:-1]] & np.r_[False, firsts[1:] <= lasts[:-1]]
    heads = np.flatnonzero(~joined)
    return keys[heads], docs[heads], firsts[heads], lasts[np.r_[heads[1:], len(keys)] - 1]


def units(
    data: np.ndarray, offsets: np.ndarray, rows: np.ndarray, classes: np.ndarray, breaks: int, least: int
) -> Spans:
    """Every line (`breaks` 1) or paragraph (2) of at least `least` tokens of the texts `rows`."""
    room = int(((offsets[rows + 1] - offsets[rows]) // (2 * least) + 2).sum())
    return _filled(room, _units, data, offsets, rows, classes, breaks, least)


def _filled(room: int, fill, *given) -> Spans:
    found = Spans(
        np.empty(room, np.uint64), np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty(room, np.uint32)
    )
    made = fill(*given, *found)
    return Spans(*(column[:made] for column in found))


def removed(
    docs: np.ndarray, firsts: np.ndarray, lasts: np.ndarray, stays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(documents, first, last) of what to remove: the union of the spans of a document that go, without what lies in one that
    stays; by document, then position. `docs` is ascending, `stays` bool."""
    known, owner = np.unique(docs, return_inverse=True)
    # Every document has a stretch of 2**32 positions of its own; no span reaches its end.
    base = owner << 32
    firsts, lasts = base + firsts, base + lasts
    edges = np.unique(np.concatenate([firsts, lasts]))
    begins, ends = np.searchsorted(edges, firsts), np.searchsorted(edges, lasts)
    covered = [
        np.cumsum(np.bincount(begins[some], minlength=len(edges)) - np.bincount(ends[some], minlength=len(edges))) > 0
        for some in (~stays, stays)
    ]
    goes = covered[0] & ~covered[1]
    bounds = np.flatnonzero(np.diff(np.r_[False, goes].astype(np.int8))).reshape(-1, 2)
    first, last = edges[bounds[:, 0]], edges[bounds[:, 1]]
    return known[first >> 32], first & 0xFFFFFFFF, last & 0xFFFFFFFF
