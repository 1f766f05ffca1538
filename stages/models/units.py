"""Texts cut into units that no token crosses, each numbered by its bytes: what was tokenised once need not be again.

A unit is a run of blanks with the run of other characters behind it, or one line break. It ends before a blank that follows
something else and on both sides of a line break. U+2581, which SentencePiece writes for a blank, counts as one when it stands
before a blank, so that a run of both is never cut. A unit is found by a 64-bit hash and verified byte by byte.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.text.compiled import inlined, int64, kernel, part, reads, writes

_BLANK, _BREAK = np.uint8(0x20), np.uint8(0x0A)
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_UPPER, _LOWER = np.uint64(0xFFFFFFFF00000000), np.uint64(0xFFFFFFFF)
_SEED = np.uint64(0xCBF29CE484222325)


class KnownUnits(NamedTuple):
    """Units seen so far; unit i is `arena[ends[i]:ends[i + 1]]`."""

    slots: np.ndarray
    """uint64, a power of two of them: the upper half of a unit's hash, and its number + 1 in the lower; 0 where none is."""
    hashes: np.ndarray
    """uint64 per unit."""
    arena: np.ndarray
    """uint8, the units' bytes end to end."""
    ends: np.ndarray
    """int64, one more than there is room for units."""
    filled: np.ndarray
    """int64 (1): units."""


def known(units: int, room: int) -> KnownUnits:
    """Room for `units` units of `room` bytes together."""
    slots = 1 << max(4, int(units * 2 - 1).bit_length())
    return KnownUnits(
        np.zeros(slots, np.uint64),
        np.zeros(units, np.uint64),
        np.zeros(room, np.uint8),
        np.zeros(units + 1, np.int64),
        np.zeros(1, np.int64),
    )


def number(data: np.ndarray, offsets: np.ndarray, store: KnownUnits) -> tuple[np.ndarray, np.ndarray, int]:
    """The units of texts `data[offsets[i]:offsets[i + 1]]`: (numbers int32, bounds int64 per text, texts done).

    Fewer texts are done than given where `store` has no room for all of a text's units: go on from there with a fresh one. A text is
    numbered whole or not at all.
    """
    numbers = np.empty(int(offsets[-1] - offsets[0]) if len(offsets) else 0, np.int32)
    bounds = np.zeros(len(offsets), np.int64)
    done = _number(data, offsets, *store, numbers, bounds)
    return numbers[: bounds[done]], bounds[: done + 1], done


@kernel(
    reads(np.uint8),
    reads(np.int64),
    writes(np.uint64),
    writes(np.uint64),
    writes(np.uint8),
    writes(np.int64),
    writes(np.int64),
    writes(np.int32),
    writes(np.int64),
)
def _number(data, offsets, slots, hashes, arena, ends, filled, numbers, bounds):
    at = 0
    for row in range(offsets.size - 1):
        begin, end = offsets[row], offsets[row + 1]
        before = filled[0]
        while begin < end:
            stop, code = _unit(data, begin, end)
            found = _find(data, begin, stop, code, slots, hashes, arena, ends, filled)
            if found < 0:
                _forget(before, slots, hashes, filled)
                return row
            numbers[at] = found
            at += 1
            begin = stop
        bounds[row + 1] = at
    return offsets.size - 1


@part
def _unit(data, begin, end):
    """(end of the unit that begins here, its hash)."""
    code = (_SEED ^ np.uint64(data[begin])) * _MULTIPLY
    if data[begin] == _BREAK:
        return begin + 1, code ^ (code >> np.uint64(29))
    at = begin + 1
    while at < end:
        byte = data[at]
        if byte == _BREAK:
            break
        if byte == _BLANK and data[at - 1] != _BLANK and not _escaped(data, begin, at):
            break
        code = (code ^ np.uint64(byte)) * _MULTIPLY
        at += 1
    code ^= code >> np.uint64(32)
    return at, code * _MULTIPLY ^ (code >> np.uint64(29))


@inlined
def _escaped(data, begin, at):
    """Does U+2581 (E2 96 81) stand right before `at`, inside the unit?"""
    return at - begin >= 3 and data[at - 1] == 0x81 and data[at - 2] == 0x96 and data[at - 3] == 0xE2


@part
def _find(data, begin, end, code, slots, hashes, arena, ends, filled):
    """The unit's number, entered where it is new; -1 where there is no room."""
    mask = slots.size - 1
    slot = np.int64(code & np.uint64(mask))
    while slots[slot]:
        held = slots[slot]
        if held & _UPPER == code & _UPPER:
            unit = np.int64(held & _LOWER) - 1
            if _same(data, begin, end, arena, ends[unit], ends[unit + 1]):
                return unit
        slot = (slot + 1) & mask
    unit = filled[0]
    if unit == hashes.size or ends[unit] + end - begin > arena.size:
        return -1
    for at in range(begin, end):
        arena[ends[unit] + at - begin] = data[at]
    ends[unit + 1] = ends[unit] + end - begin
    hashes[unit] = code
    slots[slot] = code & _UPPER | np.uint64(unit + 1)
    filled[0] = unit + 1
    return unit


@part
def _same(data, begin, end, arena, first, last):
    if end - begin != last - first:
        return False
    for at in range(end - begin):
        if data[begin + at] != arena[first + at]:
            return False
    return True


@part
def _forget(before, slots, hashes, filled):
    """Take back the units entered since there were `before`: the newest first, so that no chain is broken."""
    mask = slots.size - 1
    for unit in range(filled[0] - 1, before - 1, -1):
        slot = np.int64(hashes[unit] & np.uint64(mask))
        while np.int64(slots[slot] & _LOWER) != unit + 1:
            slot = (slot + 1) & mask
        slots[slot] = np.uint64(0)
    filled[0] = before


@kernel(reads(np.int32), reads(np.int64), reads(np.int64))
def lengths(numbers, bounds, starts):
    """Tokens per text (int64), of units whose tokens are `starts[u] .. starts[u + 1]`."""
    found = np.zeros(bounds.size - 1, np.int64)
    for row in range(found.size):
        for at in range(bounds[row], bounds[row + 1]):
            found[row] += starts[numbers[at] + 1] - starts[numbers[at]]
    return found


@kernel(reads(np.int32), reads(np.int64), reads(np.int32), int64)
def join(numbers, starts, tokens, total):
    """The units' tokens end to end, int32 of length `total`."""
    out = np.empty(total, np.int32)
    write = 0
    for at in range(numbers.size):
        for token in range(starts[numbers[at]], starts[numbers[at] + 1]):
            out[write] = tokens[token]
            write += 1
    return out
