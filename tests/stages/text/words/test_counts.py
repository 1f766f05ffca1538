"""The one walk over the bytes against the obvious Python it replaces."""

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.docs import Docs
from stages.text.characters import PUNCT, TERMINAL, classes
from stages.text.words.counts import Read, read, repeats
from stages.text.words.walk import COUNTS

ODD = st.text(st.sampled_from("ab.#-•·▪①*–…\n\n\n \r\t\x1c\u2028한ㅋ，😀?!"), max_size=60)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORDS = st.lists(st.sampled_from(["a", "bb", "c", "dd", "하나"]), max_size=60).map(" ".join)


def docs_of(texts: list[str]) -> Docs:
    return Docs(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


def has(char: str, flag: int) -> bool:
    return bool(classes()[ord(char)] & flag)


def repeated(pieces: list[str]) -> tuple[int, int]:
    met, count, chars = set(), 0, 0
    for piece in pieces:
        count, chars = (count + 1, chars + len(piece)) if piece in met else (count, chars)
        met.add(piece)
    return count, chars


def is_item(line: str) -> bool:
    return line[:1] in tuple("-•·▪①") or line[:1] in tuple("*–") and line[1:2].isspace()


def slow(text: str, short: int) -> dict[str, int]:
    words, lines = text.split(), text.splitlines()
    plain = [w for w in words if not all(has(c, PUNCT) for c in w)]
    pieces = re.split(r"\n+", text) if text else []
    paragraphs = re.split(r"\n{2,}", text.strip())
    full = [line for line in text.split("\n") if line.strip()]
    return {
        "chars": len(text),
        "words": len(words),
        "plain": len(plain),
        "plain_chars": sum(map(len, plain)),
        "alpha": sum(any(c.isalpha() for c in w) for w in words),
        "sharps": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "longest": max(map(len, words), default=0),
        "lines": len(lines),
        "bullets": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "trailing": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "pieces": len(pieces),
        "repeated_pieces": repeated(pieces)[0],
        "repeated_piece_chars": repeated(pieces)[1],
        "paragraphs": len(paragraphs),
        "repeated_paragraphs": repeated(paragraphs)[0],
        "repeated_paragraph_chars": repeated(paragraphs)[1],
        "full_lines": len(full),
        "ended": sum(has(line[-1], TERMINAL) for line in full),
        "short": sum(len(line) <= short for line in full),
        "repeated_full_chars": repeated(full)[1],
        "newlines": text.count("\n"),
        "items": sum(is_item(line.lstrip()) for line in lines),
    }


@settings(deadline=None, max_examples=150)
@given(st.lists(ODD | ANY, min_size=1, max_size=6), st.integers(0, 40))
@example(["–\x1c"], 0)
def test_counts_are_those_of_plain_python(texts, short):
    reading = Read(short)(docs_of(texts))
    for row, text in enumerate(texts):
        assert dict(zip(COUNTS, reading.counts[row].tolist())) == slow(text, short)


def slow_top(words: list[str], n: int) -> int:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, times = Counter(grams).most_common(1)[0]
    return times * (sum(map(len, gram)) + n - 1)


def slow_repeated(words: list[str], n: int) -> int:
    met, at, chars = set(), 0, 0
    while at < len(words) - n + 1:
        gram = tuple(words[at : at + n])
        if gram in met:
            chars, at = chars + sum(map(len, gram)), at + n
        else:
            met.add(gram)
            at += 1
    return chars


@settings(deadline=None, max_examples=150)
@given(st.lists(WORDS, min_size=1, max_size=5))
def test_repeated_ngrams_are_those_of_plain_python(texts):
    found = docs_of(texts).cached(repeats)
    for row, text in enumerate(texts):
        words = text.split()
        assert found.top[row].tolist() == [slow_top(words, n) for n in (2, 3, 4)]
        assert found.dup[row].tolist() == [slow_repeated(words, n) for n in range(5, 11)]


def test_flags_are_those_of_str():
    from stages.text import characters as c

    table = classes()
    points = [p for p in range(0, 0x110000, 7) if not 0xD800 <= p < 0xE000] + [*range(0x3000), *range(0xFF00, 0xFFF0)]
    for flag, test in (
        (c.SPACE, str.isspace),
        (c.ALPHA, str.isalpha),
        (c.DIGIT, str.isdecimal),
        (c.UPPER, str.isupper),
        (c.ALNUM, str.isalnum),
    ):
        assert not [p for p in points if test(chr(p)) != bool(table[p] & flag)]
    assert not [p for p in points if (len(f"a{chr(p)}b".splitlines()) > 1) != bool(table[p] & c.BREAK)]


def test_words_beyond_the_limit_are_counted_but_not_kept(monkeypatch):
    from stages.text.words import walk as onepass

    monkeypatch.setattr(onepass, "MAX_TOKENS", 5)
    reading = read(docs_of(["a b c d e f g", "h i"]))
    assert reading.words.tolist() == [7, 2] and np.diff(reading.bounds).tolist() == [5, 2]


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe", b"\xed\xa0\x80", b"ok \xe3\x81", b"\xf0\x9f", b"\xc3", b"\x80abc", b"\xf8\x88\x80\x80\x80"]
)
def test_bytes_that_are_no_utf8_never_stop_the_kernel(raw):
    from stages.text.encoding import valid_rows

    array = pa.array([b"good", raw], pa.large_binary())
    text = pa.LargeStringArray.from_buffers(2, array.buffers()[1], array.buffers()[2])
    assert valid_rows(text).tolist() == [True, False]
    assert read(Docs(pa.record_batch({"text": text}))).words[0] == 1


def test_a_slice_of_a_batch_reads_its_own_rows():
    batch = pa.record_batch({"text": pa.array(["one", "two words", "three more words"], pa.large_string())})
    assert read(Docs(batch.slice(1, 2))).words.tolist() == [2, 3]


@pytest.mark.parametrize("between", ["\n", "\n\n", "\n\n \n\n"])
def test_tables_grow_with_lines_and_paragraphs(between):
    text = between.join(str(n % 3000) for n in range(8000))
    reading = read(docs_of([text, "after", text]))
    assert (
        dict(zip(COUNTS, reading.counts[0].tolist())) == slow(text, 30) == dict(zip(COUNTS, reading.counts[2].tolist()))
    )
