"""The serialisation of a parsed page, cut into the arrays of a flat tree by one pass over its bytes."""

from __future__ import annotations

import numpy as np

from stages.ingest.flat.names import TAG, TEXT, attribute_of, table_of, tag_of
from stages.text.compiled import int64, kernel, uncounted, writes

VOID = table_of("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr")
RAW = table_of("script style xmp iframe noembed noframes plaintext")
"""Elements whose text is written as it is."""
SCRIPT = TAG["script"]
STRAYS = 64
"""Open elements looked at for the one that an end tag closes; what a parser wrote closes the last."""
STRETCH, ONE = np.uint64(32), np.uint64(1)
SHIFTS = np.zeros(256, np.bool_)
SHIFTS[[*range(9), 11, 12, *range(14, 32), ord("&")]] = True
"""Bytes of text and values that do not stand for themselves: control characters, which are read as blanks, and references."""


@uncounted
def small(byte):
    """An ASCII letter as a small one."""
    return byte | 32 if 65 <= byte <= 90 else byte


@uncounted
def is_at(data, at, word):
    """Does `word`, which has no capitals, stand at `at`?"""
    if at + len(word) > len(data):
        return False
    for place in range(len(word)):
        if small(data[at + place]) != word[place]:
            return False
    return True


AMP, LT, GT = (np.frombuffer(word, np.uint8) for word in (b"&amp;", b"&lt;", b"&gt;"))
NBSP, QUOT = (np.frombuffer(word, np.uint8) for word in (b"&nbsp;", b"&quot;"))
OPEN, SHUT, BANG, SCRIPTED = (np.frombuffer(word, np.uint8) for word in (b"<!--", b"-->", b"--!>", b"<script"))


@uncounted
def _settled(data, at, to, until):
    """Bytes from `at` to the next `until` written at `to` without references; (one past what was written, place of `until`)."""
    size = len(data)
    while at < size:
        byte = data[at]
        if byte == until:
            break
        step = 1
        if SHIFTS[byte]:
            if byte != 38:
                byte = 32
            elif is_at(data, at, AMP):
                step = 5
            elif is_at(data, at, LT):
                byte, step = 60, 4
            elif is_at(data, at, GT):
                byte, step = 62, 4
            elif is_at(data, at, QUOT):
                byte, step = 34, 6
            elif is_at(data, at, NBSP):
                data[to] = 0xC2
                to += 1
                byte, step = 0xA0, 6
        data[to] = byte
        to += 1
        at += step
    return to, at


@uncounted
def next_of(data, at, byte):
    """Where the next `byte` stands from `at` on; the end where there is none. Whole stretches of STRETCH bytes are compared at once."""
    size, here = np.uint64(len(data)), np.uint64(at)
    while here + STRETCH <= size:
        met = np.uint8(0)
        for place in range(STRETCH):
            met |= np.uint8(data[here + place] == byte)
        if met:
            break
        here += STRETCH
    while here < size and data[here] != byte:
        here += ONE
    return np.int64(here)


@uncounted
def after(data, at, byte):
    """One past the next `byte`; the end where there is none."""
    return min(next_of(data, at, byte) + 1, len(data))


@uncounted
def past_comment(data, at):
    """One past the end of the comment, doctype or instruction that begins at `at`."""
    if not is_at(data, at, OPEN):
        return after(data, at, 62)
    at += 4
    if at < len(data) and data[at] == 62:
        return at + 1
    if is_at(data, at, SHUT[1:]):
        return at + 2
    at = next_of(data, at, 45)
    while at < len(data) and not (is_at(data, at, SHUT) or is_at(data, at, BANG)):
        at = next_of(data, at + 1, 45)
    return min(at + (3 if is_at(data, at, SHUT) else 4), len(data))


@uncounted
def same(data, one, other, size):
    """Do the same names of `size` bytes stand at `one` and `other`?"""
    for place in range(size):
        if small(data[one + place]) != small(data[other + place]):
            return False
    return True


@uncounted
def _parts(data, at):
    """Does a name end at `at`?"""
    return at < len(data) and (data[at] == 62 or data[at] == 47 or data[at] == 32 or 9 <= data[at] <= 13)


@uncounted
def raw_end(data, at, name, size, is_script):
    """Where the end tag of an element of raw text stands, whose name of `size` bytes stands at `name`.

    A script that opened a comment may hold scripts with end tags of their own (WHATWG HTML, 13.2.5.26).
    """
    escaped = doubled = False
    while at < len(data):
        byte = data[at]
        if byte == 60:
            if data[min(at + 1, len(data) - 1)] == 47 and at + 2 + size < len(data):
                if same(data, at + 2, name, size) and _parts(data, at + 2 + size):
                    if not doubled:
                        return at
                    doubled = False
            elif is_script and not escaped and is_at(data, at, OPEN):
                escaped = True
                at += 3
            elif escaped and not doubled and is_at(data, at, SCRIPTED) and _parts(data, at + 7):
                doubled = True
        elif byte == 45 and escaped and is_at(data, at, SHUT):
            escaped = doubled = False
        at += 1
        if not escaped:
            at = next_of(data, at, 60)
    return at


@uncounted
def _attributes(data, at, attribute, begin, stop, owner, count, node):
    """Attributes of a tag from the blank behind its name on; (one past its `>`, attributes so far)."""
    size = len(data)
    while at < size and data[at] == 32:
        name = at + 1
        at = name + 1
        while at + 1 < size and not (data[at] == 61 and data[at + 1] == 34):
            at += 1
        found = attribute_of(data, name, at)
        if found < 0:
            at = after(data, at + 2, 34)
            continue
        value = at + 2
        ended, at = _settled(data, value, value, 34)
        at += 1
        if count < len(attribute):
            attribute[count], begin[count], stop[count], owner[count] = found, value, ended, node
            count += 1
    return after(data, at, 62), count


_INTS, _SHORTS = writes(np.int32), writes(np.int16)


@kernel(writes(np.uint8), _SHORTS, _INTS, _INTS, _SHORTS, _INTS, _INTS, _SHORTS, _INTS, _INTS, _INTS, int64)
def cut(data, tag, parent, end, depth, first, last, attribute, begin, stop, owner, limit):
    """Fill the arrays of the flat tree; (nodes, attributes, elements deeper than `limit`). Values and text are settled in place."""
    nodes = count = flattened = level = at = 0
    size = len(data)
    held = np.empty(len(tag) + 1, np.int32)  # open elements; ~node for one that is no node of its own
    named = np.empty(len(tag) + 1, np.int16)
    while at < size:
        above = held[level - 1] if level else -1
        if level and above < 0:
            above = ~above
        if data[at] != 60:
            start = at
            ended, at = _settled(data, start, start, 60)
            if level:
                nodes = _leaf(tag, parent, end, depth, first, last, nodes, above, start, ended)
            continue
        mark = data[at + 1] if at + 1 < size else 62
        if mark == 33 or mark == 63:
            at = past_comment(data, at)
            continue
        name = at + 2 if mark == 47 else at + 1
        at = name
        while at < size and data[at] != 62 and data[at] != 32:
            at += 1
        found = tag_of(data, name, at)
        if mark == 47:
            level = _close(end, held, named, level, found, nodes)
            at += 1
            continue
        wide = at - name
        node = nodes
        if level >= limit:
            node = ~above
            flattened += 1
            at, _ = _attributes(data, at, attribute, begin, stop, owner, len(attribute), node)
        else:
            fore = count
            at, count = _attributes(data, at, attribute, begin, stop, owner, count, node)
            nodes = _leaf(tag, parent, end, depth, first, last, nodes, above, fore, count)
            tag[node] = found
        if VOID[found]:
            continue
        held[level], named[level] = node, found
        level += 1
        if RAW[found]:
            start = at
            at = raw_end(data, start, name, wide, found == SCRIPT)
            if at > start:
                own = node if node >= 0 else ~node
                nodes = _leaf(tag, parent, end, depth, first, last, nodes, own, start, at)
    while level:
        level = _close(end, held, named, level, named[level - 1], nodes)
    return nodes, count, flattened


@uncounted
def _leaf(tag, parent, end, depth, first, last, nodes, above, start, ended):
    """One more node, as text until it is given a tag; the number of nodes."""
    tag[nodes] = TEXT
    parent[nodes] = above
    end[nodes] = nodes + 1
    depth[nodes] = depth[above] + 1 if above >= 0 else 0
    first[nodes], last[nodes] = start, ended
    return nodes + 1


@uncounted
def _close(end, held, named, level, found, nodes):
    """Close the innermost open element of this name, and those inside it; the level that is left."""
    for back in range(1, min(level, STRAYS) + 1):
        if named[level - back] == found:
            for place in range(level - back, level):
                if held[place] >= 0:
                    end[held[place]] = nodes
            return level - back
    return level
