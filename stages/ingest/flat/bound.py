"""A page's source without what no reader reads, and what makes lexbor's time or its tree grow faster than the source, by one compiled pass.

Nothing reads the content of styles, that of scripts but JSON-LD and TeX, nor attributes in no table of ours: half of a page's bytes,
which are then neither parsed nor written again. Formatting elements keep theirs, by which the standard tells them from each other.

The standard's tree construction is quadratic in five ways (WHATWG HTML, 13.2.4 and 13.2.6), and lexbor in two more: elements
inside each other, which are searched on nearly every tag; formatting elements left open, which are written again in every block
behind them; attributes of one tag, each held against all others, those of every further `html` and `body` tag too; options of
one `select`; and distinct names of elements and attributes, whose table does not grow. What passes the limits loses its tags,
never its text. The elements open and the list of formatting elements are followed as a parser does (`open.py`), so that an
ordinary page keeps all its tags.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from stages.ingest.flat.cut import BANG, OPEN, SCRIPT, SHUT, VOID, is_at, next_of, past_comment, raw_end, small
from stages.ingest.flat.cut import RAW as PLAIN
from stages.ingest.flat.names import ATTRIBUTE, TAG, UNKNOWN, attribute_of, table_of, tag_of
from stages.ingest.flat.open import (
    DROPPED,
    FORMATTING,
    FRAMES,
    HIDES,
    INTEGRATION,
    KNOWN,
    OPTIONS,
    PUT,
    ROOTS,
    SPECIAL,
    STACKED,
    STATES,
    TAGS,
    Open,
    closed,
    foreign,
    leave,
    listed,
    omit,
    push,
    put,
    rebuilt,
    room_in_list,
    settle,
)  # fmt: skip
from stages.text.compiled import kernel, reads, tuple_of, uncounted, writes

MAX_DEPTH = 400
"""Elements inside each other; tags deeper than that lose their tags. Browsers cap at 512; real pages stay under 60."""
MAX_FORMATTING = 64
"""Formatting elements left open at once between two cells."""
MAX_ATTRIBUTES = 200
"""Attributes of one tag that are kept; those behind are dropped."""
MAX_ROOTS = 64
"""`html` and `body` tags, whose attributes all go to one element."""
MAX_FRAMES = 64
"""Framesets; of a source with more none stands. Elements of raw text are none inside one, so that they are counted as words."""
MAX_OPTIONS = 300
"""Options of one `select`; of those behind only the words are kept."""
MAX_NAMES = 2_048
"""Names of elements, and of attributes of formatting elements, that are in no table of ours; behind that such tags and attributes are dropped."""
REBUILD_TIMES, REBUILD_FLOOR = 4, 1 << 16
"""Bytes that open formatting elements may be written again: so many times the source's size, and so many bytes."""

FRAMESET, SELECT, SVG, MATH, PLAINTEXT, ANNOTATION = (
    TAG[name] for name in "frameset select svg math plaintext annotation-xml".split()
)
ROOT = table_of("html head body")
A, STYLE = TAG["a"], TAG["style"]
ENCODING, TYPE = ATTRIBUTE["encoding"], ATTRIBUTE["type"]
KEPT = FORMATTING.copy()
"""Elements that keep all their attributes: three of the same attributes stand in one list at most. Of links only one does."""
KEPT[A] = False
RAW = (PLAIN | table_of("title textarea")) & ~table_of("plaintext")
"""Elements whose content is text up to their own end tag; `noscript` is none, since scripts are not run."""
OPTION = table_of("option optgroup hr")
REBUILDS = (
    ~SPECIAL | INTEGRATION | table_of("area br button embed img input select textarea wbr applet marquee object xmp")
)
"""Elements before which loose formatting elements are opened again."""
TEXT_HTML, XHTML = (np.frombuffer(word, np.uint8) for word in (b"text/html", b"application/xhtml+xml"))
LD, MATH_TYPE = (np.frombuffer(word, np.uint8) for word in (b"ld", b"math"))
CDATA, CDATA_END = (np.frombuffer(word, np.uint8) for word in (b"<![cdata[", b"]]>"))


class BoundedSource(NamedTuple):
    source: bytes
    changes: int
    """Tags and attributes taken out, and end tags put in, to stay within the limits."""
    tags: int
    """Start tags of the source."""
    hides: bool
    """Does a comment, tag or element of raw text reach to the end unclosed?"""


def bound(source: bytes) -> BoundedSource:
    """`source` (UTF-8) as it passes; the very bytes given where all of it does."""
    now = _passed(source, len(source), 0)
    if now.state[FRAMES] and len(re.findall(rb"<frameset", source, re.I)) > MAX_FRAMES:
        now = _passed(source, len(source), -1)
    put, changes, tags, hides = (int(now.state[at]) for at in (PUT, DROPPED, TAGS, HIDES))
    if put < len(source) or changes:
        source = now.out[:put].tobytes()
    return BoundedSource(source, changes, tags, bool(hides))


def _passed(source: bytes, room: int, frames: int) -> Open:
    """The source read, with what passes in `out`. End tags put in may need more `room` than it has: then it is read again."""
    now = _new(room)
    now.state[FRAMES] = frames
    read(np.frombuffer(source, np.uint8), now)
    put = int(now.state[PUT])
    return now if put <= room else _passed(source, put, frames)


def _new(room: int) -> Open:
    kinds = len(SPECIAL)
    return Open(
        np.empty(room, np.uint8),
        np.zeros(STATES, np.int64),
        np.empty((MAX_DEPTH + MAX_FORMATTING + 8, 5), np.int32),
        np.zeros(kinds, np.int32),
        np.zeros(kinds, np.int32),
        np.empty((2 * MAX_DEPTH + 8 * MAX_FORMATTING, 5), np.int32),
        np.zeros((2, 2 * MAX_NAMES), np.uint64),
    )


_INTS, _ROWS = writes(np.int32), writes(np.int32, 2)
_OPEN = tuple_of(Open, writes(np.uint8), writes(np.int64), _ROWS, _INTS, _INTS, _ROWS, writes(np.uint64, 2))


@kernel(reads(np.uint8), _OPEN, counted=False)
def read(data, now):
    """Read the source once: what it holds into `now.state`, and what passes into `now.out` where that has room."""
    at, size, most = 0, len(data), REBUILD_TIMES * len(data) + REBUILD_FLOOR
    while at < size:
        if data[at] == 60 and at + 1 < size:
            mark = small(data[at + 1])
            if 97 <= mark <= 122:
                at = _start(data, now, at, most)
                continue
            if mark == 33 or mark == 63:
                at = _comment(data, now, at)
                continue
            if mark == 47 and at + 2 < size:
                mark = small(data[at + 2])
                at = _end(data, now, at) if 97 <= mark <= 122 else past_comment(data, at)
                continue
        rebuilt(now, data, at, most)
        at = next_of(data, at + 1, 60)
    omit(now, data, size, size)


@uncounted
def _comment(data, now, at):
    """One past a comment, doctype, instruction or, in SVG and MathML, a CDATA section."""
    if foreign(now) and is_at(data, at, CDATA):
        while at < len(data) and not is_at(data, at, CDATA_END):
            at += 1
        return min(at + 3, len(data))
    end = past_comment(data, at)
    if end == len(data):
        ends = (
            is_at(data, end - 3, SHUT) or is_at(data, end - 4, BANG) if is_at(data, at, OPEN) else data[end - 1] == 62
        )
        now.state[HIDES] = not ends
    return end


@uncounted
def _past_name(data, at):
    while at < len(data) and not (data[at] == 62 or data[at] == 47 or _blank(data[at])):
        at += 1
    return at


@uncounted
def _blank(byte):
    return byte == 32 or byte == 9 or byte == 10 or byte == 12 or byte == 13


@uncounted
def _start(data, now, at, most):
    """One past the start tag at `at`, for an element of raw text past its end tag."""
    state, name = now.state, at + 1
    stop = _past_name(data, name)
    tag = tag_of(data, name, stop)
    state[TAGS] += 1
    if not _fits(data, now, tag, name, stop):
        end, _ = _attributes(data, now, stop, False, True)
        end = min(end, len(data))
        leave(now, data, at, end)
        if not FORMATTING[tag]:
            put(now, 32)
        if not VOID[tag] and not ROOT[tag] and tag != FRAMESET:
            now.gone[tag] += 1
        return end
    opens = settle(now, tag)
    if REBUILDS[tag] and not foreign(now):
        rebuilt(now, data, at, most)
    end, empty = _attributes(data, now, stop, True, KEPT[tag])
    if end > len(data):
        state[HIDES] = 1
        return len(data)
    inside = foreign(now)
    if inside or tag in (SVG, MATH):
        if empty:
            return end
    elif VOID[tag] or ROOT[tag] or tag == FRAMESET or not opens:
        return end
    elif RAW[tag]:
        return _past_raw(data, now, end, name, stop, tag)
    elif tag == PLAINTEXT:
        return len(data)
    if tag == SELECT:
        state[OPTIONS] = 0
    serial = listed(now, data, tag, at, end) if FORMATTING[tag] and not inside else 0
    push(now, tag, name, stop, serial, tag == ANNOTATION and _says_html(data, stop))
    return end


@uncounted
def _past_raw(data, now, at, name, stop, tag):
    """One past the end tag of an element of raw text, whose content begins at `at`."""
    end = raw_end(data, at, name, stop - name, tag == SCRIPT)
    if tag == STYLE or (tag == SCRIPT and not _is_read(data, stop)):
        omit(now, data, at, end)
    if end < len(data):
        end, _ = _attributes(data, now, end + 2 + stop - name, True, False)
    else:
        now.state[HIDES] = 1
    return min(end, len(data))


@uncounted
def _end(data, now, at):
    """One past the end tag at `at`."""
    name = at + 2
    stop = _past_name(data, name)
    tag = tag_of(data, name, stop)
    left_out = now.gone[tag] > 0 or (tag == UNKNOWN and _many(data, now, 0, name, stop))
    end, _ = _attributes(data, now, stop, not left_out, False)
    end = min(end, len(data))
    if left_out:
        now.gone[tag] -= now.gone[tag] > 0
        leave(now, data, at, end)
        if not FORMATTING[tag]:
            put(now, 32)
    else:
        closed(now, data, tag, name, stop)
    return end


@uncounted
def _fits(data, now, tag, name, stop):
    """May this start tag stand?"""
    state, inside = now.state, foreign(now)
    if tag == UNKNOWN and _many(data, now, 0, name, stop):
        return False
    if ROOT[tag]:
        state[ROOTS] += 1
        return state[ROOTS] <= MAX_ROOTS
    if tag == FRAMESET:
        if state[FRAMES] < 0:
            return False
        state[FRAMES] += 1
        return True
    if OPTION[tag] and now.count[SELECT]:
        state[OPTIONS] += 1
        if state[OPTIONS] > MAX_OPTIONS:
            return False
    if not inside and (VOID[tag] or RAW[tag]):
        return True
    if FORMATTING[tag] and not inside and not room_in_list(now, MAX_FORMATTING):
        return False
    return state[STACKED] < MAX_DEPTH


@uncounted
def _attribute(data, at):
    """(begin of the next attribute's name, its end, one past its value); begin -1 where the tag or the source ends."""
    size = len(data)
    while at < size and (data[at] == 47 or _blank(data[at])):
        at += 1
    if at >= size or data[at] == 62:
        return -1, at, at
    begin = at
    at += 1
    while at < size and not (data[at] == 61 or data[at] == 62 or data[at] == 47 or _blank(data[at])):
        at += 1
    return begin, at, _past_value(data, at)


@uncounted
def _attributes(data, now, at, keeps, all_of_them):
    """From behind a tag's name to one past its `>`, two past the end where there is none; does the tag end in `/>`?

    Where the tag `keeps` its attributes those in no table are left out, unless it keeps `all_of_them`. A quote opens a value only behind an equals sign (WHATWG HTML, 13.2.5.32 to 13.2.5.39).
    """
    size, count = len(data), 0
    while True:
        begin, stop, at = _attribute(data, at)
        if begin < 0:
            break
        if not keeps:
            continue
        if attribute_of(data, begin, stop) < 0:
            if not all_of_them:
                omit(now, data, begin, min(at, size))
                continue
            if _many(data, now, 1, begin, stop):
                leave(now, data, begin, min(at, size))
                continue
        count += 1
        if count > MAX_ATTRIBUTES:
            leave(now, data, begin, min(at, size))
    return (at + 1, data[at - 1] == 47) if at < size else (size + 2, False)


@uncounted
def _is_read(data, at):
    """Is the content of the script whose name ends at `at` one that is read: JSON-LD or TeX? A type with a reference may be either."""
    while True:
        begin, stop, at = _attribute(data, at)
        if begin < 0:
            return False
        if attribute_of(data, begin, stop) == TYPE:
            for place in range(stop, min(at, len(data))):
                if data[place] == 38 or is_at(data, place, LD) or is_at(data, place, MATH_TYPE):
                    return True


@uncounted
def _says_html(data, at):
    """Does the tag whose name ends at `at` give the encoding under which the content of `annotation-xml` is HTML?"""
    while True:
        begin, stop, at = _attribute(data, at)
        if begin < 0:
            return False
        if attribute_of(data, begin, stop) == ENCODING:
            while stop < at and (data[stop] == 61 or data[stop] == 34 or data[stop] == 39 or _blank(data[stop])):
                stop += 1
            size = at - stop - (at > stop and (data[at - 1] == 34 or data[at - 1] == 39))
            return (size == len(TEXT_HTML) and is_at(data, stop, TEXT_HTML)) or (
                size == len(XHTML) and is_at(data, stop, XHTML)
            )


@uncounted
def _past_value(data, at):
    """One past the value of the attribute whose name ends at `at`; `at` where it has none."""
    size, look = len(data), at
    while look < size and _blank(data[look]):
        look += 1
    if look >= size or data[look] != 61:
        return at
    look += 1
    while look < size and _blank(data[look]):
        look += 1
    if look < size and (data[look] == 34 or data[look] == 39):
        quote = data[look]
        return next_of(data, look + 1, quote) + 1
    while look < size and data[look] != 62 and not _blank(data[look]):
        look += 1
    return look


@uncounted
def _many(data, now, kind, begin, stop):
    """Is this an unknown name that is one too many? Kind 0 are elements, 1 attributes."""
    value = np.uint64(14695981039346656037)  # FNV-1a
    for at in range(begin, stop):
        value = np.uint64((value ^ np.uint64(small(data[at]))) * np.uint64(1099511628211))
    value |= np.uint64(1)
    slots = now.names[kind]
    place = np.int64(value >> np.uint64(40)) % len(slots)
    while slots[place] != 0:
        if slots[place] == value:
            return False
        place = (place + 1) % len(slots)
    if now.state[KNOWN + kind] >= MAX_NAMES:
        return True
    now.state[KNOWN + kind] += 1
    slots[place] = value
    return False
