"""Hashed words of class names and texts, and the counting of equal keys: integers only, so that every machine agrees.

A word of a class name is a run of ASCII letters, split where a small letter meets a capital (`postBody` is `post`, `body`);
a word of a text is a run without spaces and ASCII punctuation, ASCII letters in lower case. Both are FNV-1a hashes of 32 bits.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import int64, kernel, part, reads, uncounted

OFFSET = np.uint32(2166136261)
PRIME = np.uint32(16777619)
MOST_WORDS = 12
"""Words read of one attribute's value."""


@uncounted
def step(state, byte):
    return np.uint32(np.uint32(state ^ np.uint32(byte)) * PRIME)


@uncounted
def class_words(data, start, stop, salt, out, at):
    """Writes the hashes of an attribute's words to `out[at:]`, with the pairs of words in one class name; returns the next free place."""
    state = np.uint32(OFFSET ^ np.uint32(salt))
    length = 0
    previous = np.uint32(0)
    apart = True
    found = 0
    small_before = False
    for i in range(start, stop + 1):
        byte = data[i] if i < stop else np.uint8(32)
        capital = 65 <= byte <= 90
        small = 97 <= byte <= 122
        if length and ((not (capital or small)) or (capital and small_before)):
            if length > 1:
                if found >= MOST_WORDS or at + 2 > len(out):
                    return at
                out[at] = state
                at += 1
                found += 1
                if not apart:
                    out[at] = np.uint32(np.uint32(previous * np.uint32(31)) ^ state)
                    at += 1
                previous = state
                apart = False
            state = np.uint32(OFFSET ^ np.uint32(salt))
            length = 0
        if capital or small:
            state = step(state, byte | np.uint8(32))
            length += 1
        elif byte <= 32:
            apart = True
        small_before = small
    return at


@kernel(reads(np.uint8), int64)
def name_words(name, salt):
    """Hashes of the words of a class name (`salt` 0) or another attribute's value, and of each with the word before it."""
    out = np.zeros(2 * len(name) + 2, np.uint32)
    return out[: class_words(name, 0, len(name), salt, out, 0)]


def first_word(name: np.ndarray, salt: int) -> int:
    """Hash of the first word of a class name (`salt` 0) or another attribute; 0 where it has none."""
    words = name_words(name, salt)
    return words[0] if len(words) else np.uint32(0)


@uncounted
def find(keys, values, key):
    """Value of a key in an open table (a power of two of slots, 0 for a free one), or 0."""
    mask = len(keys) - 1
    slot = np.int64(key) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return np.int64(values[slot])
        slot = (slot + 1) & mask
    return np.int64(0)


@kernel(reads(np.uint32), reads(np.int16), int64)
def fill(keys, values, size):
    """An open table of `size` slots (a power of two, over the number of keys) for `find`."""
    mask = size - 1
    table = np.zeros(size, np.uint32)
    found = np.zeros(size, np.int16)
    for i in range(len(keys)):
        key = keys[i]
        if key == 0:
            continue
        slot = np.int64(key) & mask
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & mask
        table[slot] = key
        found[slot] = values[i]
    return table, found


def open_table(words: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(keys, values) of uint32 words and int16 values as an open table for `find`."""
    return fill(words, values, 1 << max(4, int(2 * len(words)).bit_length()))


@uncounted
def mix(a, b):
    """One 64-bit key of two."""
    x = np.uint64(np.uint64(a) * np.uint64(0x9E3779B97F4A7C15)) + np.uint64(b)
    x ^= x >> np.uint64(29)
    x = np.uint64(x * np.uint64(0xBF58476D1CE4E5B9))
    return np.uint64(x ^ (x >> np.uint64(32)))


@part
def groups(keys):
    """The number of a key's group (in order of first sight) for each key, and the number of groups."""
    size = 16
    while size < 2 * len(keys):
        size *= 2
    mask = size - 1
    slots = np.full(size, -1, np.int32)
    out = np.empty(len(keys), np.int32)
    first = np.empty(len(keys), np.int32)
    count = 0
    for i in range(len(keys)):
        slot = np.int64(keys[i] ^ (keys[i] >> np.uint64(31))) & mask
        while slots[slot] >= 0 and keys[first[slots[slot]]] != keys[i]:
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot] = count
            first[count] = i
            count += 1
        out[i] = slots[slot]
    return out, count
