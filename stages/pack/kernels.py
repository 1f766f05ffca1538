"""Tokens end to end: with what stands around each document, and piece by piece into rows."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import int64, kernel, reads, writes


@kernel(reads(np.int32), reads(np.int64), int64, reads(np.int32), reads(np.int32), writes(np.int32), counted=False)
def frame(tokens, bounds, least, before, after, out):
    """Documents `tokens[bounds[i]:bounds[i + 1]]` end to end into `out`, with `before` and `after` around each; those of fewer than
    `least` tokens are left out."""
    at = 0
    for doc in range(bounds.size - 1):
        if bounds[doc + 1] - bounds[doc] < least:
            continue
        for token in range(before.size):
            out[at + token] = before[token]
        at += before.size
        for token in range(bounds[doc], bounds[doc + 1]):
            out[at + token - bounds[doc]] = tokens[token]
        at += bounds[doc + 1] - bounds[doc]
        for token in range(after.size):
            out[at + token] = after[token]
        at += after.size


@kernel(reads(np.int32), reads(np.int64), reads(np.int64), int64)
def gather(tokens, begin, length, total):
    """The pieces `tokens[begin[i]:begin[i] + length[i]]` end to end, int32 of length `total`."""
    out = np.empty(total, np.int32)
    at = 0
    for piece in range(begin.size):
        for token in range(length[piece]):
            out[at + token] = tokens[begin[piece] + token]
        at += length[piece]
    return out
