"""Kernels of `korean.py`: emoticon runs, broken decoding, spacing of eojeol."""

from __future__ import annotations

import numpy as np

from stages.text.characters import HANGUL, JAMO, PUNCT, SPACE
from stages.text.compiled import int64, kernel, part, reads, writes
from stages.text.utf8 import point

COMPATIBILITY_JAMO = (0x3131, 0x318E)


@part
def _is_repeated(char, kind):
    """May `char` be collapsed when it stands many times in a row: loose jamo, and marks of laughter and stress."""
    return (kind & JAMO and 0x3131 <= char <= 0x318E) or char in (0x7E, 0x5E, 0x21, 0x3F, 0x2661, 0x2665, 0x3B)


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint16),
    int64,
    writes(np.int64, 2),
    writes(np.int64),
    int64,
    writes(np.int64),
)
def runs(data, offsets, classes, keep, spans, owners, room, totals):
    """Find runs of one jamo or mark longer than `keep`: `spans` (code points beyond the first `keep`), `owners` (text).

    Returns how many were found; only the first `room` are written. `totals[i]`: code points in runs of text i.
    """
    found = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        position = run = 0
        last = -1
        while True:
            char = -1
            if at < end:
                char, at = point(data, at, end)
            if char != last:
                if run > keep and _is_repeated(last, classes[last]):
                    if found < room:
                        spans[found, 0], spans[found, 1] = position - run + keep, position
                        owners[found] = row
                    found += 1
                    totals[row] += run
                run = 0
                last = char
            if char < 0:
                break
            run += 1
            position += 1
    return found


@part
def _follows(char):
    """Could `char` be a UTF-8 continuation byte read as Latin-1 or Windows-1252?"""
    return (
        0x80 <= char <= 0xBF
        or char
        in (0x20AC, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x017D)
        or char
        in (
            0x2018,
            0x2019,
            0x201C,
            0x201D,
            0x2022,
            0x2013,
            0x2014,
            0x02DC,
            0x2122,
            0x0161,
            0x203A,
            0x0153,
            0x017E,
            0x0178,
        )
    )


@kernel(reads(np.uint8), reads(np.int64), writes(np.int64))
def mojibake(data, offsets, out):
    """`out[i]`: code points of text i that look like another encoding's bytes read wrong.

    UTF-8 read as Windows-1252 (a lead and its continuations), CP949 read as Latin-1 (four and more letters of the upper
    half in a row), and 占쏙옙, U+FFFD's own bytes read as CP949.
    """
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        need = got = upper = 0
        first = second = -1
        while at < end:
            char, at = point(data, at, end)
            if need and _follows(char):
                got += 1
                if got == need:
                    out[row] += need + 1
                    need = 0
            elif 0xC2 <= char <= 0xF4:
                need = 1 if char < 0xE0 else 2 if char < 0xF0 else 3
                need = need if char in (0xC2, 0xC3) or char >= 0xE0 else 0
                got = 0
            else:
                need = 0
            if 0xA1 <= char <= 0xFE:
                upper += 1
            else:
                if upper >= 4:
                    out[row] += upper
                upper = 0
            if first == 0x5360 and second == 0xC3D9 and char == 0xC619:
                out[row] += 3
            first, second = second, char
        if upper >= 4:
            out[row] += upper


@kernel(reads(np.uint8), reads(np.int64), reads(np.uint16), int64, writes(np.int64, 2))
def eojeol(data, offsets, classes, long_run, counts):
    """Per text: words with Hangul, those of a single syllable, Hangul code points, those in runs of more than `long_run`.

    A word's punctuation is not counted; a run is Hangul without a blank, mark or other letter between.
    """
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        syllables = others = run = 0
        while True:
            kind = SPACE
            if at < end:
                char, at = point(data, at, end)
                kind = classes[char]
            if kind & HANGUL and not kind & JAMO:
                syllables += 1
                run += 1
                if at < end:
                    continue
                kind = SPACE
            counts[row, 2] += run
            if run > long_run:
                counts[row, 3] += run
            run = 0
            if kind & SPACE:
                if syllables:
                    counts[row, 0] += 1
                    counts[row, 1] += syllables == 1 and others == 0
                syllables = others = 0
                if at >= end:
                    break
            elif not kind & PUNCT:
                others += 1
