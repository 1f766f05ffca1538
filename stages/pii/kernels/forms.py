"""Checks of forms that are more than digits: addresses of hosts and devices, IBAN, bech32, plates, random-looking tokens. Compiled.

Each returns -1 (refused), 0 (weak) or 1 (strong). Sources: RFC 4291, 6890, 6666 and 2464, ISO 13616, BIP 173.
"""

from __future__ import annotations

import numpy as np

from stages.text.compiled import part

SHORTEST = 7
"""Bytes of the shortest match of a rule that begins with a letter or digit; the scanner relies on it."""

_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 "
    "MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 "
    "SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)  # ISO 13616 registry
IBAN_LENGTH = np.zeros(676, np.uint8)
for _entry in _LENGTHS.split():
    IBAN_LENGTH[(ord(_entry[0]) - 65) * 26 + ord(_entry[1]) - 65] = int(_entry[2:])
_BECH = np.full(256, 255, np.uint8)
for _value, _sign in enumerate(b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"):
    _BECH[_sign] = _value


@part
def octets(data, start, end, out):
    """Four decimal octets into `out`; False when one is above 255 or written with a leading zero."""
    k, value, size = 0, 0, 0
    for at in range(start, end + 1):
        c = 46 if at == end else data[at]
        if c == 46:
            if size == 0 or value > 255 or k > 3:
                return False
            out[k] = value
            k, value, size = k + 1, 0, 0
        else:
            if not 48 <= c <= 57 or (size > 0 and value == 0):
                return False
            value, size = value * 10 + c - 48, size + 1
    return k == 4


@part
def ipv4(data, start, end, d, private):
    if not octets(data, start, end, d):
        return -1
    a, b = d[0], d[1]
    if a == 0 or a == 255 or (a == 224 and b == 0):
        return -1  # "this network", netmasks and broadcast: nobody's address
    inside = (
        a == 10
        or a == 127
        or (a == 172 and 16 <= b <= 31)
        or (a == 192 and b == 168)
        or (a == 169 and b == 254)
        or (a == 100 and 64 <= b <= 127)
    )
    if inside != private:
        return -1
    if max(max(a, b), max(d[2], d[3])) <= 20:
        return 0  # 2.7.2.2 and 4.10.4.1 are versions, sections and licences unless something says otherwise
    return 1


@part
def _hex(c):
    return 48 <= c <= 57 or 65 <= c <= 70 or 97 <= c <= 102


@part
def _value(c):
    return c - 48 if c <= 57 else (c & 0xDF) - 55


@part
def ipv6(data, start, end, d, private):
    """RFC 4291 text: eight groups, or `::` once for one or more groups of zeros; the last two may be dotted."""
    if end - start < SHORTEST and data[start] != 58:
        return -1
    groups, double, longest, value, size, digit = 0, -1, 0, 0, 0, False
    first = -1
    at = start
    while at < end:
        c = data[at]
        if _hex(c):
            value, size = value * 16 + _value(c), size + 1
            digit = digit or c <= 57
            if size > 4:
                return -1
            at += 1
            continue
        if c == 46:
            if size == 0 or not octets(data, at - size, end, d):
                return -1
            groups, at, size = groups + 2, end, 0
            longest = max(longest, 4)
            break
        if size > 0:
            if first < 0:
                first = value
            groups, longest = groups + 1, max(longest, size)
        elif at + 1 >= end or data[at + 1] != 58:
            return -1
        value, size = 0, 0
        at += 1
        if at < end and data[at] == 58:
            if double >= 0:
                return -1
            double = groups
            at += 1
            if first < 0:
                first = 0
        elif at == end:
            return -1
    if size > 0:
        groups, longest = groups + 1, max(longest, size)
    if groups > 8 or (double < 0 and groups != 8) or (double >= 0 and groups > 7) or groups == 0:
        return -1
    if first == 0x0100 and double == 1:
        return -1  # RFC 6666, the discard prefix: never a device
    local = (first >> 9) == 0x7E or (first >> 6) == 0x3FA or (first == 0 and groups == 1 and value == 1)
    if local != private:
        return -1
    return 1 if digit and (groups >= 4 or (longest >= 3 and groups >= 2)) else 0


@part
def mac(data, start, end):
    letters, zeros, ones, count, threes = 0, 0, 0, 0, 0
    for at in range(start, end):
        c = data[at]
        if _hex(c):
            threes += count < 4 and c == 51
            count += 1
            letters += c > 57
            zeros += c == 48
            ones += (c & 0xDF) == 70
    if zeros == count or ones == count:
        return -1
    if threes == 4:
        return -1  # 33:33, RFC 2464 multicast: never a device
    return 1 if letters > 0 or data[start + 2] == 58 else 0


@part
def _before(data, start, at):
    """Signs other than blanks between `start` and `at`, counted to four."""
    n = 0
    while start < at and n < 4:
        n += data[start] != 32
        start += 1
    return n


@part
def iban(data, start, end):
    length, remainder = 0, 0
    a, b = data[start] & 0xDF, data[start + 1] & 0xDF
    want = IBAN_LENGTH[(a - 65) * 26 + b - 65]
    if want == 0:
        return -1
    for turn in range(2):
        for at in range(start, end):
            c = data[at]
            if c == 32:
                continue
            if turn == 0:
                length += 1
            if (turn == 0) == (_before(data, start, at) >= 4):
                remainder = (remainder * 10 + c - 48) % 97 if c <= 57 else (remainder * 100 + (c & 0xDF) - 55) % 97
    return 1 if length == want and remainder == 1 else -1


@part
def _polymod(check, v):
    top = check >> 25
    check = (check & 0x1FFFFFF) << 5 ^ v
    if top & 1:
        check ^= 0x3B6A57B2
    if top & 2:
        check ^= 0x26508E6D
    if top & 4:
        check ^= 0x1EA119FA
    if top & 8:
        check ^= 0x3D4233DD
    if top & 16:
        check ^= 0x2A1462B3
    return check


@part
def bech32(data, start, end):
    split, check = start, np.int64(1)
    for at in range(start, end):
        if data[at] == 49:
            split = at
            break
    for turn in range(3):
        begin, stop = (split + 1, end) if turn == 2 else (start, split)
        for at in range(begin, stop):
            c = np.int64(data[at])
            v = np.int64(_BECH[c]) if turn == 2 else (c >> 5 if turn == 0 else c & 31)
            check = _polymod(check, v)
        if turn == 0:
            check = _polymod(check, 0)
    return 1 if check == 1 or check == 0x2BC830A3 else -1


@part
def varied(data, start, end):
    """Many different signs among the first 256, so that `ghp_xxxxxxxx...` in a manual stays, however long it runs on."""
    low, high = np.uint64(0), np.uint64(0)
    for at in range(start, min(end, start + 256)):
        c = data[at]
        if c < 64:
            low |= np.uint64(1) << np.uint64(c)
        else:
            high |= np.uint64(1) << np.uint64(c & 63)
    n = 0
    while low != 0:
        low &= low - np.uint64(1)
        n += 1
    while high != 0:
        high &= high - np.uint64(1)
        n += 1
    return 1 if n >= 12 or (n >= 8 and end - start < 32) else -1


@part
def _hangul(data, at, high):
    """Code point of the three bytes at `at` read as UTF-8; 0 past the end."""
    if at + 3 > high:
        return 0
    return (np.int64(data[at]) & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | (np.int64(data[at + 2]) & 63)


@part
def plate(data, start, end, high):
    """Tight form strong; spaced form weak, since `12주 2024` and `30조 5000` are read so."""
    after = _hangul(data, end, high)
    for unit in (0xB144, 0xC6D0, 0xC5B5, 0xBA85, 0xAC1C, 0xAD8C, 0xC6D4, 0xC2DC, 0xCC9C, 0xBC31, 0xB2EC):
        if after == unit:  # 년 원 억 명 개 권 월 시 천 백 달
            return -1
    if after == 0xB9CC and (_hangul(data, end + 3, high) == 0xC6D0 or _hangul(data, end + 4, high) == 0xC6D0):
        return -1  # 만원, 만 원; 만 alone is a particle too
    for at in range(start, end):
        if data[at] == 32:
            return 0
    return 1
