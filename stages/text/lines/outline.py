"""The lines of a text as a table: where each stands, how it ends, its words and sentences.

Rules about lines (C4, RefinedWeb, boilerplate) are then array expressions over this table. Lines are those of
`str.splitlines`; blank ones are left out. Wiki citations (`[12]`, `[edit]`, `[citation needed]`) are found in the same
walk and read over where a line's end and its sentences are judged, as C4 does.
"""

from __future__ import annotations

import numpy as np

from stages.text.characters import BREAK, CLOSER, DIGIT, SPACE, TERMINAL
from stages.text.compiled import int64, kernel, part, reads, writes
from stages.text.lines.flags import BLANK_ABOVE, BROKEN_BY_LF, ENDED, TERMINATED
from stages.text.utf8 import point

MAX_LINES = 1 << 20
"""Lines of one text that the table holds (1,048,576); a text with more is refused by the rules that edit lines."""

_DOT, _LF, _CR, _OPEN, _SHUT = 0x2E, 0x0A, 0x0D, 0x5B, 0x5D
_ENDS = (0x2E, 0x3F, 0x21, 0x22, 0x27)
_EDIT = np.frombuffer(b"[edit]", np.uint8)
_NEEDED = np.frombuffer(b"[citation needed]", np.uint8)


@part
def _is_at(data, at, end, phrase):
    if at + len(phrase) > end:
        return False
    for i in range(len(phrase)):
        if data[at + i] != phrase[i]:
            return False
    return True


@part
def citation_end(data, at, end, classes):
    """Byte after the citation that begins at byte `at` (a `[`), or -1. A citation never crosses a line."""
    if _is_at(data, at, end, _EDIT):
        return at + len(_EDIT)
    if _is_at(data, at, end, _NEEDED):
        return at + len(_NEEDED)
    after = at + 1
    while after < end:
        char, following = point(data, after, end)
        if char == _SHUT:
            return following
        if not classes[char] & DIGIT:
            return -1
        after = following
    return -1


@kernel(reads(np.uint8), reads(np.int64), int64)
def room(data, offsets, max_lines):
    """Upper bounds for the tables: lines (at most `max_lines` a text) and citations in all texts."""
    lines = citations = 0
    for row in range(len(offsets) - 1):
        here = 1
        for at in range(offsets[row], offsets[row + 1]):
            byte = data[at]
            here += (byte <= 0x1E) | (byte == 0x85) | (byte == 0xA8) | (byte == 0xA9)
            citations += byte == _OPEN
        lines += min(here, max_lines)
    return lines, citations


@kernel(
    reads(np.uint8),
    reads(np.int64),
    reads(np.uint16),
    int64,
    writes(np.int64),
    writes(np.bool_),
    writes(np.int64, 2),
    writes(np.int32, 2),
    writes(np.uint8),
    writes(np.int64, 2),
    writes(np.int64),
)
def outline(data, offsets, classes, max_lines, bounds, whole, spans, numbers, flags, cites, cite_bounds):
    """Fill the line table.

    `bounds` (rows + 1) says which lines are whose; `whole` (rows) is False where a text has more than `max_lines`.
    `spans` (lines x 6): first byte, byte after the last, first code point, code point after the last (all of the line
    without its outer blanks), code point where the line begins, code point where the next line begins. `numbers`
    (lines x 4): words, longest word, sentences, citations. `cites` (citations x 2): code points; `cite_bounds` per line.
    """
    line = 0
    cite = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        bounds[row] = line
        whole[row] = True
        limit = line + max_lines
        cp = 0
        blank_above = True
        while at < end:
            line_start = cp
            words = longest = size = sentences = 0
            first_byte = first_cp = last_byte = last_cp = np.int64(0)
            final = np.int64(0)
            dots = 0
            skip = np.int64(-1)
            pending = stopped = False
            blank = torn = False  # a blank was met; it stands before citations that end the line
            found = cite
            single_lf = False
            while at < end:
                char, after = point(data, at, end)
                kind = classes[char]
                if kind & SPACE:
                    if size:
                        words += 1
                        longest = max(longest, size)
                        last_byte, last_cp = at, cp
                        size = 0
                    if kind & BREAK:
                        at = after
                        cp += 1
                        single_lf = char == _LF
                        if char == _CR and at < end and data[at] == _LF:
                            at += 1
                            cp += 1
                        break
                    if at >= skip:
                        blank = True
                        if stopped:
                            sentences += 1
                            pending = stopped = False
                else:
                    if words == 0 and size == 0:
                        first_byte, first_cp = at, cp
                    size += 1
                    if char == _OPEN and at >= skip:
                        stop = citation_end(data, at, end, classes)
                        if stop > 0:
                            skip = stop
                            cites[cite, 0] = cp
                            inside = at
                            width = 0
                            while inside < stop:
                                _, inside = point(data, inside, end)
                                width += 1
                            cites[cite, 1] = cp + width
                            cite += 1
                            torn |= blank
                    if at >= skip:
                        if char != _DOT:
                            dots = 0
                        elif blank:
                            dots = 1
                        else:
                            dots += 1
                        blank = torn = False
                        final = char
                        if kind & TERMINAL:
                            pending = stopped = True
                        elif not (stopped and kind & CLOSER):
                            pending = True
                            stopped = False
                at = after
                cp += 1
            if size:
                words += 1
                longest = max(longest, size)
                last_byte, last_cp = at, cp
            if words == 0:
                blank_above = True
                cite = found
                continue
            if line >= limit:
                whole[row] = False
                cite = found
                break
            mark = 0
            if (
                dots < 3
                and not torn
                and (
                    final == _ENDS[0]
                    or final == _ENDS[1]
                    or final == _ENDS[2]
                    or final == _ENDS[3]
                    or final == _ENDS[4]
                )
            ):
                mark |= ENDED
            if single_lf:
                mark |= BROKEN_BY_LF
            if stopped:
                mark |= TERMINATED
            if blank_above:
                mark |= BLANK_ABOVE
            blank_above = False
            flags[line] = mark
            spans[line, 0], spans[line, 1], spans[line, 2], spans[line, 3] = (
                first_byte,
                last_byte,
                first_cp,
                last_cp,
            )
            spans[line, 4], spans[line, 5] = line_start, cp
            numbers[line, 0], numbers[line, 1] = words, longest
            numbers[line, 2], numbers[line, 3] = sentences + pending, cite - found
            cite_bounds[line] = found
            line += 1
    bounds[len(offsets) - 1] = line
    cite_bounds[line] = cite


@kernel(reads(np.uint8), reads(np.int64), reads(np.int64), reads(np.uint16), reads(np.int64), writes(np.int64, 2))
def makeup(data, starts, ends, classes, flags, counts):
    """Characters per class: `counts[i, j]` = code points of `data[starts[i]:ends[i]]` with any of the bits `flags[j]`."""
    for i in range(len(starts)):
        at, end = starts[i], ends[i]
        while at < end:
            char, at = point(data, at, end)
            kind = classes[char]
            for j in range(len(flags)):
                counts[i, j] += (kind & flags[j]) != 0
