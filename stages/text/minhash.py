"""MinHash signatures over Arrow buffers: decode, normalise, shingle, hash and permute in one pass, no Python string made.

The signatures are datasketch's: `permutations` are the parameters of its affine32 scheme for the same seed, and
`as_datasketch` gives a `datasketch.MinHash` whose values equal those of one fed the same shingles through
`hashing.word_shingle_hash32` (`char_shingle_hash32` for characters).

The work a shingle costs is bounded by its permutations: one 32-bit multiply, add and minimum each, 16 lanes at a time.
They run transposed (per permutation over a block of shingles that stays in the first cache), so nothing is reloaded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stages.text import hashing
from stages.text.shingles import SPACE, SUSPECT, WORD_BITS, Shingling, normalised, table

ROOM = 4096
"""Tokens hashed at a time: their shingles are 16 KiB of 32-bit hashes, half of the smallest first-level cache in use."""
STATE = 6
"""Places of a scanner's state (uint64)."""
EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of a signature over no shingles, as in datasketch."""

_STEP = np.uint64(hashing.STEP)
_EXACT = np.uint64(hashing.EXACT_STEP)
_POLY = np.uint64(hashing.POLY)
_MIX_A = np.uint64(hashing.MIX_A)
_MIX_B = np.uint64(hashing.MIX_B)
_BLANK = np.uint32(0x20)

# The scanner's state between two blocks of one text.
_WORD, _PENDING, _EXACT_STATE, _EXACT_PENDING, _FLAGS, _DIGEST = range(STATE)
_SEEN_WORD, _SEEN_TEXT, _SUSPECT_SEEN, _IN_WORD = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(8)


@njit(cache=True, nogil=True, inline="always")
def _mix64(value):
    value ^= value >> np.uint64(30)
    value *= _MIX_A
    value ^= value >> np.uint64(27)
    value *= _MIX_B
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _fmix32(value):
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value ^= value >> np.uint32(13)
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    return np.uint32(value ^ (value >> np.uint32(16)))


@njit(cache=True, nogil=True)
def scan(data, at, end, classes, chars, tokens, count, state):
    """Read UTF-8 from `at` until `end` or until `tokens` is full; returns (at, count). Past the end, at = end + 1.

    `tokens` (uint64) is filled with token hashes from `count` on; `state` (uint64[6], zero at a text's start) carries
    what is under way from one call to the next. A sequence cut off or out of range separates tokens.
    """
    room = tokens.size - 2
    word, blank = state[_WORD], state[_PENDING]
    exact, gap, flags, digest = state[_EXACT_STATE], state[_EXACT_PENDING], state[_FLAGS], state[_DIGEST]
    inside = (flags & _IN_WORD) != 0
    while at <= end and count < room:
        entry = np.uint32(0)
        if at < end:
            point = np.uint32(data[at])
            if point < 0x80:
                at += 1
            elif point < 0xE0 and at + 1 < end:
                point = ((point & np.uint32(0x1F)) << np.uint32(6)) | (np.uint32(data[at + 1]) & np.uint32(0x3F))
                at += 2
            elif point < 0xF0 and at + 2 < end:
                point = (
                    ((point & np.uint32(0x0F)) << np.uint32(12))
                    | ((np.uint32(data[at + 1]) & np.uint32(0x3F)) << np.uint32(6))
                    | (np.uint32(data[at + 2]) & np.uint32(0x3F))
                )
                at += 3
            elif point < 0xF8 and at + 3 < end:
                point = (
                    ((point & np.uint32(0x07)) << np.uint32(18))
                    | ((np.uint32(data[at + 1]) & np.uint32(0x3F)) << np.uint32(12))
                    | ((np.uint32(data[at + 2]) & np.uint32(0x3F)) << np.uint32(6))
                    | (np.uint32(data[at + 3]) & np.uint32(0x3F))
                )
                at += 4
            else:
                point = np.uint32(0xFFFD)
                at += 1
            if point >= classes.size:
                point = np.uint32(0xFFFD)
            entry = classes[point]
            if entry & SPACE:
                gap = np.uint64(1)
            else:
                if gap and (flags & _SEEN_TEXT):
                    exact = (exact ^ np.uint64(_BLANK + 1)) * _EXACT
                    exact ^= exact >> np.uint64(32)
                exact = (exact ^ np.uint64(point + 1)) * _EXACT
                exact ^= exact >> np.uint64(32)
                gap = np.uint64(0)
                flags |= _SEEN_TEXT
            if entry & SUSPECT:
                flags |= _SUSPECT_SEEN
        else:
            at += 1
        letter = entry & WORD_BITS
        if chars:
            if letter:
                if blank and (flags & _SEEN_WORD):
                    tokens[count] = _mix64(_fold(np.uint64(0), _BLANK))
                    digest = digest * _POLY + tokens[count]
                    count += 1
                tokens[count] = _mix64(_fold(np.uint64(0), letter))
                digest = digest * _POLY + tokens[count]
                count += 1
                blank = np.uint64(0)
                flags |= _SEEN_WORD
            else:
                blank = np.uint64(1)
        elif letter:
            word = _fold(word, letter)
            inside = True
        elif inside:
            tokens[count] = _mix64(word)
            digest = digest * _POLY + tokens[count]
            count += 1
            word = np.uint64(0)
            inside = False
    flags = (flags | _IN_WORD) if inside else (flags & ~_IN_WORD)
    state[_WORD], state[_PENDING] = word, blank
    state[_EXACT_STATE], state[_EXACT_PENDING], state[_FLAGS], state[_DIGEST] = exact, gap, flags, digest
    return at, count


@njit(cache=True, nogil=True, inline="always")
def _fold(state, letter):
    state = (state ^ np.uint64(letter)) * _STEP
    return state ^ (state >> np.uint64(32))


@njit(cache=True, nogil=True)
def hash_shingles(tokens, count, width, out):
    """64-bit hashes of the `count - width + 1` shingles over `tokens`; returns how many."""
    top = np.uint64(1)
    for _ in range(width):
        top *= _POLY
    total = np.uint64(0)
    for index in range(width - 1):
        total = total * _POLY + tokens[index]
    for index in range(width - 1, count):
        total = total * _POLY + tokens[index]
        if index >= width:
            total -= tokens[index - width] * top
        out[index - width + 1] = _mix64(total)
    return count - width + 1


@njit(cache=True, nogil=True)
def next_shingles(data, at, end, classes, chars, width, tokens, held, seen, state, hashes):
    """Shingle hashes of the next block of a text, into `hashes`; returns (at, held, seen, made).

    `tokens` keeps the last `held` tokens from block to block, `seen` counts the text's tokens; start a text with
    held = seen = 0 and `state` all zero, and call while at <= end. Both arrays have `ROOM + width` places.
    """
    before = held
    at, held = scan(data, at, end, classes, chars, tokens, held, state)
    seen += held - before
    size = width
    if at > end and 0 < seen < width:
        size = held
    if held < size or held == 0:
        return at, held, seen, 0
    made = hash_shingles(tokens, held, size, hashes)
    for j in range(size - 1):
        tokens[j] = tokens[held - size + 1 + j]
    return at, size - 1, seen, made


@njit(cache=True, nogil=True)
def is_suspect(state):
    """Did the scanner meet a character whose form depends on its neighbours?"""
    return (state[_FLAGS] & _SUSPECT_SEEN) != 0


@njit(cache=True, nogil=True)
def _permute(block, count, factors, terms, values):
    for k in range(factors.size):
        factor, term, least = factors[k], terms[k], values[k]
        for j in range(count):
            least = min(least, np.uint32(factor * block[j] + term))
        values[k] = least


@njit(cache=True, nogil=True)
def _sign(data, offsets, classes, chars, width, factors, terms, values, exact, counts, suspect):
    tokens = np.empty(ROOM + width, np.uint64)
    hashes = np.empty(ROOM + width, np.uint64)
    block = np.empty(ROOM + width, np.uint32)
    state = np.empty(STATE, np.uint64)
    for row in range(offsets.size - 1):
        at, end, held, seen = offsets[row], offsets[row + 1], 0, 0
        state[:] = np.uint64(0)
        while at <= end:
            at, held, seen, made = next_shingles(data, at, end, classes, chars, width, tokens, held, seen, state, hashes)
            for j in range(made):
                block[j] = _fmix32(np.uint32(hashes[j] >> np.uint64(32)))
            _permute(block, made, factors, terms, values[row])
        counts[row] = seen
        suspect[row] = is_suspect(state)
        exact[row, 0] = _mix64(state[_EXACT_STATE])
        exact[row, 1] = _mix64(state[_DIGEST])


class Signatures(NamedTuple):
    """What one pass over `n` texts measured."""

    values: np.ndarray
    """uint32 (n, permutations); all ones for a text without tokens."""
    exact: np.ndarray
    """uint64 (n, 2): hash of the text with runs of white space as one blank, and of its token sequence."""
    tokens: np.ndarray
    """int64 (n): number of tokens."""


def permutations(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(factors, terms), uint32 (count): datasketch's affine32 parameters for `seed`, drawn the way it draws them."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, count, dtype=np.uint32)


def sign(data: np.ndarray, offsets: np.ndarray, how: Shingling, count: int, seed: int = 1) -> Signatures:
    """Signatures of `count` permutations for the texts `data[offsets[i]:offsets[i + 1]]` (UTF-8, uint8; int64 offsets).

    Texts that may change under NFC or lower-casing in context are normalised by Python first and signed again.
    """
    classes = table(how.kind, how.fold_digits)
    factors, terms = permutations(count, seed)
    rows = len(offsets) - 1
    found = Signatures(np.full((rows, count), EMPTY), np.zeros((rows, 2), np.uint64), np.zeros(rows, np.int64))
    suspect = np.zeros(rows, np.bool_)
    _sign(data, offsets, classes, how.kind == "char", how.width, factors, terms, *found, suspect)
    again = np.flatnonzero(suspect)
    if len(again):
        text, bounds = rewritten(data, offsets, again)
        part = Signatures(np.full((len(again), count), EMPTY), np.zeros((len(again), 2), np.uint64), np.zeros(len(again), np.int64))
        _sign(text, bounds, classes, how.kind == "char", how.width, factors, terms, *part, suspect[again])
        for whole, piece in zip(found, part):
            whole[again] = piece
    return found


def rewritten(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(data, offsets) of `rows` alone, normalised by Python: what the kernels then read needs no context."""
    pieces = [normalised(bytes(data[offsets[row] : offsets[row + 1]]).decode("utf-8", "replace")).encode() for row in rows]
    bounds = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=bounds[1:])
    return np.frombuffer(b"".join(pieces), np.uint8), bounds


def as_datasketch(values: np.ndarray, seed: int = 1, hashfunc: Any = hashing.word_shingle_hash32) -> Any:
    """One signature row (uint32) as a `datasketch.MinHash`, ready to compare, merge or index."""
    from datasketch import MinHash

    return MinHash(
        seed=seed, hashfunc=hashfunc, hashvalues=values, permutations=permutations(len(values), seed), scheme="affine32"
    )
