"""The kernel of `language.heads_of`: words of a text that are words."""

from __future__ import annotations

from numba import njit

from stages.text.characters import SPACE
from stages.text.compiled import kernel
from stages.text.utf8 import point

_APOSTROPHE, _HYPHEN = 0x27, 0x2D


@njit(nogil=True)
def _is_mark(byte):
    """ASCII punctuation and control characters."""
    return byte < 0x80 and not (0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A)


@njit(nogil=True)
def _is_word(data, start, end):
    """Letters (anything beyond ASCII counts) with marks around them, apostrophes and hyphens inside: no code, no number."""
    while start < end and _is_mark(data[start]):
        start += 1
    while start < end and _is_mark(data[end - 1]):
        end -= 1
    for at in range(start, end):
        byte = data[at]
        if byte < 0x80 and byte != _APOSTROPHE and byte != _HYPHEN and (_is_mark(byte) or 0x30 <= byte <= 0x39):
            return False
    return end > start


@njit(nogil=True)
def _copy(data, at, end, classes, limit, reach, words_only, out, to):
    """Copy words of `data[at:end]` to `out[to:]`, a blank after each: the place after them, and code points copied."""
    copied = seen = 0
    while at < end and copied < limit and seen < reach:
        char, after = point(data, at, end)
        seen += 1
        if classes[char] & SPACE:
            at = after
            continue
        start, size = at, 0
        while at < end and copied + size < limit:
            char, after = point(data, at, end)
            if classes[char] & SPACE:
                break
            at = after
            size += 1
        seen += size
        if not words_only or _is_word(data, start, at):
            for i in range(start, at):
                out[to] = data[i]
                to += 1
            out[to] = 0x20
            to += 1
            copied += size + 1
    return to, copied


@njit(nogil=True)
def _middle(data, at, end):
    """A byte near the middle of `data[at:end]` at which a word begins."""
    at += (end - at) // 2
    while at < end and data[at] > 0x20:
        at += 1
    return at


@kernel
def gather_words(data, offsets, classes, limit, reach, out, bounds):
    """Copy words of each text, a blank after each, until `limit` code points are copied or `reach` are read.

    Of a text of more than four times `limit` bytes one half is copied from its start and one from its middle, so that a menu
    does not decide. A text without any word gives its first `limit` code points as they are, blanks as single ones.
    `bounds` (n + 1) says where each stands in `out`.
    """
    to = 0
    for row in range(len(offsets) - 1):
        bounds[row] = to
        at, end = offsets[row], offsets[row + 1]
        copied = 0
        middle = _middle(data, at, end) if end - at > 4 * limit else end
        if middle < end:
            to, first = _copy(data, at, middle, classes, limit // 2, reach // 2, True, out, to)
            to, second = _copy(data, middle, end, classes, limit - first, reach // 2, True, out, to)
            copied = first + second
        else:
            to, copied = _copy(data, at, end, classes, limit, reach, True, out, to)
        if not copied:
            to, copied = _copy(data, at, end, classes, limit, reach, False, out, to)
    bounds[len(offsets) - 1] = to
