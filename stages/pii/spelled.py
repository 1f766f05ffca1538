"""Mail addresses spelled out to keep robots away: `hong [at] naver.com`, `hong(골뱅이)naver (dot) com`, `hong 골뱅이 naver 점 com`. Compiled.

Read outward from the first letter of the host, where the scanner stops anyway. What guards precision: the sign must be
bracketed, or the Korean word for it, which otherwise is a sea snail; a mailbox of two ASCII signs or more must stand right
before it, a host of two labels or more right behind it, and the host must end in two letters or a common top-level domain.
A bare ` at ` is English and stays.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import part

LOCAL_LIMIT = 64
LABELS = 6
"""Labels of a host, more than mail hosts have."""
LABEL_LIMIT = 63
"""RFC 1035."""
ENDINGS = "com net org edu gov biz xyz dev shop"
"""Top-level domains of three letters or more that count, none that is a word of programs (name, info, int); every one of two letters does."""

_LOCAL = np.zeros(256, np.bool_)
_LABEL = np.zeros(256, np.bool_)
for _code in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
    _LOCAL[_code] = _LABEL[_code] = True
for _code in b"._%+-":
    _LOCAL[_code] = True
_LABEL[ord("-")] = True


def _table(words: str) -> np.ndarray:
    table = np.zeros((len(words.split()), 12), np.uint8)
    for row, word in enumerate(words.split()):
        table[row, 0] = len(word.encode())
        table[row, 1 : 1 + len(word.encode())] = list(word.encode())
    return table


_ENDINGS, _SIGNS, _SNAIL, _DOTS = _table(ENDINGS), _table("at @ 골뱅이"), _table("골뱅이"), _table("dot 점 닷")


@part
def _word(data, start, end, table):
    """Size of the table's word at `start`, ASCII letters in either case; 0 where none stands."""
    for row in range(table.shape[0]):
        size = np.int64(table[row, 0])
        same = start + size <= end
        for k in range(size):
            if not same:
                break
            c = data[start + k]
            same = (c | 32 if 65 <= c <= 90 else c) == table[row, 1 + k]
        if same:
            return size
    return 0


@part
def _opens(c):
    return c == 40 or c == 91 or c == 123


@part
def _sign(data, low, at):
    """Where the spelled `@` that ends at `at` begins, blanks around it included; -1 where none ends there."""
    stop = at - 1 if at > low and data[at - 1] == 32 else at
    if stop - 9 >= low and _word(data, stop - 9, stop, _SNAIL) > 0:
        start = stop - 9
    else:
        if stop <= low or not (data[stop - 1] == 41 or data[stop - 1] == 93 or data[stop - 1] == 125):
            return -1
        stop -= 1
        if stop > low and data[stop - 1] == 32:
            stop -= 1
        start = -1
        for row in range(_SIGNS.shape[0]):
            size = np.int64(_SIGNS[row, 0])
            if stop - size >= low and _word(data, stop - size, stop, _SIGNS[row : row + 1]) > 0:
                start = stop - size
        if start < 0:
            return -1
        if start > low and data[start - 1] == 32:
            start -= 1
        if start <= low or not _opens(data[start - 1]):
            return -1
        start -= 1
    return start - 1 if start > low and data[start - 1] == 32 else start


@part
def _dot(data, at, high):
    """Where the label behind the dot at `at`, plain or spelled, begins; -1 where no dot stands."""
    if at < high and data[at] == 46:
        return at + 1
    begin = at + 1 if at < high and data[at] == 32 else at
    if begin < high and _opens(data[begin]):
        begin += 1
        if begin < high and data[begin] == 32:
            begin += 1
        size = _word(data, begin, high, _DOTS)
        if size == 0:
            return -1
        begin += size
        if begin < high and data[begin] == 32:
            begin += 1
        if begin >= high or not (data[begin] == 41 or data[begin] == 93 or data[begin] == 125):
            return -1
        begin += 1
        return begin + 1 if begin < high and data[begin] == 32 else begin
    size = _word(data, begin, high, _DOTS) if begin > at else 0
    return begin + size + 1 if size and begin + size < high and data[begin + size] == 32 else -1


@part
def _ending(data, start, end):
    for at in range(start, end):
        c = data[at] | 32
        if c < 97 or c > 122:
            return False
    if end - start == 2:
        return True
    size = _word(data, start, end, _ENDINGS)
    return size > 0 and size == end - start


@part
def spelled_mailbox(data, low, high, at):
    """(start, end) of the address whose host begins at `at`; start -1 where there is none."""
    sign = _sign(data, low, at)
    if sign < 0:
        return -1, -1
    start = sign
    while start > low and sign - start <= LOCAL_LIMIT and _LOCAL[data[start - 1]]:
        start -= 1
    if sign - start > LOCAL_LIMIT:
        return -1, -1
    while start < sign and not (_LABEL[data[start]] and data[start] != 45) and data[start] != 95:
        start += 1
    if sign - start < 2 or data[sign - 1] == 46:
        return -1, -1
    label, end = at, -1
    for number in range(LABELS):
        stop = label
        while stop < high and stop - label <= LABEL_LIMIT and _LABEL[data[stop]]:
            stop += 1
        if stop == label or stop - label > LABEL_LIMIT or data[label] == 45 or data[stop - 1] == 45:
            break
        if number > 0 and _ending(data, label, stop):
            end = stop
        label = _dot(data, stop, high)
        if label < 0 or label >= high:
            break
    return (start, end) if end > 0 else (-1, -1)
