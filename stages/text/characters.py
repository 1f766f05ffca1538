"""Classes of every Unicode code point, as one table of bit flags that kernels index.

The flags follow what Python's own string methods say (`isspace`, `isalpha`, `isdecimal`, `isupper`, `splitlines`), so
that a kernel over UTF-8 bytes and a plain-Python reference decide alike. The table is made once per process, vectorised.
"""

from __future__ import annotations

from functools import cache

import numpy as np

SPACE = 1
"""`str.isspace`: what `str.split()` splits at."""
BREAK = 2
"""What `str.splitlines` ends a line at."""
PUNCT = 4
"""Punctuation for "is this word only symbols": the list of CCNet's normaliser and the sentence terminals."""
ALPHA = 8
"""`str.isalpha`."""
TERMINAL = 16
"""Ends a sentence: Unicode 15 Sentence_Terminal and three Khmer signs; FineWeb's line-end test."""
HANGUL = 32
"""Hangul in any form: syllables and every block of jamo."""
JAMO = 64
"""Hangul letters that are not syllables: conjoining, compatibility and half-width jamo."""
LATIN = 128
"""Letters of the Latin script."""
DIGIT = 256
"""`str.isdecimal`: Unicode category Nd."""
UPPER = 512
"""`str.isupper`."""
CJK = 1024
"""Han ideographs and Japanese kana."""
SUSPECT = 2048
"""Signs of broken decoding: replacement character, C1 controls, private use, non-characters."""
CONTROL = 4096
"""C0 controls other than tab, line feed and carriage return; DEL; zero-width and bidirectional controls."""
ALNUM = 8192
"""`str.isalnum`."""
CLOSER = 16384
"""Quotes and brackets that may follow a sentence's last mark."""
OTHER_LETTER = 32768
"""A letter of none of the scripts above (Cyrillic, Arabic, Thai, ...)."""

CODE_POINTS = 0x110000
REPLACEMENT = 0xFFFD

_BREAKS = (0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029)

# The set CCNet's text normaliser strips and datatrove tests words with; kept as it is (full-width digit one included),
# because a word's being "only symbols" decides the published word counts.
_PUNCTUATION = (
    (0x00, 0x08), (0x0B, 0x1F), (0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x9F), (0xAB, 0xAB), (0xB4, 0xB4),
    (0xBB, 0xBB), (0x2013, 0x2014), (0x2019, 0x2019), (0x201C, 0x201E), (0x2026, 0x2026), (0x2236, 0x2236),
    (0x2501, 0x2501), (0x25BA, 0x25BA), (0x3001, 0x3002), (0x3008, 0x300D), (0x3010, 0x3011), (0xFF01, 0xFF01),
    (0xFF05, 0xFF05), (0xFF08, 0xFF09), (0xFF0C, 0xFF0C), (0xFF0E, 0xFF0E), (0xFF11, 0xFF11), (0xFF1A, 0xFF1B),
    (0xFF1F, 0xFF1F), (0xFF5E, 0xFF5E),
)  # fmt: skip

# Unicode 15 PropList, Sentence_Terminal, without what datatrove's list lacks, and with U+17D6, U+17D9, U+17DA.
_TERMINALS = (
    (0x21, 0x21), (0x2E, 0x2E), (0x3F, 0x3F), (0x589, 0x589), (0x61D, 0x61F), (0x6D4, 0x6D4), (0x700, 0x702),
    (0x7F9, 0x7F9), (0x837, 0x837), (0x839, 0x839), (0x83D, 0x83E), (0x964, 0x965), (0x104A, 0x104B),
    (0x1362, 0x1362), (0x1367, 0x1368), (0x166E, 0x166E), (0x1735, 0x1736), (0x17D4, 0x17D6), (0x17D9, 0x17DA),
    (0x1803, 0x1803), (0x1809, 0x1809), (0x1944, 0x1945), (0x1AA8, 0x1AAB), (0x1B5A, 0x1B5B), (0x1B5E, 0x1B5F),
    (0x1B7D, 0x1B7E), (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x203C, 0x203D), (0x2047, 0x2049), (0x2E2E, 0x2E2E),
    (0x2E3C, 0x2E3C), (0x2E53, 0x2E54), (0x3002, 0x3002), (0xA4FF, 0xA4FF), (0xA60E, 0xA60F), (0xA6F3, 0xA6F3),
    (0xA6F7, 0xA6F7), (0xA876, 0xA877), (0xA8CE, 0xA8CF), (0xA92F, 0xA92F), (0xA9C8, 0xA9C9), (0xAA5D, 0xAA5F),
    (0xAAF0, 0xAAF1), (0xABEB, 0xABEB), (0xFE52, 0xFE52), (0xFE56, 0xFE57), (0xFF01, 0xFF01), (0xFF0E, 0xFF0E),
    (0xFF1F, 0xFF1F), (0xFF61, 0xFF61), (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89),
    (0x11047, 0x11048), (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD),
    (0x111DE, 0x111DF), (0x11238, 0x11239), (0x1123B, 0x1123C), (0x112A9, 0x112A9), (0x1144B, 0x1144C),
    (0x115C2, 0x115C3), (0x115C9, 0x115D7), (0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944),
    (0x11946, 0x11946), (0x11A42, 0x11A43), (0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8),
    (0x11F43, 0x11F44), (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5), (0x16B37, 0x16B38), (0x16B44, 0x16B44),
    (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F), (0x1DA88, 0x1DA88),
)  # fmt: skip

_JAMO = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xD7B0, 0xD7FB), (0xFFA0, 0xFFDC))
_SYLLABLES = ((0xAC00, 0xD7A3),)
_LATIN = (
    (0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2B8),
    (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA722, 0xA7FF), (0xAB30, 0xAB64), (0xFB00, 0xFB06), (0xFF21, 0xFF3A),
    (0xFF41, 0xFF5A),
)  # fmt: skip
_CJK = (
    (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
    (0x20000, 0x323AF),
)  # fmt: skip
_SUSPECT = (
    (0x80, 0x84),
    (0x86, 0x9F),
    (0xE000, 0xF8FF),
    (0xFDD0, 0xFDEF),
    (0xFFF9, 0xFFFD),
    (0xFFFE, 0xFFFF),
    (0xF0000, 0x10FFFF),
)
_CONTROL = (
    (0x00, 0x08), (0x0B, 0x0C), (0x0E, 0x1F), (0x7F, 0x7F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2069),
    (0xFEFF, 0xFEFF),
)  # fmt: skip
_CLOSERS = "\"')]}»”’›」』】》〉）］｝＂＇"


def _mark(table: np.ndarray, ranges: tuple[tuple[int, int], ...], flag: int) -> None:
    for first, last in ranges:
        table[first : last + 1] |= np.uint16(flag)


@cache
def classes() -> np.ndarray:
    """Flags per code point: uint16, length 0x110000, read-only."""
    table = np.zeros(CODE_POINTS, np.uint16)
    letters = np.arange(CODE_POINTS, dtype=np.uint32)
    letters[0xD800:0xE000] = 0  # surrogates are no characters: they read as NUL and are marked suspect below
    characters = letters.view("U1")
    for test, flag in (
        (np.strings.isspace, SPACE),
        (np.strings.isalpha, ALPHA),
        (np.strings.isdecimal, DIGIT),
        (np.strings.isupper, UPPER),
        (np.strings.isalnum, ALNUM),
    ):
        table |= test(characters).astype(np.uint16) * np.uint16(flag)
    _mark(table, tuple((point, point) for point in _BREAKS), BREAK)
    _mark(table, _PUNCTUATION, PUNCT)
    _mark(table, _TERMINALS, PUNCT | TERMINAL)
    _mark(table, _JAMO, HANGUL | JAMO)
    _mark(table, _SYLLABLES, HANGUL)
    _mark(table, _LATIN, LATIN)
    _mark(table, _CJK, CJK)
    _mark(table, _SUSPECT, SUSPECT)
    _mark(table, ((0xD800, 0xDFFF),), SUSPECT)
    _mark(table, _CONTROL, CONTROL)
    _mark(table, tuple((ord(c), ord(c)) for c in _CLOSERS), CLOSER)
    scripts = (table & (HANGUL | LATIN | CJK)) != 0
    table[((table & ALPHA) != 0) & ~scripts] |= np.uint16(OTHER_LETTER)
    table.flags.writeable = False
    return table
