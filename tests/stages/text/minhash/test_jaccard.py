"""Shingle sets and exact Jaccard against Python sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text.minhash import hashing, jaccard, shingles
from stages.text.minhash.shingles import Shingling

TEXTS = st.lists(st.text(st.sampled_from("ab가나 \n.Σé\u0301"), max_size=60), min_size=1, max_size=6)


def sets_of(texts: list[str], how: Shingling) -> jaccard.Sets:
    pieces = [text.encode() for text in texts]
    return jaccard.shingle_sets(
        np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)]).astype(np.int64), how
    )


@pytest.mark.parametrize("how", [Shingling("word", 2), Shingling("char", 3), Shingling("eojeol", 2)], ids=str)
@settings(deadline=None, max_examples=100)
@given(texts=TEXTS)
def test_sets_are_the_hashes_of_the_distinct_shingles(how, texts):
    found = sets_of(texts, how)
    for row, text in enumerate(texts):
        parts = [s.decode() for s in shingles.shingles(text, how)]
        expected = sorted(hashing.shingle_hash64(p if how.kind == "char" else p.split(" ")) for p in parts)
        assert found[row].tolist() == expected


EVEN = st.integers(0, 2**64 - 1)
CROWDED = st.one_of(EVEN, st.integers(0, 3), st.integers(2**63, 2**63 + 5), st.integers(2**64 - 3, 2**64 - 1))
"""Hashes as they come, with repeats and neighbours, at both ends of the range."""


@settings(deadline=None, max_examples=400)
@given(
    values=st.one_of(st.lists(CROWDED, max_size=80), st.lists(st.sampled_from([7, 2**64 - 1, 5]), max_size=40)),
    draw=st.randoms(),
)
def test_hashes_are_sorted_and_one_of_each_is_left(values, draw):
    values += draw.sample(values, len(values) // 3)
    hashes, room = np.array(values, np.uint64), max(4, len(values) + 1)
    count = jaccard._sorted_distinct(hashes, np.empty(room, np.uint64), np.empty(room, np.uint32))
    assert hashes[:count].tolist() == sorted(set(values))


def test_a_long_run_of_hashes_is_sorted():
    values = np.random.default_rng(5).integers(0, 1 << 64, 50_000, dtype=np.uint64)
    hashes = np.concatenate([values, values[::7]])
    count = jaccard._sorted_distinct(hashes, np.empty(len(hashes), np.uint64), np.empty(len(hashes) + 1, np.uint32))
    assert np.array_equal(hashes[:count], np.unique(values))


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
