"""Unicode forms in time linear in the text, and the form in which texts are compared.

`unicodedata.normalize` sorts a run of marks by insertion: 80,000 pairs of two marks out of order take it 13 seconds, twice as many
four times as long. UAX 15 (Stream-Safe Text Format) answers with a cut: no run of more than 30 marks, a combining grapheme joiner
(U+034F, which no renderer shows) where there would be one.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Literal

import numpy as np

MARKS = 30
"""Marks in a row, after decomposition, before a joiner parts them (UAX 15, D3)."""
JOINER = "\u034f"
_LAST_MARK = 0x1E94A
"""No mark stands behind it but variation selectors, which are none of those counted."""

IGNORED = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Default_Ignorable_Code_Point (Unicode 15, DerivedCoreProperties): soft hyphens, joiners, zero-width and directional marks, variation
selectors, fillers and tags, none of which is seen. Some carry meaning (Persian, Indic scripts, emoji): they are left out where texts
are compared, never of a text."""
_ODD_BLANK = re.compile("[\x1c-\x1f]")
"""White space of ASCII in strings that is none in bytes."""
_IGNORED = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in IGNORED) + "]+")


@cache
def _long_runs() -> re.Pattern[str]:
    """Runs of marks that may have to be cut: a mark is up to two, and the character before them brings up to three."""
    marks = [
        point
        for point in range(0x300, _LAST_MARK + 1)
        if unicodedata.combining(char := chr(point)) or unicodedata.decomposition(char) and _opening_marks(char)
    ]
    ranges: list[list[int]] = []
    for point in marks:
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    mark = "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges) + "]"
    return re.compile(f"{mark}{mark}{{{MARKS // 2 - 3},}}")  # a mark alone first: the search skips to it


def _opening_marks(char: str) -> int:
    """Marks that the decomposed character begins with."""
    count = 0
    for piece in unicodedata.normalize("NFKD", char):
        if not unicodedata.combining(piece):
            break
        count += 1
    return count


def _closing_marks(char: str) -> int:
    return _opening_marks(unicodedata.normalize("NFKD", char)[::-1])


def stream_safe(text: str) -> str:
    """The text with U+034F wherever more than 30 marks would follow each other (UAX 15, D4); others as they are."""
    if text.isascii():
        return text

    def cut(run: re.Match[str]) -> str:
        before = run.string[run.start() - 1 : run.start()]
        count = _closing_marks(before) if before else 0
        pieces = []
        for mark in run.group():
            size = _opening_marks(mark)
            if count + size > MARKS:
                pieces.append(JOINER)
                count = 0
            pieces.append(mark)
            count += size
        return "".join(pieces)

    return _long_runs().sub(cut, text)


def normalised(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """`unicodedata.normalize`, and of the stream-safe text where it has something to do: linear, and its result is its own."""
    if text.isascii() or unicodedata.is_normalized(form, text):  # linear: marks out of order end it
        return text
    return unicodedata.normalize(form, stream_safe(text))


_LONG = 128
"""Characters from which on a text's are looked up by numpy, in a fifth of the time."""


_FOLD = bytes(range(256)).lower().translate(bytes.maketrans(b"\t\n\r\v\f", b"     "))
"""Letters of ASCII as small ones, its white space as blanks."""


@cache
def _unlike() -> np.ndarray:
    """Per unit of UTF-16 (bool, 65,536): does a text with it differ from its words in more than case and blanks of ASCII?

    True of what nobody sees, of what folds to something else, of other white space, and of what begins a pair of surrogates, but for
    emoji: of all whose kind one unit does not tell.
    """
    found = np.zeros(1 << 16, np.bool_)
    for point in (*range(0x1C, 0x20), *range(0x80, 0x3400), *range(0xA000, 0xAC00), *range(0xD7A4, 1 << 16)):
        char = chr(point)  # between them are ideographs and Hangul syllables
        found[point] = char.isspace() or char.casefold() != char
    found[0xD800:0xDC00] = True
    found[0xD83C:0xD83F] = False  # U+1F000 to U+1FBFF: emoji and other signs
    for first, last in IGNORED:
        found[first : last + 1] = True
    return found


_PLAIN = re.compile("[\t-\r -~\u3131-\u3163\u3165-\u318e\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]*")
"""A text of ASCII, Hangul and ideographs: in NFC whatever follows what, all of it seen, and with no case but ASCII's."""


def folded(text: str) -> bytes:
    """UTF-8 of a text's words in the form of `compared`, case-folded, with one blank between them."""
    if len(text) < _LONG:
        plain = _PLAIN.fullmatch(text) is not None
    else:
        text = text.replace("\xa0", " ")  # white space that is common in pages
        if text.isascii():
            plain = not _ODD_BLANK.search(text)
        else:
            units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
            plain = not _unlike()[units].any() and unicodedata.is_normalized("NFC", text)
    if plain:
        data = text.encode("utf-8", "surrogatepass").translate(_FOLD)
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        return data.strip(b" ")
    return " ".join(compared(text).casefold().split()).encode("utf-8", "surrogatepass")


def compared(text: str) -> str:
    """The form in which texts are compared: NFC, without characters that nobody sees. Case and white space stay."""
    if text.isascii():
        return text
    return normalised("NFC", _IGNORED.sub("", text) if _may_hold_ignored(text) else text)


_MANY = 512
"""Characters from which a text is looked through by numpy before the pattern, which takes eight times as long a character."""


def _may_hold_ignored(text: str) -> bool:
    if len(text) < _MANY:
        return True
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return bool(_ignored_table().take(points, mode="clip").any())


@cache
def _ignored_table() -> np.ndarray:
    """Booleans by code point, up to one past the last that is ignored."""
    table = np.zeros(IGNORED[-1][1] + 2, np.bool_)
    for first, last in IGNORED:
        table[first : last + 1] = True
    return table
