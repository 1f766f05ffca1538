"""The kernel of `windows.likeness`: a short string against every stretch of a longer one."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel


@kernel
def least_edits(wanted, text):
    """Fewest insertions, deletions and replacements that turn some stretch of `text` into `wanted` (Sellers 1980)."""
    size = len(wanted)
    column = np.arange(size + 1)
    least = size
    for at in range(len(text)):
        corner = 0  # the row above, one to the left; a match may begin anywhere for nothing
        for i in range(1, size + 1):
            change = corner + (wanted[i - 1] != text[at])
            corner = column[i]
            column[i] = min(change, min(column[i], column[i - 1]) + 1)
        least = min(least, column[size])
    return least
