"""The scanner: one pass over UTF-8 bytes, triggers only at digits, word beginnings, `@`, `+`, `(`, `::` and `%40`. Compiled.

At a trigger the automaton is walked as far as any rule still holds; sides and checks are asked at accepting states only,
labels only for what passed. A walk is bounded by its pattern; the unbounded ones (tokens of keys) run over signs that
begin no other walk, so that every byte is walked a bounded number of times and the whole is linear in the text.
"""

from __future__ import annotations

import numpy as np

from stages.pii.kernels import book as tables
from stages.pii.kernels import rules as sides
from stages.pii.kernels.address import address
from stages.pii.kernels.book import DOUBLE_COLON, ENCODED, MAIL, PASS, SCORES, SIGNED, START, rule_number
from stages.pii.kernels.checks import DIGITS, check
from stages.pii.kernels.forms import SHORTEST
from stages.pii.kernels.labels import KINDS, NEGATIVE
from stages.pii.kernels.mail import credentials, mailbox
from stages.pii.spelled import spelled_mailbox
from stages.text.compiled import int64, kernel, part, reads, tuple_of, writes

ITEM, BEGIN, END, RULE, SCORE = range(5)
ROOT, FREE_WALK = 1, 400
REACH_BACK, REACH_ON = 64, 48
"""Bytes looked at for labels before and behind a match; the longest reach of a label, and its length, fit in."""
REGION = KINDS["region"][0]
_CHECK, _LEFT, _RIGHT, _KINDS, _REGION = tables.CHECK, tables.LEFT, tables.RIGHT, tables.KINDS, tables.REGION
_BIT, _SIZE, _BEFORE, _BEHIND, _ALONE = tables.BIT, tables.SIZE, tables.BEFORE, tables.BEHIND, tables.ALONE
_ONE, _THREE = np.int64(1), np.int64(3)
_WORD, _UNDER, _JOIN, _LINK = sides.WORD, sides.UNDER, sides.JOIN, sides.LINK
_COLON, _SLASH, _SPACED, _PLUS, _DASH, _URL = sides.COLON, sides.SLASH, sides.SPACED, sides.PLUS, sides.DASH, sides.URL
_MAIL, _SPELLED, _CREDENTIALS = rule_number("mail"), rule_number("mail_spelled"), rule_number("credentials")
_ROAD, _LOT, _LABELLED = rule_number("road_address"), rule_number("lot_address"), rule_number("labelled_address")
_KEY = rule_number("private_key")
_KEY_LIMIT = 16_384
"""Bytes of a private key block behind its first line; 16,384-bit RSA takes 12,800."""


@part
def _digit(c):
    return 48 <= c <= 57


@part
def _letter(c):
    return 65 <= c <= 90 or 97 <= c <= 122


@part
def _in_url(data, low, at):
    """Does a URL's `://` stand before `at`, with at most 255 signs between that a URL may hold?"""
    for _ in range(256):
        if at - 3 >= low and data[at - 1] == 47 and data[at - 2] == 47 and data[at - 3] == 58:
            return True
        at -= 1
        if (
            at < low
            or data[at] <= 32
            or data[at] >= 127
            or data[at] == 34
            or data[at] == 39
            or data[at] == 60
            or data[at] == 62
        ):
            return False
    return False


@part
def left_sides(data, low, start):
    """Mask of what stands directly before `start`."""
    if start == low:
        return 0
    c = data[start - 1]
    if _digit(c) or _letter(c):
        return _WORD
    if c == 95:
        return _UNDER
    if c == 58:
        return _COLON
    if c == 43:
        return _PLUS
    mask = _DASH if c == 45 else 0
    if (c == 47 or c == 61) and _in_url(data, low, start - 1):
        mask |= _URL
    if start - 1 == low:
        return mask
    p = data[start - 2]
    if c == 45 or c == 46:
        if _digit(p):
            mask |= _JOIN
        elif _letter(p) or p == 95:
            mask |= _LINK
    elif c == 47 and (_digit(p) or _letter(p)):
        mask |= _SLASH
    elif c == 32 and _digit(p):
        mask |= _SPACED
    return mask


@part
def right_sides(data, end, high):
    """Mask of what stands directly behind `end`."""
    if end == high:
        return 0
    c = data[end]
    if _digit(c) or _letter(c):
        return _WORD
    if c == 95:
        return _UNDER
    if c == 58:
        return _COLON
    if c == 43:
        return _PLUS
    mask = _DASH if c == 45 else 0
    if end + 1 == high:
        return mask
    p = data[end + 1]
    if c == 45 or c == 46:
        if _digit(p):
            mask |= _JOIN
        elif _letter(p) or p == 95:
            mask |= _LINK
    elif c == 47 and (_digit(p) or _letter(p)):
        mask |= _SLASH
    elif c == 32 and _digit(p):
        mask |= _SPACED
    return mask


@part
def situation(book, kinds, data, low, high, start, end):
    """(0 no label, 1 a label of `kinds`, 2 one of another kind of number) and where a region's name begins, else `start`."""
    state, nearest, begin = ROOT, np.int64(0), start
    for at in range(max(low, start - REACH_BACK), start):
        state = book.label_moves[state * book.label_width + book.signs[2, data[at]]]
        size, gap = np.int64(0), start - at - 1
        for k in range(book.label_first[state], book.label_first[state + 1]):
            w = book.label_words[k]  # longest first; one word can be of two kinds
            if (
                (size == 0 or size == book.words[w, _SIZE])
                and gap <= book.words[w, _BEFORE]
                and _whole_word(book, data, low, high, w, at + 1)
                and _names(data, at + 1, start)
            ):
                nearest = (nearest if size else 0) | book.words[w, _BIT]
                size = book.words[w, _SIZE]
                begin = at + 1 - size
    if nearest & kinds:
        return 1, begin if nearest & kinds & REGION else start
    if nearest & NEGATIVE:
        return 2, start
    state = ROOT
    for at in range(end, min(high, end + REACH_ON)):
        if data[at] == 10:
            break  # the next line's label is for what follows it
        state = book.label_moves[state * book.label_width + book.signs[2, data[at]]]
        for k in range(book.label_first[state], book.label_first[state + 1]):
            w = book.label_words[k]
            gap = at + 1 - book.words[w, _SIZE] - end
            if gap <= book.words[w, _BEHIND] and _whole_word(book, data, low, high, w, at + 1):
                if book.words[w, _BIT] & kinds:
                    return 1, start
                if book.words[w, _BIT] & NEGATIVE:
                    return 2, start
                break
    return 0, start


@part
def _names(data, at, start):
    """Does a label that ends at `at` name the number at `start`? Not across a line in which other words stand, and not
    past another number (four digits or more) with words behind it: a label names one number."""
    while at < start and (data[at] >= 0x80 or _letter(data[at])):
        at += 1
    words, line, digits, since = False, False, 0, False
    for k in range(at, start):
        c = data[k]
        if c >= 0x80 or _letter(c):
            words, since = True, digits >= 4
        elif _digit(c):
            words, digits, since = True, digits + 1, False
        elif c == 10:
            line = True
    return not (line and words) and not since


@part
def _whole_word(book, data, low, high, w, end):
    """Latin labels are whole words."""
    if not book.words[w, _ALONE]:
        return True
    begin = end - book.words[w, _SIZE]
    return (begin == low or not _letter(data[begin - 1])) and (end == high or not _letter(data[end]))


@part
def _append(book, data, low, high, floor, hits, n, start, end, rule, quality):
    """Score a match and append it; returns the new count. The caller has made room."""
    column = SCORES + 3 * quality
    plain = book.rules[rule, column]
    begin = start
    if plain != book.rules[rule, column + 1] or plain != book.rules[rule, column + 2]:
        which, begin = situation(book, book.rules[rule, _KINDS], data, low, high, start, end)
        column += which
    if book.rules[rule, column] < floor:
        return n
    hits[n, BEGIN] = begin if book.rules[rule, _REGION] else start
    hits[n, END] = end
    hits[n, RULE] = rule
    hits[n, SCORE] = book.rules[rule, column]
    return n + 1


@part
def _key_block(data, end, high):
    """End of the private key whose first line ends at `end`: behind its last line, or where its text stops."""
    stop, limit = end, min(high, end + _KEY_LIMIT)
    while stop < limit:
        c = data[stop]
        if (
            c == 45
            and stop + 9 <= limit
            and data[stop + 5] == 69
            and data[stop + 6] == 78
            and data[stop + 7] == 68
            and data[stop + 4] == 45
        ):
            stop += 8
            while stop < limit and data[stop] != 45 and data[stop] != 10:
                stop += 1
            while stop < limit and data[stop] == 45:
                stop += 1
            return stop
        if c >= 0x80 or c == 60 or c == 62 or c == 96:
            break
        stop += 1
    while stop > end and data[stop - 1] <= 32:
        stop -= 1
    return stop


@part
def _walk(book, on, data, low, high, floor, start, hits, n, scratch):
    """Every rule's longest good match that begins at `start`; returns the count of hits and the farthest end."""
    state, at, begun, left, far = ROOT, start, n, -1, start
    while at < high:
        state = book.moves[state * book.width + book.signs[1, data[at]]]
        if state == 0:
            break
        at += 1
        first, last = book.first[state], book.first[state + 1]
        if first != last:
            if left < 0:
                left = left_sides(data, low, start)
            right = right_sides(data, at, high)
            for k in range(first, last):
                rule = book.accepts[k]
                if not on[rule] or left & book.rules[rule, _LEFT] or right & book.rules[rule, _RIGHT]:
                    continue
                quality = check(book.rules[rule, _CHECK], data, start, at, high, scratch)
                if quality < 0:
                    continue
                row = begun
                while row < n and hits[row, RULE] != rule:
                    row += 1
                hits[row, END], hits[row, RULE], hits[row, SCORE] = at, rule, quality
                n = max(n, row + 1)
        if at - start > FREE_WALK and start > low and (data[start - 1] == 45 or data[start - 1] == 95):
            break
    kept = begun
    for row in range(begun, n):
        end, rule, quality = hits[row, END], hits[row, RULE], hits[row, SCORE]
        kept = _append(book, data, low, high, floor, hits, kept, start, end, rule, quality)
    for row in range(begun, kept):
        if hits[row, RULE] == _KEY:
            if start - 5 >= low and data[start - 1] == 45 and data[start - 5] == 45:
                hits[row, BEGIN] = start - 5
            hits[row, END] = _key_block(data, hits[row, END], high)
        far = max(far, hits[row, END])
    return kept, far


@part
def _at_sign(book, on, data, low, high, floor, at, size, hits, n):
    if on[_MAIL]:
        start, end = mailbox(data, low, high, at, size)
        if start >= 0:
            n = _append(book, data, low, high, floor, hits, n, start, end, _MAIL, _ONE)
    if on[_CREDENTIALS] and size == 1:
        start, end = credentials(data, low, high, at)
        if start >= 0:
            n = _append(book, data, low, high, floor, hits, n, start, end, _CREDENTIALS, _ONE)
    return n


@part
def _address(book, data, low, high, floor, at, hits, n):
    start, end, kind = address(data, low, high, at)
    if kind == 0:
        return n
    rule = _ROAD if kind == 1 else (_LOT if kind == 2 else _LABELLED)
    return _append(book, data, low, high, floor, hits, n, start, end, rule, _ONE * (kind != 3))


@part
def _after_sign(c, before):
    """Can a spelled `@` end here: a closing bracket or the last byte of 골뱅이, with a blank or without?"""
    if c == 32:
        c = before
    return c == 0xB4 or c == 41 or c == 93 or c == 125


@part
def scan_text(book, on, data, low, high, floor, hits, n, scratch):
    """Hits of `data[low:high]` appended to `hits` from row `n`; returns the new count, -1 when room runs out."""
    room = hits.shape[0] - 96
    previous, resume, at = 0, low, low
    addresses, mails = on[_ROAD], on[_MAIL]
    signs, moves, width = book.signs[1], book.moves, book.width
    while at < high:
        kind = book.signs[0, data[at]]
        act = book.act[previous * 9 + kind]
        previous = kind
        if act == PASS or at < resume:
            at += 1
            continue
        if n > room:
            return -1
        if act == START:
            state, ahead, limit = ROOT, at, min(high, at + SHORTEST)
            while ahead < limit:
                state = moves[state * width + signs[data[ahead]]]
                if state == 0:
                    break
                ahead += 1
            if ahead == limit:
                n, far = _walk(book, on, data, low, high, floor, at, hits, n, scratch)
                if far - at > 64:
                    resume = far
            if addresses and kind == 1 and at > low and (data[at - 1] >= 0x80 or data[at - 1] == 32):
                n = _address(book, data, low, high, floor, at, hits, n)
            if mails and at > low and _after_sign(data[at - 1], data[at - 2] if at - 1 > low else 0):
                start, end = spelled_mailbox(data, low, high, at)
                if start >= 0:
                    n = _append(book, data, low, high, floor, hits, n, start, end, _SPELLED, _ONE)
        elif act == MAIL:
            n = _at_sign(book, on, data, low, high, floor, at, _ONE, hits, n)
        elif act == SIGNED:
            if at + 1 < high and (_digit(data[at + 1]) or data[at + 1] == 43):
                n, far = _walk(book, on, data, low, high, floor, at, hits, n, scratch)
        elif act == DOUBLE_COLON:
            if at + 1 < high and data[at + 1] == 58:
                n, far = _walk(book, on, data, low, high, floor, at, hits, n, scratch)
        elif act == ENCODED and at + 2 < high and data[at + 1] == 52 and data[at + 2] == 48:
            n = _at_sign(book, on, data, low, high, floor, at, _THREE, hits, n)
        at += 1
    return n


BOOK = tuple_of(
    tables.Book,
    writes(np.uint8, 2),
    writes(np.uint8),
    writes(np.int32),
    int64,
    writes(np.int32),
    writes(np.int32),
    writes(np.int64, 2),
    writes(np.int32),
    int64,
    writes(np.int32),
    writes(np.int32),
    writes(np.int64, 2),
)


@kernel(BOOK, reads(np.bool_), reads(np.uint8), reads(np.int64), int64, writes(np.int64, 2))
def scan(book, on, data, offsets, floor, hits):
    """Hits of texts: text i is `data[offsets[i]:offsets[i + 1]]`.

    `on` bool[rules]; `floor` the least score reported, a percentage; `hits` int64[room, 5] is filled with (item, begin,
    end, rule, score), begin and end being byte offsets into `data`. Returns how many, -1 when room ran out.
    """
    n = np.int64(0)
    scratch = np.zeros(DIGITS, np.int64)
    for item in range(offsets.size - 1):
        begun = n
        n = scan_text(book, on, data, offsets[item], offsets[item + 1], floor, hits, n, scratch)
        if n < 0:
            return n
        for row in range(begun, n):
            hits[row, ITEM] = item
    return n


@kernel(reads(np.uint8), int64, int64)
def code_points(data, start, end):
    """How many code points begin in `data[start:end]`."""
    n = 0
    for at in range(start, end):
        n += (data[at] & 0xC0) != 0x80
    return n
