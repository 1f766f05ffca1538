"""One spelling for what is written in many: full-width forms, odd blanks and dashes, zero-width signs, loose jamo.

`０１０－１２３４` , `010<zero width space>-1234` and a name in decomposed jamo read as a person reads them, so the
detector sees them as plain ASCII and composed syllables. Only texts that hold such a sign are folded; each folded byte
remembers the bytes it came from, so that a span found in the folded text covers the original wholly, hidden signs
included.

Folded: U+FF01..FF5E and U+3000 to ASCII; blanks of other widths to a blank; hyphens, dashes and minus to `-`; Arabic-Indic
and mathematical digits to ASCII digits; signs without a width (zero-width, bidirectional, soft hyphen, grapheme joiner,
variation selectors, fillers, tags) to nothing; conjoining jamo to syllables (the arithmetic of Unicode 3.12). Between two
letters or digits only: long-vowel marks and box lines to `-`, middle dots, bullets and ideographic full stops to `.`. A
line break goes where it stands inside a value: beside a dash between digits, within a group of digits between dashes, behind
the `@` of an address.
"""

from __future__ import annotations

import numpy as np

from stages.pii.kernels.among import holds
from stages.text.compiled import kernel, part, reads

KEEP, DROP, HANGUL, JOINING_DASH, JOINING_DOT = -1, -2, -3, -4, -5


def _among(points: tuple[int, ...]) -> np.ndarray:
    return np.array(sorted(points), np.int64)


_DASHES = _among(
    (
        0x2D7,
        0x5BE,
        0x1806,
        0x2043,
        0x207B,
        0x208B,
        0x2500,
        0x2501,
        0x2E3A,
        0x2E3B,
        0x301C,
        0x3030,
        0x30FC,
        0x3161,
        0xFF70,
    )
)
_DOTS = _among(
    (
        0xB7,
        0x387,
        0x119E,
        0x2022,
        0x2024,
        0x2027,
        0x2219,
        0x22C5,
        0x25CF,
        0x25E6,
        0x3002,
        0x30FB,
        0x318D,
        0xFE52,
        0xFF61,
        0xFF65,
    )
)


@part
def _point(data, at, end):
    """Code point at `at` and its size in bytes; malformed bytes are points of their own."""
    c = np.int64(data[at])
    if c < 0xC2:
        return c, 1
    if c < 0xE0:
        return ((c & 31) << 6 | (data[at + 1] & 63), 2) if at + 1 < end else (c, 1)
    if c < 0xF0:
        return (
            ((c & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | (data[at + 2] & 63), 3) if at + 2 < end else (c, 1)
        )
    if at + 3 < end:
        return (c & 7) << 18 | (np.int64(data[at + 1]) & 63) << 12 | (np.int64(data[at + 2]) & 63) << 6 | (
            data[at + 3] & 63
        ), 4
    return c, 1


@part
def folded(point):
    """ASCII code of what `point` stands for; KEEP as it is, DROP as nothing, HANGUL for a leading consonant; JOINING_DASH and
    JOINING_DOT for what stands for `-` and `.` between two letters or digits."""
    if point < 0x80:
        return KEEP
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
        if (
            point == 0x34F
            or point == 0x61C
            or point == 0x115F
            or point == 0x1160
            or 0x17B4 <= point <= 0x17B5
            or 0x180B <= point <= 0x180F
        ):
            return DROP
        return _joining(point)
    if point < 0x2100:
        if point <= 0x200A or point == 0x202F or point == 0x205F:
            return 32
        if 0x2010 <= point <= 0x2015:
            return 45
        if point <= 0x200F or 0x202A <= point <= 0x202E or 0x2060 <= point <= 0x206F:
            return DROP
        return _joining(point)
    if point == 0x2212 or point == 0xFE63 or point == 0xFE58:
        return 45
    if point == 0x3000 or point == 0x2800:
        return 32
    if 0xFF01 <= point <= 0xFF5E:
        return point - 0xFF01 + 33
    if (
        point == 0xFEFF
        or 0xFE00 <= point <= 0xFE0F
        or point == 0x3164
        or point == 0xFFA0
        or 0xE0000 <= point <= 0xE0FFF
    ):
        return DROP
    if 0x1D7CE <= point <= 0x1D7FF:
        return (point - 0x1D7CE) % 10 + 48
    return _joining(point)


@part
def _joining(point):
    if point > 0xFFFF or (0x3400 <= point < 0xFE00):
        return KEEP
    if holds(_DASHES, point):
        return JOINING_DASH
    return JOINING_DOT if holds(_DOTS, point) else KEEP


@part
def _digit(c):
    return 48 <= c <= 57


@part
def _alnum(c):
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122


@part
def _alnum_before(data, start, at):
    """Is the sign before `at` an ASCII letter or digit, or a full-width one?"""
    if at <= start:
        return False
    if at - 3 >= start and data[at - 3] == 0xEF and data[at - 1] >= 0x80:
        return _alnum(folded(_point(data, at - 3, at)[0]))
    return _alnum(data[at - 1])


@part
def _alnum_at(data, at, end):
    if at >= end:
        return False
    return _alnum(folded(_point(data, at, end)[0])) if data[at] == 0xEF else _alnum(data[at])


@part
def _folded_there(data, start, at, end, point, size):
    """What the sign at `at` is folded to where it stands: an ASCII code, KEEP, DROP or HANGUL."""
    to = folded(point)
    if to != JOINING_DASH and to != JOINING_DOT:
        return to
    stop = at + size
    joins = _alnum_before(data, start, at) and _alnum_at(data, stop, end)
    if not joins and at - 2 >= start and stop + 1 < end and data[at - 1] == 32 and data[stop] == 32:
        joins = _digit(data[at - 2]) and _digit(data[stop + 1])
    return (45 if to == JOINING_DASH else 46) if joins else KEEP


@part
def _parts_a_group(data, start, at, end):
    """Does the line break at `at` part a group of at most four digits with a dash and a digit on either side?

    The last group of a number, and the first, are left: the next line may begin with a number of its own.
    """
    left, right = at - 1, at + 1
    while left >= start and at - left <= 4 and _digit(data[left]):
        left -= 1
    while right < end and right - at <= 4 and _digit(data[right]):
        right += 1
    if right - left - 2 > 4 or left - 1 < start or right + 1 >= end:
        return False
    return data[left] == 45 and data[right] == 45 and _digit(data[left - 1]) and _digit(data[right + 1])


@part
def _inside_value(data, start, at, end):
    """Does the line break at `at` stand inside a number or an address?"""
    if at - 1 < start or at + 1 >= end:
        return False
    before, behind = data[at - 1], data[at + 1]
    if before == 45 and at - 2 >= start:
        return _digit(data[at - 2]) and _digit(behind)
    if before == 64 and at - 2 >= start:
        return _alnum(data[at - 2]) and _alnum(behind)
    if _digit(before) and _digit(behind):
        return _parts_a_group(data, start, at, end)
    return _digit(before) and behind == 45 and at + 2 < end and _digit(data[at + 2])


@part
def needs_folding(data, start, end):
    """Does `data[start:end]` hold a sign that folds? One look at each byte above ASCII."""
    at = start
    while at < end:
        c = data[at]
        if c < 0xC2:
            if c == 10 and _inside_value(data, start, at, end):
                return True
            at += 1
        elif 0xE4 <= c <= 0xED:
            at += 3
        else:
            point, size = _point(data, at, end)
            if _folded_there(data, start, at, end, point, size) != KEEP:
                return True
            at += size
    return False


@part
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


@part
def _fold(data, start, end, out, begins, ends):
    """Fold `data[start:end]` into `out`; `begins[k]:ends[k]` are the bytes that `out[k]` stands for. Returns the size.

    `out`, `begins` and `ends` must hold `end - start` items: folding never lengthens.
    """
    at, n = start, 0
    while at < end:
        point, size = _point(data, at, end)
        if point == 10:
            to = DROP if _inside_value(data, start, at, end) else KEEP
        else:
            to = _folded_there(data, start, at, end, point, size)
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


@kernel(reads(np.uint8), reads(np.int64))
def foldable(data, offsets):
    """int64[k]: the texts that hold a sign that folds; text i is `data[offsets[i]:offsets[i + 1]]`."""
    found = np.zeros(offsets.size - 1, np.int64)
    n = 0
    for item in range(offsets.size - 1):
        if needs_folding(data, offsets[item], offsets[item + 1]):
            found[n] = item
            n += 1
    return found[:n]


@kernel(reads(np.uint8), reads(np.int64), reads(np.int64))
def fold(data, offsets, items):
    """The texts `items` folded into one buffer: (bytes, offsets, begins, ends), the last two offsets in `data` per byte."""
    room = 0
    for item in items:
        room += offsets[item + 1] - offsets[item]
    out, begins, ends = np.empty(room, np.uint8), np.empty(room, np.int64), np.empty(room, np.int64)
    item_bounds = np.zeros(items.size + 1, np.int64)
    for k in range(items.size):
        at = item_bounds[k]
        size = _fold(data, offsets[items[k]], offsets[items[k] + 1], out[at:], begins[at:], ends[at:])
        item_bounds[k + 1] = at + size
    return out[: item_bounds[-1]], item_bounds, begins, ends
