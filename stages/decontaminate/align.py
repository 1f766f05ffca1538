"""The kernel of `windows.locate`: a short string against every stretch of a longer one."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel, reads


@kernel(reads(np.uint32), reads(np.uint32))
def best_stretch(wanted, text):
    """The stretch of `text` that fewest insertions, deletions and replacements turn into `wanted`: (edits, start, end).

    Sellers 1980, with the start of the best way carried along. Of equal stretches the first, as long as it can be.
    """
    size = len(wanted)
    column, begin = np.arange(size + 1), np.zeros(size + 1, np.int64)
    least, start, end = size, 0, 0
    for at in range(len(text)):
        corner, corner_begin = 0, at  # the row above, one to the left; a match may begin anywhere for nothing
        begin[0] = at + 1
        for i in range(1, size + 1):
            cost, own = corner + (wanted[i - 1] != text[at]), corner_begin
            # a character of the text too many, or one of `wanted` left out
            for other, its in ((column[i] + 1, begin[i]), (column[i - 1] + 1, begin[i - 1])):
                if other < cost or other == cost and its < own:
                    cost, own = other, its
            corner, corner_begin = column[i], begin[i]
            column[i], begin[i] = cost, own
        if column[size] < least:
            least, start, end = column[size], begin[size], at + 1
    return least, start, end
