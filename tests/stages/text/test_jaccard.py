"""Shingle sets and exact Jaccard against Python sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text import hashing, jaccard, shingles
from stages.text.shingles import Shingling

TEXTS = st.lists(st.text(st.sampled_from("ab가나 \n.Σé\u0301"), max_size=60), min_size=1, max_size=6)


def sets_of(texts: list[str], how: Shingling) -> jaccard.Sets:
    pieces = [text.encode() for text in texts]
    return jaccard.shingle_sets(np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)]).astype(np.int64), how)


@pytest.mark.parametrize("how", [Shingling("word", 2), Shingling("char", 3), Shingling("eojeol", 2)], ids=str)
@settings(deadline=None, max_examples=100)
@given(texts=TEXTS)
def test_sets_are_the_hashes_of_the_distinct_shingles(how, texts):
    found = sets_of(texts, how)
    for row, text in enumerate(texts):
        parts = [s.decode() for s in shingles.shingles(text, how)]
        expected = sorted(hashing.shingle_hash64(p if how.kind == "char" else p.split(" ")) for p in parts)
        assert found[row].tolist() == expected


RUNS = st.lists(st.integers(0, 40), max_size=40).map(lambda values: np.array(sorted(set(values)), np.uint64))


@settings(deadline=None, max_examples=300)
@given(left=RUNS, right=RUNS, least=st.integers(0, 41))
def test_shared_counts_or_says_that_it_cannot_reach(left, right, least):
    truth = len(set(left.tolist()) & set(right.tolist()))
    assert jaccard.shared(left, right, least) == (truth if truth >= least else -1)


@settings(deadline=None, max_examples=100)
@given(left=RUNS, right=RUNS)
def test_similarity_is_jaccard(left, right):
    a, b = set(left.tolist()), set(right.tolist())
    assert jaccard.similarity(left, right) == (len(a & b) / len(a | b) if a | b else 0.0)


def test_a_long_text_has_the_set_of_its_words():
    text = " ".join(f"word{n % 6000}" for n in range(20_000))
    found = sets_of(["a b", text, ""], Shingling())
    assert [len(found[row]) for row in range(3)] == [1, 6000, 0]
