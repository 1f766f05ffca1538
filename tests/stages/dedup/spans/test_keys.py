"""Windows and units against plain Python, and the algebra of cuts against sets of positions."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.spans import keys as spans
from stages.text.minhash.shingles import table

TEXTS = st.lists(st.text(st.sampled_from("ab 가.\n\té"), max_size=60), min_size=1, max_size=5)


def buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pieces = [text.encode() for text in texts]
    return (
        np.frombuffer(b"".join(pieces), np.uint8),
        np.cumsum([0, *map(len, pieces)]).astype(np.int64),
        np.arange(len(texts)),
    )


def grouped(found: spans.Spans, texts: list[str]) -> dict[int, set[tuple[int, int, int]]]:
    groups: dict[int, set[tuple[int, int, int]]] = {}
    for key, row, first, last in zip(*(column.tolist() for column in found)):
        groups.setdefault(key, set()).add((row, first, last))
    return groups


def same(found: dict, expected: dict) -> bool:
    """Equal groups, whatever their keys."""
    return sorted(map(sorted, found.values())) == sorted(map(sorted, expected.values()))


def bytes_before(text: str, at: int) -> int:
    return len(text[:at].encode())


@settings(deadline=None, max_examples=150)
@given(texts=TEXTS, width=st.integers(1, 4))
def test_windows_are_all_runs_of_tokens(texts, width):
    expected: dict[tuple, set] = {}
    for row, text in enumerate(texts):
        words = list(re.finditer(r"\w+", text))
        for at in range(len(words) - width + 1):
            end = words[at + width].start() if at + width < len(words) else len(text)
            occurrence = (row, bytes_before(text, words[at].start()), bytes_before(text, end))
            expected.setdefault(tuple(w[0].lower() for w in words[at : at + width]), set()).add(occurrence)
    assert same(grouped(spans.windows(*buffers(texts), table("word", False), width), texts), expected)


@pytest.mark.parametrize(
    ("breaks", "pattern"), [(1, r"\n[ \t\n]*(?:\n|\Z)|\n"), (2, r"\n[ \t]*\n(?:[ \t]*\n)*(?:[ \t]*\Z)?")]
)
@settings(deadline=None, max_examples=150)
@given(texts=TEXTS, least=st.integers(1, 3))
def test_units_are_the_lines_or_paragraphs_of_enough_words(breaks, pattern, texts, least):
    expected: dict[tuple, set] = {}
    for row, text in enumerate(texts):
        first = 0
        for end in [m.end() for m in re.finditer(pattern, text)] + [len(text)]:
            words = re.findall(r"\w+", text[first:end].lower())
            if len(words) >= least:
                expected.setdefault(tuple(words), set()).add((row, bytes_before(text, first), bytes_before(text, end)))
            first = end
    assert same(grouped(spans.units(*buffers(texts), table("word", False), breaks, least), texts), expected)


SPAN = st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(1, 8), st.booleans())


@settings(deadline=None, max_examples=200)
@given(found=st.lists(SPAN, min_size=1, max_size=20).map(sorted))
def test_what_is_removed_is_what_goes_without_what_stays(found):
    docs, firsts, sizes, stays = (np.array(column) for column in zip(*found))
    goes: set[tuple[int, int]] = set()
    kept: set[tuple[int, int]] = set()
    for doc, first, size, stay in found:
        (kept if stay else goes).update((doc, at) for at in range(first, first + size))
    removed = list(zip(*(column.tolist() for column in spans.removed(docs, firsts, firsts + sizes, stays))))
    assert {(doc, at) for doc, first, last in removed for at in range(first, last)} == goes - kept
    assert all(a[0] < b[0] or a[2] < b[1] for a, b in zip(removed, removed[1:]))
