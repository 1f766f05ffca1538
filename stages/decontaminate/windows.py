"""Overlapping windows of normalised text as hashes: the unit in which quotations are found again.

Text is lower-cased and only its letters and digits count, so that case, punctuation and spacing do not matter. A window is
the shortest run of them that weighs `WEIGHT`: a Hangul syllable or Han character weighs three (it says about as much as
three Latin letters), anything else one. That is 24 letters or 8 syllables, about five words in either language.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from pipeline.unicode import IGNORED
from stages.text.characters import ALNUM, CJK, CODE_POINTS, HANGUL, classes

WEIGHT = 24
HEAVY = 3
LAST_CASED = 0x2_0000
"""No letter from here on has a case (Unicode 16): ideographs, tags, private use."""


@cache
def normal() -> np.ndarray:
    """What each code point counts as: its lower case (full-width forms as ASCII), 0 where it does not count. uint32."""
    points = np.arange(CODE_POINTS, dtype=np.uint32)
    points[0xD800:0xE000] = 0
    table = points.copy()
    cased = points[:LAST_CASED]
    table[:LAST_CASED] = np.strings.lower(cased.view("U1")).astype("U1").view(np.uint32)
    table[0xFF10:0xFF1A] = points[0x30:0x3A]
    table[0xFF21:0xFF3B] = points[0x61:0x7B]
    table[0xFF41:0xFF5B] = points[0x61:0x7B]
    table[(classes() & ALNUM) == 0] = 0
    for first, last in IGNORED:
        table[first : last + 1] = 0
    table.flags.writeable = False
    return table


@cache
def weights() -> np.ndarray:
    """Weight per code point (uint8): 3 for Hangul and Han, 1 for the rest."""
    table = np.where((classes() & (HANGUL | CJK)) != 0, HEAVY, 1).astype(np.uint8)
    table.flags.writeable = False
    return table


def normalised(text: str) -> str:
    """What windows are made of, in plain Python: for short strings and as the kernel's reference."""
    table = normal()
    return "".join(chr(table[ord(char)]) for char in text if table[ord(char)])


def marks(text: str) -> np.ndarray:
    """`normalised(text)` as code points (uint32)."""
    points = normal()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]
    return points[points > 0]


class Location(NamedTuple):
    """Where something stands in a text, and how much of it does (0 to 1); code points."""

    share: float
    start: int
    end: int


def locate(wanted: np.ndarray, text: str) -> Location:
    """The stretch of `text` most like `wanted` (from `marks`): 1 - edit distance / length."""
    from stages.decontaminate.align import best_stretch

    points = normal()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]
    counted = np.flatnonzero(points)
    edits, start, end = best_stretch(wanted, points[counted])
    if not len(wanted) or end <= start:
        return Location(0.0, 0, 0)
    return Location(1.0 - edits / len(wanted), int(counted[start]), int(counted[end - 1]) + 1)


def weight(text: str) -> int:
    """Weight of a text's letters and digits."""
    return int(weights()[marks(text)].sum())


def all_windows(
    data: np.ndarray, offsets: np.ndarray, size: int = WEIGHT
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every window of every text: (text, first counted character, counted characters in it, hash); and none for light texts."""
    from stages.decontaminate.windowscan import window_hashes

    room = int(offsets[-1] - offsets[0])
    owner, first, length = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    hashes = np.empty(room, np.uint64)
    n = window_hashes(data, offsets, normal(), weights(), size, owner, first, length, hashes)
    return owner[:n], first[:n], length[:n], hashes[:n]
