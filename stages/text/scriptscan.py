"""The kernel of `script.Scripts`: code points per class."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel
from stages.text.utf8 import point


@kernel
def count(data, offsets, classes, flags, limit, counts, chars, ends):
    """Per text, over at most `limit` code points: how many have any bit of each of `flags`; how many there were."""
    kinds = np.zeros(1 << 16, np.int64)
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        seen = 0
        while at < end and seen < limit:
            char, at = point(data, at, end)
            kinds[classes[char]] += 1
            seen += 1
        chars[row] = seen
        ends[row] = at
        # a text has few kinds of characters: sum each kind once instead of testing every flag per character
        at, left = offsets[row], seen
        while left:
            char, at = point(data, at, end)
            kind = np.int64(classes[char])
            left -= 1
            if kinds[kind]:
                for j in range(len(flags)):
                    if kind & flags[j]:
                        counts[row, j] += kinds[kind]
                kinds[kind] = 0
