"""Where tokens begin in their text, from what each id is worth alone."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel, reads, writes


@kernel(reads(np.int32), reads(np.int64), reads(np.int32), reads(np.int32), writes(np.int64), counted=False)
def sums_before(ids, at, counts, weights, found):
    """Into `found`: the sum of `counts` (per id) over the tokens before each of `at` (ascending). Returns the sum of `weights` over all."""
    total = weight = n = 0
    for token in range(ids.size):
        while n < at.size and at[n] == token:
            found[n] = total
            n += 1
        total += counts[ids[token]]
        weight += weights[ids[token]]
    while n < at.size:
        found[n] = total
        n += 1
    return weight
