"""Texts as token hashes: UTF-8 is folded into blocks of lower-cased bytes, and words are hashed eight bytes at a time.

A text passes through in blocks. `_fill` writes two streams of a block: `low`, the bytes of its tokens in lower case with
zeros between them, and `raw`, its bytes with every run of white space as one blank. ASCII is folded 256 bytes at a time
without a branch; what follows a longer character is decoded one by one until ASCII goes on. `_take` finds the runs of
`low` from bit masks of 64 bytes and hashes each in chunks of eight; `_digest` folds `raw` into the hash of the exact text.
`stages/text/minhash/hashing.py` says what the hashes are, in plain Python.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import inlined, part
from stages.text.minhash import hashing
from stages.text.minhash.shingles import SPACE, WORD_BITS
from stages.text.minhash.words64 import copy64, load64, ones, others64, store64, trailing_zeros

BLOCK = 4096
"""Bytes of a stream that are worked on at a time: both streams and what is made of them stay in the first cache."""
SLACK = 384
"""Room behind a block: the last stretch of ASCII, the last characters, and masks that read past the end."""
STRETCH = 256
"""Bytes of ASCII folded at a time."""
PLAIN = 48
"""After this many ASCII characters in a row they are folded by the stretch again."""
WORD, EOJEOL, CHAR = 0, 1, 2
KINDS = {"word": WORD, "eojeol": EOJEOL, "char": CHAR}

STATE = 10
"""Indices of a scanner's state (uint64)."""
_LOW, _RAW, _CHAIN, _GAP, _EXACT, _FLAGS, _INSIDE, _CHARS, HELD, SEEN = range(STATE)
"""Bytes held back of either stream, hash of the unfinished token, was the last a blank, exact hash, flags met, char tokens:
was there one; code points; then, for whoever uses the tokens: how many are held back, how many were seen."""

_STEP, _POLY, _EXACT_STEP = np.uint64(hashing.STEP), np.uint64(hashing.POLY), np.uint64(hashing.EXACT_STEP)
_MIX_A, _MIX_B = np.uint64(hashing.MIX_A), np.uint64(hashing.MIX_B)
_ZERO, _ONE, _TWO, _EIGHT = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(8)
_TOPS = np.uint64(0x8080808080808080)
_SIX, _TWELVE, _TAIL = np.uint32(6), np.uint32(12), np.uint32(0x3F)
_BLANK, _NUL = np.uint8(0x20), np.uint8(0xFF)


@inlined
def mix64(value):
    value ^= value >> np.uint64(30)
    value *= _MIX_A
    value ^= value >> np.uint64(27)
    value *= _MIX_B
    return value ^ (value >> np.uint64(31))


@part
def begin(state):
    """Make a scanner's state (uint64[STATE]) ready for a text: white space at its start is no gap."""
    for at in range(state.size):
        state[at] = _ZERO
    state[_GAP] = _ONE


@part
def _fold_ascii(data, low, spaced, eojeol, fold):
    """One stretch of ASCII in vectors: its tokens in lower case, and its bytes with white space as blanks; bit 7 of what it saw."""
    seen = np.uint8(0)
    for i in range(data.size):
        c = data[i]
        seen |= c
        lowered = np.uint8(c | np.uint8(0x20))
        letter = np.uint8(lowered - np.uint8(97)) < np.uint8(26)
        digit = np.uint8(c - np.uint8(48)) < np.uint8(10)
        space = (np.uint8(c - np.uint8(9)) < np.uint8(5)) | (np.uint8(c - np.uint8(28)) < np.uint8(5))
        inside = letter | digit | (c == np.uint8(95)) | (eojeol & (not space) & (c != np.uint8(0)))
        value = lowered if letter else c
        value = np.uint8(48) if digit & fold else value
        low[i] = value if inside else np.uint8(0)
        blank = _BLANK if space else c
        spaced[i] = _NUL if c == np.uint8(0) else blank
    return seen


@part
def _close_up(spaced, size, raw, write, gap):
    """Append `spaced[:size]` to `raw` with one blank for each run; returns (end, was the last byte a blank).

    64 bytes are always copied, for that costs less than to ask how many; the next run is written over what was too much.
    """
    for base in range(0, size, 64):
        blanks, room = ~others64(spaced, base, _BLANK), min(64, size - base)
        keep = ~(blanks & ((blanks << _ONE) | gap)) & (~_ZERO >> np.uint64(64 - room))
        gap = (blanks >> np.uint64(room - 1)) & _ONE
        at = base
        while keep:
            skip = trailing_zeros(keep)
            keep >>= skip
            at += np.int64(skip)
            copy64(spaced, at, raw, write)
            run = trailing_zeros(~keep)
            at += np.int64(run)
            write += np.int64(run)
            keep = (keep >> _ONE) >> (run - _ONE)  # a shift by 64 at once is undefined
    return write, gap


@part
def _decoded(data, at, end):
    """(code point, bytes) of the character at `at`, which is not ASCII; (0xFFFD, 1) for a sequence cut off or out of range."""
    first = np.uint32(data[at])
    if first < 0xE0 and at + 1 < end:
        return ((first & np.uint32(0x1F)) << _SIX) | (np.uint32(data[at + 1]) & _TAIL), 2
    if first >= 0xE0 and first < 0xF0 and at + 2 < end:
        point = ((first & np.uint32(0x0F)) << _TWELVE) | ((np.uint32(data[at + 1]) & _TAIL) << _SIX)
        return point | (np.uint32(data[at + 2]) & _TAIL), 3
    if first >= 0xF0 and first < 0xF8 and at + 3 < end:
        point = ((first & np.uint32(0x07)) << np.uint32(18)) | ((np.uint32(data[at + 1]) & _TAIL) << _TWELVE)
        point |= ((np.uint32(data[at + 2]) & _TAIL) << _SIX) | (np.uint32(data[at + 3]) & _TAIL)
        if point < 0x110000:
            return point, 4
    return np.uint32(0xFFFD), 1


@part
def _encode(point, low, at):
    """Write a code point as UTF-8; returns the index behind it."""
    if point < 0x80:
        low[at] = point
        return at + 1
    if point < 0x800:
        low[at], low[at + 1] = 0xC0 | (point >> _SIX), 0x80 | (point & _TAIL)
        return at + 2
    if point < 0x10000:
        low[at], low[at + 1], low[at + 2] = (
            0xE0 | (point >> _TWELVE),
            0x80 | ((point >> _SIX) & _TAIL),
            0x80 | (point & _TAIL),
        )
        return at + 3
    low[at], low[at + 1] = 0xF0 | (point >> np.uint32(18)), 0x80 | ((point >> _TWELVE) & _TAIL)
    low[at + 2], low[at + 3] = 0x80 | ((point >> _SIX) & _TAIL), 0x80 | (point & _TAIL)
    return at + 4


@part
def _by_character(data, at, end, classes, low, low_end, raw, raw_end, state):
    """Characters one by one until the block is full or ASCII goes on; returns (at, low_end, raw_end)."""
    plain, gap, flags, chars = 0, state[_GAP], np.uint32(0), 0
    while at < end and low_end < BLOCK and raw_end < BLOCK and plain < PLAIN:
        first = data[at]
        chars += 1
        if first < 0x80:
            entry = classes[first]
            space = np.uint64((entry & SPACE) != 0)
            low[low_end] = np.uint8(entry & WORD_BITS)
            raw[raw_end] = _BLANK if space else first if first else _NUL
            raw_end += np.int64(_ONE ^ (space & gap))
            at, low_end, plain, gap = at + 1, low_end + 1, plain + 1, space
            continue
        plain = 0
        if 0xEA <= first <= 0xED and at + 8 <= end:
            value = load64(data, at)
            point = (
                ((value & np.uint64(0x0F)) << np.uint64(12))
                | ((value >> np.uint64(2)) & np.uint64(0xFC0))
                | ((value >> np.uint64(16)) & np.uint64(0x3F))
            )
            if point - np.uint64(0xAC00) < np.uint64(11172):  # a syllable is itself in any case and form
                store64(low, low_end, value)
                store64(raw, raw_end, value)
                at, low_end, raw_end, gap = at + 3, low_end + 3, raw_end + 3, _ZERO
                continue
        longer, size = _decoded(data, at, end)
        entry = classes[longer]
        flags |= entry
        letter = entry & WORD_BITS
        if letter:
            low_end = _encode(letter, low, low_end)
        else:
            low[low_end] = 0
            low_end += 1
        if entry & SPACE:
            raw[raw_end] = _BLANK
            raw_end += np.int64(_ONE ^ gap)
            gap = _ONE
        else:
            for byte in range(size):
                raw[raw_end + byte] = data[at + byte]
            raw_end += size
            gap = _ZERO
        at += size
    state[_GAP] = gap
    state[_FLAGS] |= np.uint64(flags)
    state[_CHARS] += np.uint64(chars)
    return at, low_end, raw_end


@part
def _fill(data, at, end, classes, kind, fold, exact, low, raw, spaced, state):
    """Read on until the block is full or the text ends; returns (at, low_end, raw_end)."""
    low_end, raw_end = np.int64(state[_LOW]), np.int64(state[_RAW])
    while at < end and low_end < BLOCK and raw_end < BLOCK:
        size = min(STRETCH, end - at)
        seen = _fold_ascii(data[at : at + size], low[low_end : low_end + size], spaced, kind == EOJEOL, fold)
        if seen & 0x80:
            size = 0
            while load64(data, at + size) & _TOPS == _ZERO if at + size + 8 <= end else data[at + size] < 0x80:
                size += 8 if at + size + 8 <= end else 1
            while data[at + size] < 0x80:
                size += 1
        if exact:
            raw_end, state[_GAP] = _close_up(spaced, size, raw, raw_end, state[_GAP])
        state[_CHARS] += np.uint64(size)
        at, low_end = at + size, low_end + size
        if seen & 0x80 and low_end < BLOCK and raw_end < BLOCK:
            at, low_end, raw_end = _by_character(data, at, end, classes, low, low_end, raw, raw_end, state)
        if not exact:
            raw_end = 0
    return at, low_end, raw_end


@part
def _digest(raw, size, last, state):
    """Fold all but the last bytes of `raw` into the exact hash, all of it at the end of a text; holds back the rest."""
    value, at = state[_EXACT], 0
    while size - at > 8:
        value = (value ^ load64(raw, at)) * _EXACT_STEP
        value = (value << np.uint64(29)) | (value >> np.uint64(35))
        at += 8
    if last and size > at and raw[size - 1] == _BLANK:
        size -= 1
    if last and size > at:
        chunk = load64(raw, at) & (~_ZERO >> np.uint64(64 - 8 * (size - at)))
        value = (value ^ chunk) * _EXACT_STEP
        value = (value << np.uint64(29)) | (value >> np.uint64(35))
        at = size
    for j in range(size - at):
        raw[j] = raw[at + j]
    state[_EXACT], state[_RAW] = value, np.uint64(size - at)


@part
def _edges(low, size, edges):
    """Where runs of other bytes than zero begin and end in `low[:size]`, in turns; returns how many edges.

    Eight are written at a time, so that no branch depends on how many there are; `edges` has room for seven too many.
    """
    count, before = 0, _ZERO
    for base in range(0, size, 64):
        mask = others64(low, base, np.uint8(0))
        if size - base < 64:
            mask &= (_ONE << np.uint64(size - base)) - _ONE
        turns = mask ^ ((mask << _ONE) | before)
        before = mask >> np.uint64(63)
        j = np.uint64(count)
        count += np.int64(ones(turns))
        while j < np.uint64(count):
            for step in range(8):
                edges[j + np.uint64(step)] = base + np.int64(trailing_zeros(turns))
                turns &= turns - _ONE
            j += _EIGHT
    if count & 1:
        edges[count] = size
        count += 1
    return count


@inlined
def _chained(value, chunk):
    value = (value ^ chunk) * _STEP
    return value ^ (value >> np.uint64(32))


@part
def _take_words(low, size, last, edges, tokens, count, state):
    """Hash the finished runs of `low` into `tokens` from `count` on; holds back an unfinished one. Returns the new count."""
    if last:
        low[size] = 0
        size += 1
    turns = _edges(low, size, edges)
    chain, keep = state[_CHAIN], size
    if turns and edges[turns - 1] == size:
        turns -= 2
        keep = edges[turns]
    words, first = np.uint64(turns >> 1), np.uint64(count)
    for word in range(words):
        at = edges[_TWO * word]
        length = edges[_TWO * word + _ONE] - at
        if length <= 16:  # nearly always; both halves are hashed, for which of them counts cannot be predicted
            half = _chained(chain, load64(low, at) & (~_ZERO >> np.uint64(max(64 - 8 * length, 0))))
            both = _chained(half, load64(low, at + 8) & (~_ZERO >> np.uint64(min(128 - 8 * length, 63))))
            tokens[first + word] = both if length > 8 else half
        else:
            value, end = chain, at + length
            while end - at > 8:
                value = _chained(value, load64(low, at))
                at += 8
            tokens[first + word] = _chained(value, load64(low, at) & (~_ZERO >> np.uint64(64 - 8 * (end - at))))
        chain = _ZERO
    for word in range(words):
        tokens[first + word] = mix64(tokens[first + word])
    count += np.int64(words)
    if size - keep > BLOCK // 2:
        while size - keep > 8:
            chain = _chained(chain, load64(low, keep))
            keep += 8
    for j in range(size - keep):
        low[j] = low[keep + j]
    state[_CHAIN], state[_LOW] = chain, np.uint64(size - keep)
    return count


@part
def _take_chars(low, size, tokens, count, state):
    """Hash every character of `low` into `tokens`, and a blank between two runs."""
    inside, at, gap = state[_INSIDE], 0, state[_CHAIN]
    while at < size:
        byte = np.uint64(low[at])
        if byte == _ZERO:
            gap = inside
            at += 1
            continue
        if gap:
            tokens[count] = mix64(_chained(_ZERO, np.uint64(_BLANK)))
            count += 1
        length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        tokens[count] = mix64(_chained(_ZERO, load64(low, at) & (~_ZERO >> np.uint64(64 - 8 * length))))
        count += 1
        at += length
        inside, gap = _ONE, _ZERO
    state[_INSIDE], state[_CHAIN], state[_LOW] = inside, gap, _ZERO
    return count


@part
def next_tokens(data, at, end, classes, kind, fold, exact, low, raw, spaced, edges, tokens, count, state):
    """Hashes of the tokens of the next block of a text into `tokens` from `count` on; returns (at, count).

    `low`, `raw` and `spaced` (uint8) have BLOCK + SLACK entries, `edges` (int64) as many; `tokens` has room for BLOCK + SLACK more.
    Start a text with a fresh `state` (`begin`), and call while at < end. Without `exact` the exact hash is left out.
    """
    at, low_end, raw_end = _fill(data, at, end, classes, kind, fold, exact, low, raw, spaced, state)
    if exact:
        _digest(raw, raw_end, at >= end, state)
    if kind == CHAR:
        return at, _take_chars(low, low_end, tokens, count, state)
    return at, _take_words(low, low_end, at >= end, edges, tokens, count, state)


@part
def exact_hash(state):
    """Hash of the text that was read, white space collapsed; 0 for an empty one."""
    return mix64(state[_EXACT])


@part
def flags(state):
    """Table bits (`shingles.SUSPECT`) of what the scanner met beyond ASCII."""
    return state[_FLAGS]


@part
def characters(state):
    """Code points read."""
    return np.int64(state[_CHARS])
