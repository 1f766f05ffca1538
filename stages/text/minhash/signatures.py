"""MinHash signatures over Arrow buffers: decode, normalise, shingle, hash and permute in one pass, no Python string made.

The signatures are datasketch's: `permutations` are the parameters of its affine32 scheme for the same seed, and
`as_datasketch` gives a `datasketch.MinHash` whose values equal those of one fed the same shingles through
`hashing.word_shingle_hash32` (`char_shingle_hash32` for characters).

The work a shingle costs is bounded by its permutations: one 32-bit multiply, add and minimum each, 16 lanes at a time.
They run transposed (per permutation over a block of shingles that stays in the first cache), so nothing is reloaded.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from stages.text.compiled import boolean, inlined, int64, kernel, part, reads, writes
from stages.text.minhash import hashing
from stages.text.minhash.shingles import SUSPECT, Shingling, normalised, table
from stages.text.minhash.tokens import (
    BLOCK,
    HELD,
    KINDS,
    SEEN,
    SLACK,
    STATE,
    begin,
    characters,
    exact_hash,
    flags,
    mix64,
    next_tokens,
)

ROOM = BLOCK + SLACK
"""Tokens a block can hold; a block's 32-bit hashes are half of the smallest first-level cache in use."""
EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of a signature over no shingles, as in datasketch."""

_POLY = np.uint64(hashing.POLY)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@inlined
def _fmix32(value):
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value ^= value >> np.uint32(13)
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    return np.uint32(value ^ (value >> np.uint32(16)))


@part
def _hash_shingles(tokens, count, width, out):
    """64-bit hashes of the `count - width + 1` shingles over `tokens`; returns how many."""
    top = _ONE
    for _ in range(width):
        top *= _POLY
    total = _ZERO
    for index in range(width - 1):
        total = total * _POLY + tokens[index]
    total = total * _POLY + tokens[width - 1]
    out[0] = mix64(total)
    for index in range(width, count):
        total = total * _POLY + (tokens[index] - tokens[index - width] * top)
        out[index - width + 1] = total
    made = count - width + 1
    for index in range(1, made):
        out[index] = mix64(out[index])
    return made


@part
def next_shingles(data, at, end, classes, kind, fold, exact, width, low, raw, spaced, edges, tokens, state, hashes):
    """Shingle hashes of the next block of a text, into `hashes`; returns (at, made).

    Start a text with a fresh `state` (`scan.begin`), and call while at < end; `tokens` and `hashes` have `ROOM + width`
    entries, the other arrays what `scan.next_tokens` says. Without `exact` the exact hash is not made.
    """
    held = np.int64(state[HELD])
    at, count = next_tokens(data, at, end, classes, kind, fold, exact, low, raw, spaced, edges, tokens, held, state)
    state[SEEN] += np.uint64(count - held)
    size = width
    if at >= end and count > 0 and state[SEEN] < width:
        size = count
    if count < size or count == 0:
        state[HELD] = np.uint64(count)
        return at, 0
    made = _hash_shingles(tokens, count, size, hashes)
    for i in range(size - 1):
        tokens[i] = tokens[count - size + 1 + i]
    state[HELD] = np.uint64(size - 1)
    return at, made


@part
def is_suspect(state):
    """Did the scanner meet a character whose form depends on its neighbours?"""
    return (flags(state) & np.uint64(SUSPECT)) != 0


@part
def _permute(block, count, factors, terms, values):
    for k in range(factors.size):
        factor, term, least = factors[k], terms[k], values[k]
        for j in range(count):
            least = min(least, np.uint32(factor * block[j] + term))
        values[k] = least


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint32),
    int64,
    boolean,
    int64,
    reads(np.uint32),
    reads(np.uint32),
    writes(np.uint32, 2),
    writes(np.uint64, 2),
    writes(np.int64),
    writes(np.int64),
    writes(np.bool_),
)
def _minhash(data, offsets, classes, kind, fold, width, factors, terms, values, exact, counts, lengths, suspect):
    low, raw, spaced, edges = (
        np.empty(ROOM, np.uint8),
        np.empty(ROOM, np.uint8),
        np.empty(ROOM, np.uint8),
        np.empty(ROOM, np.int64),
    )
    tokens, hashes = np.empty(ROOM + width, np.uint64), np.empty(ROOM + width, np.uint64)
    block = np.empty(ROOM + width, np.uint32)
    state = np.empty(STATE, np.uint64)
    for row in range(offsets.size - 1):
        at, end = offsets[row], offsets[row + 1]
        begin(state)
        digest, i = _ZERO, _ONE
        while at < end:
            at, made = next_shingles(
                data, at, end, classes, kind, fold, True, width, low, raw, spaced, edges, tokens, state, hashes
            )
            for j in range(made):
                digest += hashes[j] * (i + np.uint64(2 * j))
            i += np.uint64(2 * made)
            for j in range(made):
                block[j] = _fmix32(np.uint32(hashes[j] >> np.uint64(32)))
            _permute(block, made, factors, terms, values[row])
        counts[row], lengths[row], suspect[row] = state[SEEN], characters(state), is_suspect(state)
        exact[row, 0] = exact_hash(state)
        exact[row, 1] = mix64(digest)


class Signatures(NamedTuple):
    """What one pass over `n` texts measured."""

    values: np.ndarray
    """uint32 (n, permutations); all ones for a text without tokens."""
    exact: np.ndarray
    """uint64 (n, 2): hash of the text with runs of white space as one blank, and of its sequence of shingles."""
    tokens: np.ndarray
    """int64 (n): number of tokens."""
    lengths: np.ndarray
    """int64 (n): code points of the text as given."""


@cache
def permutations(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(factors, terms), uint32 (count): datasketch's affine32 parameters for `seed`, drawn the way it draws them."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, count, dtype=np.uint32)


def compute_minhash(data: np.ndarray, offsets: np.ndarray, how: Shingling, count: int, seed: int = 1) -> Signatures:
    """Signatures of `count` permutations for the texts `data[offsets[i]:offsets[i + 1]]` (UTF-8, uint8; int64 offsets).

    Texts that may change under NFC or lower-casing in context are normalised by Python first and signed again.
    """
    found, suspect = _computed(data, offsets, how, count, seed)
    again = np.flatnonzero(suspect)
    if len(again):
        part, _ = _computed(*rewritten(data, offsets, again), how, count, seed)
        for whole, piece in zip(found[:3], part):
            whole[again] = piece
    return found


def _computed(
    data: np.ndarray, offsets: np.ndarray, how: Shingling, count: int, seed: int
) -> tuple[Signatures, np.ndarray]:
    rows = len(offsets) - 1
    found = Signatures(
        np.full((rows, count), EMPTY),
        np.zeros((rows, 2), np.uint64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
    )
    suspect = np.zeros(rows, np.bool_)
    _minhash(
        data,
        offsets,
        table(how.kind, how.fold_digits),
        KINDS[how.kind],
        how.fold_digits,
        how.width,
        *permutations(count, seed),
        *found,
        suspect,
    )
    return found, suspect


def rewritten(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(data, offsets) of `rows` alone, normalised by Python: what the kernels then read needs no context."""
    pieces = [
        normalised(bytes(data[offsets[row] : offsets[row + 1]]).decode("utf-8", "replace")).encode() for row in rows
    ]
    bounds = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=bounds[1:])
    return np.frombuffer(b"".join(pieces), np.uint8), bounds


def as_datasketch(values: np.ndarray, seed: int = 1, hashfunc: Any = hashing.word_shingle_hash32) -> Any:
    """One signature row (uint32) as a `datasketch.MinHash`, ready to compare, merge or index."""
    from datasketch import MinHash

    return MinHash(
        seed=seed, hashfunc=hashfunc, hashvalues=values, permutations=permutations(len(values), seed), scheme="affine32"
    )
