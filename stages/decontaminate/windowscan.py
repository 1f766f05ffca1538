"""Kernels of windows: hash all of them, or look them up in an index."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import int64, kernel, part, reads, writes
from stages.text.utf8 import point
from stages.text.words.walk import finished

BASE = np.uint64(0xD6E8FEB86659FD93)
_S20 = np.uint64(20)


@part
def _powers():
    out = np.empty(4096, np.uint64)
    out[0] = np.uint64(1)
    for i in range(1, len(out)):
        out[i] = out[i - 1] * BASE
    return out


@part
def counted(data, start, end, normal, marks, positions):
    """Write the counted characters of `data[start:end]` and their code point positions; how many there are."""
    n = 0
    at = start
    position = 0
    while at < end:
        char, at = point(data, at, end)
        mark = normal[char]
        if mark:
            marks[n] = mark
            positions[n] = position
            n += 1
        position += 1
    return n


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint32),
    reads(np.uint8),
    int64,
    writes(np.int32),
    writes(np.int32),
    writes(np.int32),
    writes(np.uint64),
)
def window_hashes(data, offsets, normal, weights, size, owner, first, length, hashes):
    """All windows of all texts; returns how many were written. Windows end where their weight reaches `size`."""
    powers = _powers()
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    marks, positions = np.empty(longest, np.uint32), np.empty(longest, np.int64)
    total = 0
    for row in range(len(offsets) - 1):
        n = counted(data, offsets[row], offsets[row + 1], normal, marks, positions)
        value, load, begin = np.uint64(0), 0, 0
        for stop in range(n):
            value = value * BASE + np.uint64(marks[stop])
            load += weights[marks[stop]]
            while load - weights[marks[begin]] >= size:
                value -= np.uint64(marks[begin]) * powers[stop - begin]
                load -= weights[marks[begin]]
                begin += 1
            if load >= size:
                owner[total], first[total], length[total] = row, begin, stop + 1 - begin
                hashes[total] = finished(value)
                total += 1
    return total


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint32),
    reads(np.uint8),
    int64,
    reads(np.uint8),
    reads(np.uint64),
    reads(np.int32),
    writes(np.int64, 2),
    int64,
)
def lookup(data, offsets, normal, weights, size, bitmap, keys, slots, hits, room):
    """Windows of the texts that are in the index.

    `bitmap` (bits, a power of two) is asked first; `keys` and `slots` are an open-addressing table from hash to entry
    (slot -1: free). `hits` (room x 5): text, entry, code point of the window's first character and after its last, counted
    characters before it. Returns how many there are; only the first `room` are written.
    """
    powers = _powers()
    bits = np.uint64(len(bitmap) * 8 - 1)
    mask = np.int64(len(keys) - 1)
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    marks, positions = np.empty(longest, np.uint32), np.empty(longest, np.int64)
    found = 0
    for row in range(len(offsets) - 1):
        n = counted(data, offsets[row], offsets[row + 1], normal, marks, positions)
        value, load, begin = np.uint64(0), 0, 0
        for stop in range(n):
            value = value * BASE + np.uint64(marks[stop])
            load += weights[marks[stop]]
            while load - weights[marks[begin]] >= size:
                value -= np.uint64(marks[begin]) * powers[stop - begin]
                load -= weights[marks[begin]]
                begin += 1
            if load < size:
                continue
            key = finished(value)
            bit = key & bits
            if not bitmap[bit >> np.uint64(3)] & (1 << (bit & np.uint64(7))):
                continue
            slot = np.int64(key >> _S20) & mask
            while slots[slot] >= 0:
                if keys[slot] == key:
                    if found < room:
                        hits[found, 0], hits[found, 1] = row, slots[slot]
                        hits[found, 2], hits[found, 3] = positions[begin], positions[stop] + 1
                        hits[found, 4] = begin
                    found += 1
                    break
                slot = (slot + 1) & mask
    return found


@kernel(reads(np.uint64), writes(np.uint8), writes(np.uint64), writes(np.int32))
def fill(keys_in, bitmap, keys, slots):
    """Put the distinct hashes `keys_in` (entry i) into the bitmap and the table."""
    bits = np.uint64(len(bitmap) * 8 - 1)
    mask = np.int64(len(keys) - 1)
    for entry in range(len(keys_in)):
        key = keys_in[entry]
        bit = key & bits
        bitmap[bit >> np.uint64(3)] |= np.uint8(1 << (bit & np.uint64(7)))
        slot = np.int64(key >> _S20) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        keys[slot] = key
        slots[slot] = entry
