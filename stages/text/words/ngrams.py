"""Repeated word n-grams of every length from 2 to 10, exactly, for little more than the price of one table.

An n-gram can only occur twice where both of its (n-1)-grams do. So words are named by small numbers, then only positions
whose word and next word both occur again are looked up as pairs, then only positions where two repeated pairs overlap as
triples, and so on: each level's list of positions is short and shrinks to nothing in ordinary text. Names are exact (a pair
of names gets a name), so no n-gram hash can collide.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel, part, reads, writes
from stages.text.words.walk import table_size

FIRST, LAST = 2, 10
TOP_LAST = 4
"""Top n-grams are measured for n = 2, 3, 4, repeated ones for n = 5 to 10 (Gopher, Rae et al. 2021, table A1)."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S32 = np.uint64(32)


@part
def _name(keys, names, base, key, fresh):
    """The number `key` was given in this generation (names from `base` on), or `base + fresh`, which it then has."""
    mask = len(keys) - 1
    slot = np.int64((key * _GOLDEN) >> _S32) & mask
    while names[slot] >= base:
        if keys[slot] == key:
            return names[slot] - base
        slot = (slot + 1) & mask
    keys[slot] = key
    names[slot] = base + fresh
    return fresh


@part
def _keep_repeated(positions, named, count, times):
    """Compact `positions`/`named` to those whose name occurs at least twice; how many are left. Written without branches."""
    left = 0
    for i in range(count):
        positions[left] = positions[i]
        named[left] = named[i]
        left += times[named[i]] >= 2
    return left


@part
def _top_chars(lens, base, n, positions, named, count, times, fresh):
    """Characters covered by the commonest n-gram (of those equally common, the first), blanks between words counted."""
    most = 1
    for name in range(fresh):
        if times[name] > most:
            most = times[name]
    position = 0
    if most > 1:
        for i in range(count):
            if times[named[i]] == most:
                position = positions[i]
                break
    size = n - 1
    for j in range(n):
        size += lens[base + position + j]
    return most * size


@part
def _repeated_chars(lens, base, n, positions, named, count, met, fresh):
    """Characters of n-grams met before, left to right, each counted n-gram skipped over as a whole."""
    for name in range(fresh):
        met[name] = 0
    total = 0
    free = 0
    for i in range(count):
        if positions[i] < free:
            continue
        if met[named[i]]:
            for j in range(n):
                total += lens[base + positions[i] + j]
            free = positions[i] + n
        else:
            met[named[i]] = 1
    return total


@kernel(reads(np.uint64), reads(np.int32), reads(np.int64), writes(np.int64, 2), writes(np.int64, 2))
def repeated(hashes, lens, bounds, top, dup):
    """Fill `top` (rows x 3: n = 2, 3, 4) and `dup` (rows x 6: n = 5 to 10) with characters.

    `top` is 0 where the text has fewer than n words. Positions come from `bounds` (rows + 1) into `hashes` and `lens`.
    """
    rows = len(bounds) - 1
    longest = 0
    for row in range(rows):
        longest = max(longest, bounds[row + 1] - bounds[row])
    size = table_size(longest)
    keys = np.zeros(size, np.uint64)
    names = np.empty(size, np.int64)
    for slot in range(size):
        names[slot] = -1
    positions = np.zeros(longest + 1, np.int32)
    named = np.zeros(longest + 1, np.int32)
    times = np.zeros(longest + 1, np.int32)
    met = np.zeros(longest + 1, np.uint8)
    base = np.int64(0)  # names only grow, so that a table is never cleared
    for row in range(rows):
        first, words = bounds[row], bounds[row + 1] - bounds[row]
        small = table_size(words)
        own_keys, own_names = keys[:small], names[:small]
        fresh = 0
        for i in range(words):
            name = _name(own_keys, own_names, base, hashes[first + i], fresh)
            fresh += name == fresh
            times[name] += 1
            positions[i] = i
            named[i] = name
        count = _keep_repeated(positions, named, words, times)
        for name in range(fresh):
            times[name] = 0
        base += fresh
        for n in range(FIRST, LAST + 1):
            if words < n:
                break
            fresh = 0
            pairs = 0
            for i in range(count - 1):
                if positions[i + 1] != positions[i] + 1:
                    continue
                key = (np.uint64(named[i]) << _S32) | np.uint64(named[i + 1])
                name = _name(own_keys, own_names, base, key, fresh)
                fresh += name == fresh
                times[name] += 1
                positions[pairs] = positions[i]
                named[pairs] = name
                pairs += 1
            count = _keep_repeated(positions, named, pairs, times)
            if n <= TOP_LAST:
                top[row, n - FIRST] = _top_chars(lens, first, n, positions, named, count, times, fresh)
            elif count > 0:
                dup[row, n - TOP_LAST - 1] = _repeated_chars(lens, first, n, positions, named, count, met, fresh)
            for name in range(fresh):
                times[name] = 0
            base += fresh
