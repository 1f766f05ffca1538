"""What a shingle is: how a text becomes tokens and tokens become shingles, and the table of code points kernels read.

The text is taken in the form in which texts are compared (`pipeline.unicode.compared`: NFC, so that Hangul stays composed, without
characters that nobody sees) and lower-cased the way `str.lower` does it. Tokens are

    word     runs of `\\w` (Python's `re`: letters, digits, underscore of any script)
    eojeol   runs between white space (and NUL), punctuation kept
    char     every character of the words, one blank between two words

and a shingle is `width` tokens in a row; a text of fewer tokens has one shingle, all of its tokens. With `fold_digits`
every decimal digit reads as 0. The functions here say this in plain Python; `stages/text/minhash/signatures.py` does it on buffers.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from pipeline.unicode import IGNORED, compared

Kind = Literal["word", "eojeol", "char"]

WORD_BITS = np.uint32(0x1FFFFF)
"""Lower 21 bits of a table entry: the code point a character reads as inside a token; 0 where it separates tokens."""
SPACE = np.uint32(1 << 30)
"""The character is white space: the exact level reads runs of it as one blank."""
SUSPECT = np.uint32(1 << 31)
"""The character alone does not tell its form in NFC or lower case, or is not seen: the text goes through `normalised` first."""
UNSEEN = np.uint32(1 << 29)
"""Nobody sees the character: where texts are read as they lie, it is no letter and parts no token."""

CODE_POINTS = 0x110000
LAST_LETTER = 0x33480
"""Beyond the last block of ideographs there are no letters, digits or spaces, only marks, tags and private use."""
DOTTED_CAPITAL_I, CAPITAL_SIGMA = 0x130, 0x3A3
WITH_MARKS = (
    (0x300, 0x33FF), (0x4DC0, 0x4DFF), (0xA490, 0xABFF), (0xF900, 0xFFFF), (0x10000, 0x16FFF), (0x1AFF0, 0x1FFFF),
    (0x2F800, 0x2FA1F), (0xE0100, 0xE01EF),
)  # fmt: skip
"""Where marks and decomposable characters may stand: every block but ideographs, syllables and private use."""


class Shingling(NamedTuple):
    """How texts are cut: kind of token, tokens a shingle (5 words is the field's usual choice), digits folded or kept."""

    kind: Kind = "word"
    width: int = 5
    fold_digits: bool = False

    @classmethod
    def parse(cls, words: str, width: int = 5, fold_digits: bool = False) -> Shingling:
        """`eojeol`, or with a width of its own `char:24`; ValueError says what a shingle can be."""
        kind, _, own = words.partition(":")
        if kind not in ("word", "eojeol", "char") or (own and not (own.isdecimal() and 1 <= int(own) <= 64)):
            raise ValueError(
                f"{words!r} is no shingle: write word, eojeol or char, and a width from 1 to 64 such as char:24"
            )
        return cls(kind, int(own or width), fold_digits)  # type: ignore[arg-type]


def normalised(text: str) -> str:
    """The form compared, with the two letters whose lower case depends on their neighbours written out; case is kept otherwise."""
    text = compared(text).replace("\u0130", "i\u0307")
    if "\u03a3" not in text:
        return text
    lower = text.lower()
    return "".join(low if char == "\u03a3" else char for char, low in zip(text, lower))


def tokens(text: str, how: Shingling = Shingling()) -> list[str]:
    """The tokens of `text`; the specification of what the kernels hash."""
    text = compared(text).lower()
    if how.fold_digits:
        text = "".join("0" if char.isdecimal() else char for char in text)
    if how.kind == "eojeol":
        return text.replace("\0", " ").split()
    words = re.findall(r"\w+", text)
    return words if how.kind == "word" else list(" ".join(words))


def shingles(text: str, how: Shingling = Shingling()) -> list[bytes]:
    """The distinct shingles of `text` as UTF-8, in order of first appearance; none for a text without tokens."""
    found = tokens(text, how)
    joint = "" if how.kind == "char" else " "
    if 0 < len(found) < how.width:
        return [joint.join(found).encode()]
    windows = (found[at : at + how.width] for at in range(len(found) - how.width + 1))
    return list(dict.fromkeys(joint.join(window).encode() for window in windows))


@cache
def table(kind: Kind, fold_digits: bool) -> np.ndarray:
    """What each code point means to a tokeniser: uint32[0x110000], see WORD_BITS, SPACE, SUSPECT and UNSEEN. Read-only."""
    points = np.arange(LAST_LETTER, dtype="<u4")
    points[0xD800:0xE000] = ord(" ")
    every = points.tobytes().decode("utf-32-le")
    plain = every.replace("\u0130", "i").replace("\u03a3", "\u03c3")
    lower = np.frombuffer(plain.lower().encode("utf-32-le"), np.uint32)
    spaces = _covered(r"\s+", every)
    found = np.zeros(CODE_POINTS, np.uint32)
    head = found[:LAST_LETTER]
    head[:] = np.where(spaces if kind == "eojeol" else _covered(r"\W+", every), 0, lower)
    if kind == "eojeol":
        found[LAST_LETTER:] = np.arange(LAST_LETTER, CODE_POINTS)
    if fold_digits:
        head[_covered(r"\d+", every)] = ord("0")
    head[spaces] |= SPACE
    found[0xD800:0xE000] = 0
    found[_suspects()] |= SUSPECT
    for first, last in IGNORED:
        found[first : last + 1] = (found[first : last + 1] & ~WORD_BITS) | SUSPECT | UNSEEN
    found.flags.writeable = False
    return found


def _covered(pattern: str, text: str) -> np.ndarray:
    mask = np.zeros(len(text), bool)
    for match in re.finditer(pattern, text):
        mask[match.start() : match.end()] = True
    return mask


def _suspects() -> list[int]:
    """Code points that can change under NFC, or compose with what stands before them, or whose case has a context.

    What composes backwards is a mark (category M) or a conjoining jamo vowel or final.
    """
    found = [DOTTED_CAPITAL_I, CAPITAL_SIGMA, *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]
    for first, last in WITH_MARKS:
        for point in range(first, last + 1):
            char = chr(point)
            if unicodedata.category(char)[0] == "M" or not unicodedata.is_normalized("NFC", char):
                found.append(point)
    return found
