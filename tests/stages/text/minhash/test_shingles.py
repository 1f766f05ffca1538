"""The table of code points says what Python says, for every code point."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest

from pipeline.unicode import IGNORED
from stages.text.minhash.shingles import (
    SPACE,
    SUSPECT,
    UNSEEN,
    WORD_BITS,
    Shingling,
    normalised,
    shingles,
    table,
    tokens,
)

POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]


@pytest.mark.parametrize("kind", ["word", "eojeol"])
def test_table_agrees_with_python_on_every_code_point(kind):
    found = table(kind, False)
    pattern = re.compile(r"\w" if kind == "word" else r"[^\s\0]")
    wrong = []
    for point in POINTS:
        char, entry = chr(point), found[point]
        lower = char.lower() if len(char.lower()) == 1 else "i"
        expected = ord(lower) if pattern.match(char) and not entry & UNSEEN else 0
        wrong += [hex(point)] if int(entry & WORD_BITS) != expected or bool(entry & SPACE) != char.isspace() else []
    assert wrong == []
    assert [point for point in POINTS if found[point] & UNSEEN] == [
        point for low, high in IGNORED for point in range(low, high + 1)
    ]


def test_every_character_that_may_change_in_context_is_suspect():
    found = table("word", False)
    loose = [hex(p) for p in POINTS if not found[p] & SUSPECT and not unicodedata.is_normalized("NFC", chr(p))]
    composed = (unicodedata.decomposition(chr(p)).split() for p in POINTS)
    second = {int(parts[1], 16) for parts in composed if len(parts) == 2 and parts[0][0] != "<"}
    assert loose == []
    assert [hex(p) for p in second if not found[p] & SUSPECT] == []
    assert [hex(p) for p in POINTS if unicodedata.combining(chr(p)) and not found[p] & SUSPECT] == []
    assert not (found[0xAC00:0xD7A4] & SUSPECT).any(), "composed Hangul is the fast path"


def test_folded_digits_read_as_zero():
    assert tokens("Chapter 12, ٣ and 2026년", Shingling("word", 5, True)) == ["chapter", "00", "0", "and", "0000년"]
    assert table("word", True)[ord("7")] == ord("0") and table("word", True)[0x663] == ord("0")


def test_hangul_stays_composed():
    decomposed = unicodedata.normalize("NFD", "한글 문서")
    assert tokens(decomposed) == ["한글", "문서"]


def test_a_short_text_is_one_shingle_and_an_empty_one_none():
    assert shingles("Two words") == [b"two words"]
    assert shingles("...") == [] == shingles("")
    assert shingles("a b a b a b", Shingling("word", 2)) == [b"a b", b"b a"]
    assert shingles("ab, c", Shingling("char", 3)) == [b"ab ", b"b c"]


@pytest.mark.parametrize("text", ["ΟΔΟΣ ΣΑΣ Σ", "İstanbul", "İΣ", "ΑΣ́ b", "straße ẞ"])
def test_normalised_text_lowers_letter_by_letter_as_the_whole_does(text):
    assert "".join(c.lower() for c in normalised(text)) == unicodedata.normalize("NFC", text).lower()


def test_table_is_shared_and_read_only():
    assert table("word", False) is table("word", False)
    with pytest.raises(ValueError, match="read-only"):
        table("word", False)[0] = np.uint32(1)
