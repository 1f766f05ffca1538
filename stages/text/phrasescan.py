"""The kernel of `phrases.tally`: walks an automaton over bytes."""

from __future__ import annotations

import numpy as np

from stages.text.characters import ALNUM, HANGUL
from stages.text.compiled import boolean, kernel, part, reads, writes
from stages.text.utf8 import point


@part
def _is_whole_word(data, first, start, stop, last, classes):
    """No letter or digit touches `data[start:stop]` inside `data[first:last]`; Hangul may follow it."""
    if start > first:
        before = start - 1
        while before > first and data[before] & 0xC0 == 0x80:
            before -= 1
        char, _ = point(data, before, last)
        if classes[char] & ALNUM:
            return False
    if stop < last:
        char, _ = point(data, stop, last)
        kind = classes[char]
        if kind & ALNUM and not kind & HANGUL:
            return False
    return True


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.int64),
    reads(np.uint16),
    reads(np.uint16),
    reads(np.int32, 2),
    reads(np.int32),
    reads(np.int32),
    reads(np.int32),
    writes(np.int32),
    boolean,
    writes(np.int32, 2),
)
def scan(data, starts, stops, classes, columns, step, ends, next_end, sizes, groups, whole_words, counts):
    """Add to `counts[i, g]` every phrase of group g that ends in stretch i."""
    for i in range(len(starts)):
        state = 0
        for at in range(starts[i], stops[i]):
            state = step[state, columns[data[at]]]
            here = state if ends[state] >= 0 else next_end[state]
            while here >= 0:
                phrase = ends[here]
                after = at + 1
                if not whole_words or _is_whole_word(data, starts[i], after - sizes[phrase], after, stops[i], classes):
                    counts[i, groups[phrase]] += 1
                here = next_end[here]
