"""Signatures equal a slow obvious reference and datasketch's own, bit for bit."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text.minhash import hashing, shingles
from stages.text.minhash import signatures as minhash
from stages.text.minhash.shingles import Shingling

ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from("aB \n\t_9ΣσςİßẞŐé가각힣ㄱᄀ\u1161\u11a8\u0301日ñक्षा"),
    ),
    max_size=80,
)
KINDS = [
    Shingling(),
    Shingling("word", 3),
    Shingling("word", 5, True),
    Shingling("eojeol", 2),
    Shingling("char", 4),
    Shingling("char", 24),
]


def exact_hash64(text: str) -> int:
    """64-bit hash of a text, runs of white space read as one blank and none at its ends; case and marks count."""
    state = 0
    for chunk in hashing._chunks(" ".join(text.split()).encode("utf-8").replace(b"\0", b"\xff")):
        state = (state ^ chunk) * hashing.EXACT_STEP & hashing.MASK64
        state = (state << 29 | state >> 35) & hashing.MASK64
    return hashing.mix64(state)


def buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    pieces = [text.encode() for text in texts]
    return np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces)]).astype(np.int64)


def slow_signature(text: str, how: Shingling, count: int) -> np.ndarray:
    """Every shingle through every permutation, in Python integers."""
    factors, terms = MinHash(num_perm=count, seed=1).permutations
    values = [0xFFFFFFFF] * count
    hashfunc = hashing.char_shingle_hash32 if how.kind == "char" else hashing.word_shingle_hash32
    for shingle in shingles.shingles(text, how):
        value = hashfunc(shingle)
        value ^= value >> 16
        value = value * 0x85EBCA6B & 0xFFFFFFFF
        value ^= value >> 13
        value = value * 0xC2B2AE35 & 0xFFFFFFFF
        value ^= value >> 16
        for k in range(count):
            values[k] = min(values[k], (int(factors[k]) * value + int(terms[k])) & 0xFFFFFFFF)
    return np.array(values, np.uint32)


@pytest.mark.parametrize("how", KINDS, ids=str)
@settings(deadline=None, max_examples=60)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_signature_equals_the_slow_reference(how, texts):
    found = minhash.compute_minhash(*buffers(texts), how, 7)
    for row, text in enumerate(texts):
        assert found.values[row].tolist() == slow_signature(text, how, 7).tolist()
        assert found.tokens[row] == len(shingles.tokens(text, how))


WORDS_EN = "the of Installing Debian GNU/Linux kernel's a partition x86_64 don't 3.14 disk—boot menu e.g. naïve CAFÉ it".split()
WORDS_KO = "설치 과정에서 디스크를 데비안 GNU/리눅스 커널이 파티션 2024년 값은 않습니다. “부팅” 메뉴로 ㅋㅋㅋ 읽는다, 甲乙 ＡＢＣ".split()


def random_texts(count: int, seed: int) -> list[str]:
    """Texts of 0 to 60 words, half English and half Korean, some decomposed, with uneven white space."""
    draw = random.Random(seed)
    texts = []
    for index in range(count):
        words = draw.choices(WORDS_EN if index % 2 else WORDS_KO, k=draw.randrange(61))
        text = "".join(word + draw.choice((" ", " ", "\n", "  ", "\u3000")) for word in words)
        texts.append(unicodedata.normalize("NFD", text) if draw.random() < 0.1 else text)
    return texts


@pytest.mark.parametrize(("how", "count"), [(Shingling(), 8_000), (Shingling("char", 9), 2_000)], ids=str)
def test_ten_thousand_texts_of_both_languages_equal_datasketch(how, count):
    texts = random_texts(count, seed=11)
    hashfunc = hashing.char_shingle_hash32 if how.kind == "char" else hashing.word_shingle_hash32
    memo: dict[bytes, int] = {}
    found = minhash.compute_minhash(*buffers(texts), how, 16, seed=3)
    peers = MinHash.generator(
        (shingles.shingles(text, how) for text in texts),
        num_perm=16,
        seed=3,
        hashfunc=lambda b: memo[b] if b in memo else memo.setdefault(b, hashfunc(b)),
    )
    for row, peer in enumerate(peers):
        assert np.array_equal(found.values[row], peer.hashvalues), texts[row]


def test_a_signature_loads_into_datasketch_and_compares_there():
    texts = ["one two three four five six seven", "one two three four five six eight", ""]
    found = minhash.compute_minhash(*buffers(texts), Shingling("word", 2), 256)
    ours = [minhash.as_datasketch(values) for values in found.values]
    theirs = MinHash(num_perm=256, hashfunc=hashing.word_shingle_hash32)
    theirs.update_batch(shingles.shingles(texts[0], Shingling("word", 2)))
    assert ours[0] == theirs
    assert ours[0].jaccard(ours[1]) == pytest.approx(5 / 7, abs=0.1)
    assert ours[2].is_empty()
    ours[2].merge(theirs)
    assert ours[2] == theirs


@pytest.mark.parametrize("how", [Shingling(), Shingling("char", 6)], ids=str)
def test_a_text_longer_than_a_block_equals_the_reference(how):
    text = " ".join(f"w{n * n % 5000}" for n in range(9_001)) + " 끝"
    found = minhash.compute_minhash(*buffers(["x", text, "y"]), how, 3)
    assert found.values[1].tolist() == slow_signature(text, how, 3).tolist()


@settings(deadline=None, max_examples=300)
@given(left=ANY_TEXT, right=ANY_TEXT)
def test_exact_hash_is_of_the_text_with_white_space_collapsed(left, right):
    found = minhash.compute_minhash(*buffers([left, right, "  " + left + "\n"]), Shingling(), 1).exact
    same = " ".join(shingles.normalised(left).split()) == " ".join(shingles.normalised(right).split())
    assert (found[0].tolist() == found[1].tolist()) == same
    assert found[0].tolist() == found[2].tolist()
    assert int(found[0][0]) == exact_hash64(shingles.normalised(left))


def test_a_text_without_words_has_exact_hash_zero_only_when_empty():
    found = minhash.compute_minhash(*buffers(["", " \n\t", "!?"]), Shingling(), 4)
    assert found.exact[:2].tolist() == [[0, 0], [0, 0]] and found.exact[2, 0] != 0
    assert (found.values == minhash.EMPTY).all()


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_utf8_are_read_without_leaving_the_text(data):
    guard = b"\xf0\x9f\x98\x80 tail"
    whole = np.frombuffer(data + guard, np.uint8)
    alone = minhash.compute_minhash(whole[: len(data)].copy(), np.array([0, len(data)]), Shingling(), 4)
    beside = minhash.compute_minhash(whole, np.array([0, len(data)]), Shingling(), 4)
    assert np.array_equal(alone.values, beside.values) and np.array_equal(alone.exact, beside.exact)


def test_reading_starts_at_the_first_offset():
    data, offsets = buffers(["alpha beta gamma delta epsilon", "하나 둘 셋 넷 다섯", "last one here it is"])
    whole = minhash.compute_minhash(data, offsets, Shingling(), 8)
    part = minhash.compute_minhash(data, offsets[1:3], Shingling(), 8)
    assert np.array_equal(whole.values[1:2], part.values)
