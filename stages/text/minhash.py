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

from stages.text.compiled import kernel
from stages.text import hashing
from stages.text.shingles import SPACE, SUSPECT, WORD_BITS, Shingling, normalised, table

ROOM = 4096
"""Tokens hashed at a time: their shingles are 16 KiB of 32-bit hashes, half of the smallest first-level cache in use."""
STATE = 7
"""Places of a scanner's state (uint64)."""
EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of a signature over no shingles, as in datasketch."""

_STEP = np.uint64(hashing.STEP)
_EXACT_STEP = np.uint64(hashing.EXACT_STEP)
_POLY = np.uint64(hashing.POLY)
_MIX_A = np.uint64(hashing.MIX_A)
_MIX_B = np.uint64(hashing.MIX_B)
_BLANK = np.uint32(0x20)

# The scanner's state between two blocks of one text.
_WORD, _INSIDE, _GAP, _EXACT, _BEFORE, _FLAGS, _DIGEST = range(STATE)
_ZERO, _ONE, _SIX = np.uint64(0), np.uint64(1), np.uint32(6)
_TAIL = np.uint32(0x3F)


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


@kernel
def begin(state):
    """Make a scanner's state (uint64[STATE]) ready for a text: white space at its start is no gap."""
    state[:] = _ZERO
    state[_GAP] = _ONE


@kernel
def _scan(data, at, end, classes, chars, tokens, count, state):
    """Read UTF-8 from `at` until `end` or until `tokens` is full; returns (at, count).

    `tokens` (uint64) is filled from `count` on with tokens not yet mixed. A sequence cut off or out of range separates
    tokens. Words end every five or six characters, too often and too irregularly to guess: but for the length of a
    sequence nothing here is decided by a branch on the text.
    """
    room = tokens.size - 3
    word, inside, gap = state[_WORD], state[_INSIDE], state[_GAP]
    exact, before, flags = state[_EXACT], state[_BEFORE], state[_FLAGS]
    blank = np.uint64(_BLANK) * _STEP
    while at < end and count < room:
        point = np.uint32(data[at])
        if point < 0x80:
            at += 1
        elif point < 0xE0 and at + 1 < end:
            point = ((point & np.uint32(0x1F)) << _SIX) | (np.uint32(data[at + 1]) & _TAIL)
            at += 2
        elif point < 0xF0 and at + 2 < end:
            point = ((point & np.uint32(0x0F)) << np.uint32(12)) | ((np.uint32(data[at + 1]) & _TAIL) << _SIX)
            point |= np.uint32(data[at + 2]) & _TAIL
            at += 3
        elif point < 0xF8 and at + 3 < end:
            point = ((point & np.uint32(0x07)) << np.uint32(18)) | ((np.uint32(data[at + 1]) & _TAIL) << np.uint32(12))
            point |= ((np.uint32(data[at + 2]) & _TAIL) << _SIX) | (np.uint32(data[at + 3]) & _TAIL)
            at += 4
            if point >= classes.size:
                point = np.uint32(0xFFFD)
        else:
            point = np.uint32(0xFFFD)
            at += 1
        entry = classes[point]
        letter = np.uint64(entry & WORD_BITS)
        is_letter = np.uint64(letter != _ZERO)
        if chars:
            # A blank before a letter that follows others with a gap; `inside` says that a letter was seen, `word` that a gap was.
            tokens[count] = blank
            count += np.int64(is_letter & inside & word)
            tokens[count] = letter * _STEP
            count += np.int64(is_letter)
            inside |= is_letter
            word = is_letter ^ _ONE
        else:
            tokens[count] = word
            count += np.int64(inside & (is_letter ^ _ONE))
            word = ((word ^ letter) * _STEP) & (_ZERO - is_letter)
            inside = is_letter
        space = np.uint64((entry & SPACE) != 0)
        before = exact if space & (gap ^ _ONE) else before
        value = np.uint64(_BLANK + 1) if space else np.uint64(point) + _ONE
        exact = exact if space & gap else exact * _EXACT_STEP + value
        gap = space
        flags |= np.uint64(entry)
    if at >= end:
        if inside and not chars:
            tokens[count] = word
            count += 1
        exact = before if gap else exact
    state[_WORD], state[_INSIDE], state[_GAP] = word, inside, gap
    state[_EXACT], state[_BEFORE], state[_FLAGS] = exact, before, flags
    return at, count


@kernel
def _hash_shingles(tokens, count, width, out):
    """64-bit hashes of the `count - width + 1` shingles over `tokens`; returns how many."""
    top = _ONE
    for _ in range(width):
        top *= _POLY
    total = _ZERO
    for index in range(width - 1):
        total = total * _POLY + tokens[index]
    for index in range(width - 1, count):
        total = total * _POLY + tokens[index]
        if index >= width:
            total -= tokens[index - width] * top
        out[index - width + 1] = total
    made = count - width + 1
    for index in range(made):
        out[index] = _mix64(out[index])
    return made


@kernel
def next_shingles(data, at, end, classes, chars, width, tokens, held, seen, state, hashes):
    """Shingle hashes of the next block of a text, into `hashes`; returns (at, held, seen, made).

    `tokens` keeps the last `held` tokens from block to block, `seen` counts the text's tokens; start a text with
    held = seen = 0 and a fresh `state` (`begin`), and call while at < end. Both arrays have `ROOM + width` places.
    """
    before = held
    at, held = _scan(data, at, end, classes, chars, tokens, held, state)
    digest = state[_DIGEST]
    for index in range(before, held):
        tokens[index] = _mix64(tokens[index])
    for index in range(before, held):
        digest = digest * _POLY + tokens[index]
    state[_DIGEST] = digest
    seen += held - before
    size = width
    if at >= end and 0 < seen < width:
        size = held
    if held < size or held == 0:
        return at, held, seen, 0
    made = _hash_shingles(tokens, held, size, hashes)
    for j in range(size - 1):
        tokens[j] = tokens[held - size + 1 + j]
    return at, size - 1, seen, made


@kernel
def is_suspect(state):
    """Did the scanner meet a character whose form depends on its neighbours?"""
    return (state[_FLAGS] & np.uint64(SUSPECT)) != 0


@kernel
def _permute(block, count, factors, terms, values):
    for k in range(factors.size):
        factor, term, least = factors[k], terms[k], values[k]
        for j in range(count):
            least = min(least, np.uint32(factor * block[j] + term))
        values[k] = least


@kernel
def _sign(data, offsets, classes, chars, width, factors, terms, values, exact, counts, suspect):
    tokens = np.empty(ROOM + width, np.uint64)
    hashes = np.empty(ROOM + width, np.uint64)
    block = np.empty(ROOM + width, np.uint32)
    state = np.empty(STATE, np.uint64)
    for row in range(offsets.size - 1):
        at, end, held, seen = offsets[row], offsets[row + 1], 0, 0
        begin(state)
        while at < end:
            at, held, seen, made = next_shingles(data, at, end, classes, chars, width, tokens, held, seen, state, hashes)
            for j in range(made):
                block[j] = _fmix32(np.uint32(hashes[j] >> np.uint64(32)))
            _permute(block, made, factors, terms, values[row])
        counts[row] = seen
        suspect[row] = is_suspect(state)
        exact[row, 0] = _mix64(state[_EXACT])
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
