"""One spelling for what is written in many: full-width forms, odd blanks and dashes, zero-width signs, loose jamo.

`０１０－１２３４` , `010<zero width space>-1234` and a name in decomposed jamo read as a person reads them, so the
detector sees them as plain ASCII and composed syllables. Only texts that hold such a sign are folded; each folded byte
remembers the bytes it came from, so that a span found in the folded text covers the original wholly, hidden signs
included.

Folded: U+FF01..FF5E and U+3000 to ASCII; blanks of other widths to a blank; hyphens, dashes and minus to `-`; Arabic-Indic
and mathematical digits to ASCII digits; zero-width, bidirectional and soft-hyphen signs to nothing; conjoining jamo to
syllables (the arithmetic of Unicode 3.12).
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import kernel

KEEP, DROP, HANGUL = -1, -2, -3


@kernel
def _point(data, at, end):
    """Code point at `at` and its size in bytes; malformed bytes are points of their own."""
    c = np.int64(data[at])
    if c < 0xC2:
        return c, 1
    if c < 0xE0:
        return ((c & 31) << 6 | (data[at + 1] & 63), 2) if at + 1 < end else (c, 1)
    if c < 0xF0:
        return ((c & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | (data[at + 2] & 63), 3) if at + 2 < end else (c, 1)
    if at + 3 < end:
        return (c & 7) << 18 | (np.int64(data[at + 1]) & 63) << 12 | (np.int64(data[at + 2]) & 63) << 6 | (data[at + 3] & 63), 4
    return c, 1


@kernel
def folded(point):
    """ASCII code of what `point` stands for; KEEP as it is, DROP as nothing, HANGUL for a leading consonant."""
    if point < 0x2000:
        if point == 0xA0:
            return 32
        if point == 0xAD:
            return DROP
        if 0x660 <= point <= 0x669:
            return point - 0x660 + 48
        if 0x6F0 <= point <= 0x6F9:
            return point - 0x6F0 + 48
        if 0x1100 <= point <= 0x1112:
            return HANGUL
        return KEEP
    if point < 0x2100:
        if point <= 0x200A or point == 0x202F or point == 0x205F:
            return 32
        if 0x2010 <= point <= 0x2015:
            return 45
        if point <= 0x200F or 0x202A <= point <= 0x202E or 0x2060 <= point <= 0x206F:
            return DROP
        return KEEP
    if point == 0x2212 or point == 0xFE63 or point == 0xFE58:
        return 45
    if point == 0x3000:
        return 32
    if 0xFF01 <= point <= 0xFF5E:
        return point - 0xFF01 + 33
    if point == 0xFEFF:
        return DROP
    if 0x1D7CE <= point <= 0x1D7FF:
        return (point - 0x1D7CE) % 10 + 48
    return KEEP


@kernel
def needs_folding(data, start, end):
    """Does `data[start:end]` hold a sign that folds? One look at each byte above ASCII."""
    at = start
    while at < end:
        c = data[at]
        if c < 0xC2:
            at += 1
        elif 0xE4 <= c <= 0xED:
            at += 3
        else:
            point, size = _point(data, at, end)
            if folded(point) != KEEP:
                return True
            at += size
    return False


@kernel
def _compose(data, at, end, lead):
    """The syllable that begins with `lead` at `at`, and where it ends; 0 where no vowel follows."""
    if at + 5 >= end:
        return 0, at
    vowel, _ = _point(data, at + 3, end)
    if vowel < 0x1161 or vowel > 0x1175:
        return 0, at
    syllable, stop = 0xAC00 + ((lead - 0x1100) * 21 + vowel - 0x1161) * 28, at + 6
    if stop + 2 < end:
        tail, _ = _point(data, stop, end)
        if 0x11A8 <= tail <= 0x11C2:
            return syllable + tail - 0x11A7, stop + 3
    return syllable, stop


@kernel
def _fold(data, start, end, out, begins, ends):
    """Fold `data[start:end]` into `out`; `begins[k]:ends[k]` are the bytes that `out[k]` stands for. Returns the size.

    `out`, `begins` and `ends` must hold `end - start` items: folding never lengthens.
    """
    at, n = start, 0
    while at < end:
        point, size = _point(data, at, end)
        to = folded(point)
        if to == HANGUL:
            syllable, stop = _compose(data, at, end, point)
            if syllable > 0:
                out[n] = 0xE0 | syllable >> 12
                out[n + 1] = 0x80 | (syllable >> 6 & 63)
                out[n + 2] = 0x80 | (syllable & 63)
                for k in range(3):
                    begins[n + k], ends[n + k] = at, stop
                n, at = n + 3, stop
                continue
            to = KEEP
        if to == KEEP:
            for k in range(size):
                out[n], begins[n], ends[n] = data[at + k], at, at + size
                n += 1
        elif to != DROP:
            out[n], begins[n], ends[n] = to, at, at + size
            n += 1
        at += size
    return n


@kernel
def foldable(data, offsets):
    """int64[k]: the texts that hold a sign that folds; text i is `data[offsets[i]:offsets[i + 1]]`."""
    found = np.zeros(offsets.size - 1, np.int64)
    n = 0
    for item in range(offsets.size - 1):
        if needs_folding(data, offsets[item], offsets[item + 1]):
            found[n] = item
            n += 1
    return found[:n]


@kernel
def fold(data, offsets, items):
    """The texts `items` folded into one buffer: (bytes, offsets, begins, ends), the last two places in `data` per byte."""
    room = 0
    for item in items:
        room += offsets[item + 1] - offsets[item]
    out, begins, ends = np.empty(room, np.uint8), np.empty(room, np.int64), np.empty(room, np.int64)
    places = np.zeros(items.size + 1, np.int64)
    for k in range(items.size):
        at = places[k]
        size = _fold(data, offsets[items[k]], offsets[items[k] + 1], out[at:], begins[at:], ends[at:])
        places[k + 1] = at + size
    return out[: places[-1]], places, begins, ends
