"""Search in a small ascending array: numba's `np.searchsorted` takes half a second of compiling for each type it is given."""

from __future__ import annotations

from stages.text.compiled import part


@part
def holds(ascending, value):
    """Is `value` in the ascending array?"""
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < ascending.size and ascending[low] == value
