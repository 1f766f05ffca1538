"""The kernel of `script.Scripts`: code points per class."""

from __future__ import annotations

import numpy as np

from stages.text.compiled import int64, kernel, part, reads, writes
from stages.text.utf8 import point


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint16),
    reads(np.int64),
    int64,
    writes(np.int64, 2),
    writes(np.int64),
    writes(np.int64),
)
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


QUOTED = 64
"""Code points within which a quotation or bracket must close, on its line, to count as one."""
_OPEN = np.array([ord(sign) for sign in '「『“"（(«《〈‹„'], np.int64)
_SHUT = np.array([ord(sign) for sign in '」』”"）)»》〉›“'], np.int64)


@part
def _closes(data, at, end, shut):
    """Byte of the sign that closes a quotation opened before `at`, or -1."""
    for _ in range(QUOTED):
        if at >= end:
            return -1
        char, after = point(data, at, end)
        if char == shut:
            return at
        if char == 0x0A or char == 0x0D:
            return -1
        at = after
    return -1


@kernel(reads(np.uint8), reads(np.int64), reads(np.int64), reads(np.uint8), writes(np.int64, 3), writes(np.int64, 2))
def letters(data, starts, ends, table, counts, cases):
    """Per stretch: letters by script (`writing.scripts`), outside short quotations and in them (`counts`: n x 2 x scripts), and
    letters in capitals and in small letters (`cases`: n x 2). All int64."""
    for text in range(len(starts)):
        at, end = starts[text], ends[text]
        shut, quoted = np.int64(-1), 0
        while at < end:
            if at >= shut:
                quoted = 0
            char, after = point(data, at, end)
            entry = np.int64(table[char])
            if entry:
                counts[text, quoted, (entry & 63) - 1] += 1
                cases[text, 0] += (entry >> 6) & 1
                cases[text, 1] += entry >> 7
            elif not quoted and char != 0x20:
                for sign in range(len(_OPEN)):
                    if char == _OPEN[sign]:
                        shut = _closes(data, after, end, _SHUT[sign])
                        quoted = shut >= 0
                        break
            at = after
