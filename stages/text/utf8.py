"""Reading UTF-8 bytes inside kernels. Never out of bounds, whatever the bytes are.

Valid UTF-8 reads as Python reads it; a broken or truncated sequence reads as U+FFFD and moves on, so that a kernel gives
an answer for any bytes. Texts that are not UTF-8 are refused before
(`stages/text/encoding.py`), because Python cannot read them.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import inlined, kernel, reads

BAD = 0xFFFD


@inlined
def point(data, at, end):
    """Code point at byte `at` (of `data[:end]`) and the byte after it."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, at + 1
    if lead < 0xE0:
        if at + 1 < end and lead >= 0xC2:
            return ((lead & 0x1F) << 6) | (np.int64(data[at + 1]) & 0x3F), at + 2
        return np.int64(BAD), at + 1
    if lead < 0xF0:
        if at + 2 < end:
            return ((lead & 0x0F) << 12) | ((np.int64(data[at + 1]) & 0x3F) << 6) | (
                np.int64(data[at + 2]) & 0x3F
            ), at + 3
        return np.int64(BAD), end
    if lead < 0xF5 and at + 3 < end:
        value = (
            ((lead & 0x07) << 18)
            | ((np.int64(data[at + 1]) & 0x3F) << 12)
            | ((np.int64(data[at + 2]) & 0x3F) << 6)
            | (np.int64(data[at + 3]) & 0x3F)
        )
        return (value if value < 0x110000 else np.int64(BAD)), at + 4
    return np.int64(BAD), end


@kernel(reads(np.uint8), reads(np.int64))
def lengths(data, offsets):
    """Code points per text: bytes that are not continuation bytes. int64, n."""
    n = len(offsets) - 1
    out = np.zeros(n, np.int64)
    for row in range(n):
        count = 0
        for at in range(offsets[row], offsets[row + 1]):
            count += (data[at] & 0xC0) != 0x80
        out[row] = count
    return out
