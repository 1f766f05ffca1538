"""Sorting long lists of 64-bit keys with the numbers that belong to them: a radix sort, stable."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel, uncounted, writes

BITS = 11
"""Bits of a key a pass looks at: 2,048 positions written to at a time fit the second-level cache."""
PASSES = -(-64 // BITS)


def sorted_pairs(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`keys` (uint64) ascending and `values` (int64) along with them; equal keys keep their order."""
    keys, values = np.array(keys), np.array(values, np.int64)
    other_keys, other_values = np.empty_like(keys), np.empty_like(values)
    return (other_keys, other_values) if _sort(keys, values, other_keys, other_values) else (keys, values)


@kernel(writes(np.uint64), writes(np.int64), writes(np.uint64), writes(np.int64))
def _sort(keys, values, other_keys, other_values):
    """Sort; True when the result lies in the spare arrays."""
    mask = np.uint64((1 << BITS) - 1)
    counts = np.zeros((PASSES, 1 << BITS), np.int64)
    for key in keys:
        for number in range(PASSES):
            counts[number, np.int64((key >> np.uint64(number * BITS)) & mask)] += 1
    moved = False
    for number in range(PASSES):
        starts = counts[number]
        if keys.size == 0 or starts[np.int64((keys[0] >> np.uint64(number * BITS)) & mask)] == keys.size:
            continue  # a digit that all keys share sorts nothing
        total = 0
        for digit in range(starts.size):
            total += starts[digit]
            starts[digit] = total - starts[digit]
        for index in range(keys.size):
            digit = np.int64((keys[index] >> np.uint64(number * BITS)) & mask)
            at = starts[digit]
            other_keys[at], other_values[at] = keys[index], values[index]
            starts[digit] = at + 1
        keys, values, other_keys, other_values = other_keys, other_values, keys, values
        moved = not moved
    return moved


@uncounted
def sort_first(values, count):
    """Sort the first `count` values, ascending, in place (heapsort). `ndarray.sort` takes numba two seconds to compile."""
    for root in range(count // 2 - 1, -1, -1):
        _sink(values, root, count)
    for last in range(count - 1, 0, -1):
        values[0], values[last] = values[last], values[0]
        _sink(values, 0, last)


@uncounted
def _sink(values, root, count):
    """Move the value at `root` down the heap of the first `count` values to where it belongs."""
    value, child = values[root], 2 * root + 1
    while child < count:
        if child + 1 < count and values[child] < values[child + 1]:
            child += 1
        if values[child] <= value:
            break
        values[root] = values[child]
        root, child = child, 2 * child + 1
    values[root] = value
