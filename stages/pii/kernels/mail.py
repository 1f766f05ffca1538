"""Mail addresses and credentials in URLs: both hang on an `@`, and are read outward from it. Compiled.

Hangul beside an address: where an ASCII mailbox stands before the `@`, Hangul attached to it is the sentence's, since no
Korean provider gives Hangul mailboxes (`문의hong@...` is `hong@...`). Where Hangul itself stands before the `@` it is taken
as the mailbox (RFC 6531), all of the word: it mostly is a person's name, and a tag too many costs less than a name left.
Hangul host names are read where the label begins with a syllable; Hangul behind an ASCII label is a particle.
"""

from __future__ import annotations

import numpy as np

from stages.pii.kernels.address import syllable
from stages.text.compiled import part

LOCAL_LIMIT = 64
"""RFC 5321 4.5.3.1.1."""
DOMAIN_LIMIT = 253
"""RFC 1035, without the root label."""
CREDENTIALS_LIMIT = 256

_LOCAL = np.zeros(256, np.bool_)
_LABEL = np.zeros(256, np.bool_)
_SECRET = np.zeros(256, np.bool_)
for _code in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
    _LOCAL[_code] = _LABEL[_code] = True
for _code in b"._%+-":
    _LOCAL[_code] = True
_LABEL[ord("-")] = True
_OPENS = np.zeros(256, np.bool_)
for _code in b"(<[{,;:":
    _OPENS[_code] = True
for _code in range(33, 127):
    _SECRET[_code] = _code not in b"\"'<>`/\\|()[]{}, "

# Endings of files and one reserved name; `icon@2x.png` is no mailbox, and nobody can own one below `.invalid` (RFC 2606).
NO_DOMAINS = ("png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "js", "invalid")
_NO_DOMAINS = np.zeros((len(NO_DOMAINS), 8), np.uint8)
for _row, _name in enumerate(NO_DOMAINS):
    _NO_DOMAINS[_row, : len(_name)] = list(_name.encode())


HANGUL_ENDINGS = ("한국", "닷컴", "닷넷", "삼성")
"""The top-level domains in Hangul of the IANA root zone."""
_HANGUL_ENDINGS = np.array([list(_name.encode()) for _name in HANGUL_ENDINGS], np.uint8)


@part
def _letter(c):
    return 65 <= c <= 90 or 97 <= c <= 122


@part
def _no_domain(data, start, end):
    if end - start > 8:
        return False
    for row in range(_NO_DOMAINS.shape[0]):
        same = True
        for k in range(8):
            c = data[start + k] | 32 if start + k < end else 0
            if c != _NO_DOMAINS[row, k]:
                same = False
                break
        if same:
            return True
    return False


@part
def _quoted(data, low, at):
    """Where the quoted mailbox (RFC 5321 4.1.2, with UTF-8 by RFC 6531) that ends before `at` begins; -1 where none stands.

    Both quotes may be escaped, as they are in JSON and code: then the address begins with the backslash."""
    escaped = at - 2 >= low and data[at - 2] == 92
    start, named = at - 1 - escaped, False
    while start > low and at - start < LOCAL_LIMIT:
        start -= 1
        c = data[start]
        if c < 32 or c == 127:
            return -1
        if c == 34 and escaped == (start > low and data[start - 1] == 92):
            start -= escaped
            before = data[start - 1] if start > low else 32
            opens = before <= 32 or before >= 0x80 or _OPENS[before] or (escaped and before == 34)
            return start if named and opens else -1
        named = named or _LABEL[c] or c >= 0x80
    return -1


@part
def _local(data, low, at):
    """Where the mailbox before `at` begins; -1 where none stands."""
    if at - 1 > low and data[at - 1] == 34:
        return _quoted(data, low, at)
    start, hangul = at, at - 3 >= low and syllable(data, at - 3, at) > 0
    while start > low and at - start <= LOCAL_LIMIT:
        if _LOCAL[data[start - 1]]:
            start -= 1
        elif hangul and start - 3 >= low and syllable(data, start - 3, at) > 0:
            start -= 3
        else:
            break
    if at - start > LOCAL_LIMIT:
        return -1
    while start < at and data[start] < 0x80 and not (_LABEL[data[start]] and data[start] != 45) and data[start] != 95:
        start += 1
    return -1 if start == at or data[at - 1] == 46 else start


@part
def _hangul_ending(data, label, limit):
    """Where the Hangul top-level domain at `label` ends; -1 where none stands."""
    for row in range(_HANGUL_ENDINGS.shape[0]):
        size = _HANGUL_ENDINGS.shape[1]
        same = label + size <= limit
        for k in range(size):
            same = same and data[label + k] == _HANGUL_ENDINGS[row, k]
        if same:
            return label + size
    return -1


@part
def _hangul_label(data, label, limit):
    """Where the host label that begins with a syllable ends."""
    stop = label
    while stop < limit:
        if _LABEL[data[stop]]:
            stop += 1
        elif syllable(data, stop, limit) > 0:
            stop += 3
        else:
            break
    return stop


@part
def mailbox(data, low, high, at, size):
    """(start, end) of the address around the `@` at `at` (`size` bytes: 3 for `%40`); start -1 where there is none."""
    start = _local(data, low, at)
    if start < 0:
        return -1, -1
    label, end, labels_before = at + size, -1, 0
    limit = min(high, label + DOMAIN_LIMIT)
    while label < limit:
        if syllable(data, label, limit) > 0:
            ending = _hangul_ending(data, label, limit) if labels_before > 0 else -1
            if ending > 0:
                return start, ending
            stop = _hangul_label(data, label, limit)
            if stop + 1 >= limit or data[stop] != 46 or data[stop - 1] == 45:
                break
            label, labels_before = stop + 1, labels_before + 1
            continue
        stop, letters = label, True
        while stop < limit and _LABEL[data[stop]]:
            letters = letters and _letter(data[stop])
            stop += 1
        whole = stop
        while stop > label and data[stop - 1] == 45:
            stop -= 1
        if stop == label or data[label] == 45:
            break
        if whole > stop:
            letters = True
            for k in range(label, stop):
                letters = letters and _letter(data[k])
        puny = stop - label > 4 and data[label] | 32 == 120 and data[label + 1] | 32 == 110 and data[label + 2] == 45
        if labels_before > 0 and (puny or (letters and 2 <= stop - label <= 24)):
            end = stop
            if _no_domain(data, label, stop):
                end = -1
        if whole > stop or stop + 1 >= limit or data[stop] != 46:
            break
        if not _LABEL[data[stop + 1]] and (end > 0 or syllable(data, stop + 1, limit) == 0):
            break
        label, labels_before = stop + 1, labels_before + 1
    return (start, end) if end > 0 else (-1, -1)


@part
def credentials(data, low, high, at):
    """(start, end) of `scheme://user:password@host:port` around the `@` at `at`; start -1 where there is none."""
    begin, colon = at, False
    while begin > low and at - begin <= CREDENTIALS_LIMIT and _SECRET[data[begin - 1]]:
        begin -= 1
        colon = colon or (data[begin] == 58 and begin + 1 < at)
    if not colon or begin - 3 < low or data[begin - 1] != 47 or data[begin - 2] != 47 or data[begin - 3] != 58:
        return -1, -1
    start = begin - 3
    while (
        start > low
        and begin - start < 24
        and (_LABEL[data[start - 1]] or data[start - 1] == 43 or data[start - 1] == 46)
    ):
        start -= 1
    while start < begin - 3 and not _letter(data[start]):
        start += 1
    if start >= begin - 3:
        return -1, -1
    end = at + 1
    while end < high and end - at <= DOMAIN_LIMIT and (_LABEL[data[end]] or data[end] == 46):
        end += 1
    while end > at + 1 and (data[end - 1] == 46 or data[end - 1] == 45):
        end -= 1
    if end == at + 1:
        return -1, -1
    stop = end + 1
    while end < high and data[end] == 58 and stop < high and stop - end < 7 and 48 <= data[stop] <= 57:
        stop += 1
    return start, stop if stop > end + 1 else end
