"""The hash functions of words and shingles, said in plain Python: the specification that the kernels repeat bit for bit.

A word is hashed over its UTF-8, one multiply for eight bytes, and mixed; a shingle is a polynomial over the hashes of its
words, mixed. `word_shingle_hash32` and `char_shingle_hash32` take a shingle's UTF-8 bytes and can be given to
`datasketch.MinHash(hashfunc=...)` as they are. No numba here: this module may be imported anywhere.

The mixers are the finalisers published with SplitMix64 (Steele, Lea, Flood 2014) and MurmurHash3 (Appleby, public
domain); the other constants are odd 64-bit numbers without structure.
"""

from __future__ import annotations

from collections.abc import Iterable

MASK64 = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
"""Multiplier per eight bytes of a word."""
EXACT_STEP = 0xD1342543DE82EF95
"""Multiplier per eight bytes of a whole text (exact level)."""
POLY = 0xD6E8FEB86659FD93
"""Base of the polynomial over word hashes."""
MIX_A = 0xBF58476D1CE4E5B9
MIX_B = 0x94D049BB133111EB


def mix64(value: int) -> int:
    """SplitMix64's finaliser: a bijection on 64 bits in which every input bit reaches every output bit."""
    value ^= value >> 30
    value = value * MIX_A & MASK64
    value ^= value >> 27
    value = value * MIX_B & MASK64
    return value ^ (value >> 31)


def token_hash(token: str) -> int:
    """64-bit hash of one token (a word, or one character where shingles are of characters), eight bytes of UTF-8 at a time."""
    state = 0
    for chunk in _chunks(token.encode("utf-8")):
        state = (state ^ chunk) * STEP & MASK64
        state ^= state >> 32
    return mix64(state)


def _chunks(data: bytes) -> list[int]:
    """Little-endian 64-bit numbers, the last one filled up with zeros."""
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]


def shingle_hash64(tokens: Iterable[str]) -> int:
    """64-bit hash of a shingle: the identity by which exact Jaccard counts shingles as equal."""
    total = 0
    for token in tokens:
        total = (total * POLY + token_hash(token)) & MASK64
    return mix64(total)


def shingle_hash32(tokens: Iterable[str]) -> int:
    """The upper 32 bits of `shingle_hash64`: what MinHash permutes (datasketch's affine32 takes 32-bit hashes)."""
    return shingle_hash64(tokens) >> 32


def word_shingle_hash32(shingle: bytes) -> int:
    """`hashfunc` for `datasketch.MinHash` where a shingle is words joined by one blank, in UTF-8."""
    return shingle_hash32(shingle.decode("utf-8").split(" "))


def char_shingle_hash32(shingle: bytes) -> int:
    """`hashfunc` for `datasketch.MinHash` where a shingle is a run of characters, in UTF-8."""
    return shingle_hash32(shingle.decode("utf-8"))
