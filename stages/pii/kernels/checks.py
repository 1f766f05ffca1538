"""Checks of a matched form: checksums, dates, ranges. Compiled; called on matches only.

Each returns -1 (refused), 0 (weak: the form alone) or 1 (strong). Sources: ISO/IEC 7812 (issuer ranges, Luhn); for Korea
the enforcement rules of the Resident Registration Act (birth date, gender digit, check digit 11 - s mod 11, foreigners
13 - s mod 11), the National Tax Service's check digit for businesses, and the court registry's for corporations. What is
more than digits stands in `stages.pii.kernels.forms`.

Since October 2020 the six digits behind the gender digit are drawn at random, so that there is no check digit to hold a
number to. When a number was *issued* is known only from below, by the date of birth: who was born since then has a random
number; who was born before has a checked one unless it was issued anew (a changed number, a naturalisation). A failed
check digit is therefore refused for nobody and makes the number weak: it counts when a label stands beside it. Foreigners
get their number when they register, not at birth, so that for them a failed check digit is common and weighs less.
"""

from __future__ import annotations

import numpy as np

from stages.pii.kernels import forms
from stages.pii.kernels.rules import NUMBER
from stages.text.compiled import part

DIGITS = 40
"""Room for the digits of one match; more are counted, not kept."""

_STRONG, _WEAK, _SOME_DIGIT = NUMBER["strong"], NUMBER["weak"], NUMBER["some_digit"]
_INTERNATIONAL, _DIALLED = NUMBER["phone_international"], NUMBER["phone_dialled"]
_TOLL, _NOT_TOLL, _PHONE_ANY, _SERVICE = (
    NUMBER["phone_toll"],
    NUMBER["phone_not_toll"],
    NUMBER["phone_any"],
    NUMBER["phone_service"],
)
_CARD_GROUPED, _CARD_BARE = NUMBER["card_grouped"], NUMBER["card_bare"]
_RRN, _RRN_BARE, _FRN, _FRN_BARE = NUMBER["rrn"], NUMBER["rrn_bare"], NUMBER["frn"], NUMBER["frn_bare"]
_BRN, _CORP, _LICENSE, _BANK, _PLATE = NUMBER["brn"], NUMBER["corp"], NUMBER["license"], NUMBER["bank"], NUMBER["plate"]
_IBAN, _MAC, _SSN, _BECH32, _BASE58, _PEM = (
    NUMBER["iban"],
    NUMBER["mac"],
    NUMBER["ssn"],
    NUMBER["bech32"],
    NUMBER["base58"],
    NUMBER["pem"],
)
_IP4, _IP4_PRIVATE, _IP6, _IP6_PRIVATE, _MIXED = (
    NUMBER["ipv4_public"],
    NUMBER["ipv4_private"],
    NUMBER["ipv6_public"],
    NUMBER["ipv6_private"],
    NUMBER["mixed"],
)

_RRN_WEIGHTS = np.array([2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5], np.int64)
_BRN_WEIGHTS = np.array([1, 3, 7, 1, 3, 7, 1, 3, 5], np.int64)
_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


@part
def digits_of(data, start, end, out):
    """The ASCII digits of `data[start:end]` into `out`; returns how many there are."""
    n = 0
    for at in range(start, end):
        c = data[at]
        if 48 <= c <= 57:
            if n < DIGITS:
                out[n] = c - 48
            n += 1
    return n


@part
def luhn(d, n):
    total = 0
    for k in range(n):
        v = d[n - 1 - k]
        if k & 1:
            v *= 2
            if v > 9:
                v -= 9
        total += v
    return total % 10 == 0


@part
def _number(d, first, count):
    value = 0
    for k in range(first, first + count):
        value = value * 10 + d[k]
    return value


@part
def issuer(d, n):
    """Is this a length and prefix that a card issuer uses? 0 no, 1 yes, 2 yes and typical (15 or 16 digits)."""
    two, three, four, six = _number(d, 0, 2), _number(d, 0, 3), _number(d, 0, 4), _number(d, 0, 6)
    if n == 16:
        if d[0] == 4 or 51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589:
            return 2
        if four == 6011 or 644 <= three <= 649 or two == 65 or two == 62 or two == 81 or two == 36:
            return 2
        if d[0] == 9:
            return 1
    if n == 15 and (two == 34 or two == 37):
        return 2
    if n == 15 and (four == 1800 or four == 2131):
        return 1
    if n == 14 and (300 <= three <= 305 or two == 36 or two == 38 or two == 39):
        return 1
    if (n == 13 or n == 19) and d[0] == 4:
        return 1
    if 17 <= n <= 19 and (two == 62 or four == 6011 or 644 <= three <= 649 or two == 65 or two == 81):
        return 1
    if 12 <= n <= 19 and (
        four == 5018 or four == 5020 or four == 5038 or four == 5893 or 6759 <= four <= 6763 or four == 6304
    ):
        return 1
    if 12 <= n <= 19 and (two == 50 or 56 <= two <= 58 or six == 601100 or four == 6390 or two == 67):
        return 1
    return 0


@part
def birth(d):
    """Year * 10000 + month * 100 + day of a resident or foreigner number; 0 where there is no such living day."""
    g = d[6]
    year = d[0] * 10 + d[1]
    if g == 1 or g == 2 or g == 5 or g == 6:
        year += 1900
    else:
        year += 2000
    month, day = d[2] * 10 + d[3], d[4] * 10 + d[5]
    if month < 1 or month > 12 or day < 1 or year > 2035:
        return 0
    last = _MONTH[month]
    if month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        last = 29
    return year * 10000 + month * 100 + day if day <= last else 0


@part
def _resident(d, n, foreign, bare):
    if n != 13:
        return -1
    born = birth(d)
    if born == 0:
        return -1
    total = 0
    for k in range(12):
        total += d[k] * _RRN_WEIGHTS[k]
    right = ((13 if foreign else 11) - total % 11) % 10 == d[12]
    if not bare:
        return 1 if right or (born >= 20201001 and not foreign) else 0
    if not right or d[0] == 1:
        return 0  # thirteen bare digits from 1 on are a time in milliseconds more often than a child
    total = 0
    for k in range(12):
        total += d[k] * (3 if k & 1 else 1)
    barcode = d[0] == 8 and d[1] == 8 and d[2] == 0 and (10 - total % 10) % 10 == d[12]
    return 0 if barcode else 1


@part
def _business(d, n):
    if n != 10:
        return -1
    total = 0
    for k in range(9):
        total += d[k] * _BRN_WEIGHTS[k]
    total += d[8] * 5 // 10
    kind = d[3] * 10 + d[4]
    return 1 if (10 - total % 10) % 10 == d[9] and kind > 0 and _number(d, 0, 3) >= 101 else -1


@part
def _corporate(d, n):
    if n != 13:
        return -1
    total = 0
    for k in range(12):
        total += d[k] * (2 if k & 1 else 1)
    office, kind = _number(d, 0, 4), d[4] * 10 + d[5]
    known = 1101 <= office <= 2850 and (
        11 <= kind <= 15 or 21 <= kind <= 22 or 31 <= kind <= 55 or kind == 71 or kind == 81
    )
    return 1 if known and (10 - total % 10) % 10 == d[12] else 0


@part
def _bank(data, start, end, d, n):
    """Ten to sixteen digits that are no date and no phone."""
    if n < 10 or n > 16:
        return -1
    if d[0] == 0 and d[1] == 1 and d[2] == 0 and n == 11:
        return -1
    same = True
    for k in range(1, n):
        same = same and d[k] == d[0]
    return -1 if same else 0


@part
def _dated(d, n):
    """Do the first eight digits read as a day between 1900 and 2099?"""
    if n < 8 or not ((d[0] == 1 and d[1] == 9) or (d[0] == 2 and d[1] == 0)):
        return False
    month, day = d[4] * 10 + d[5], d[6] * 10 + d[7]
    return 1 <= month <= 12 and 1 <= day <= 31


@part
def _service(d, n):
    if n != 8 or d[0] != 1:
        return -1
    three = d[1] * 100 + d[2] * 10 + d[3]
    series = three // 100
    if series == 5:
        known = (
            three == 522 or three == 533 or three == 544 or three == 566 or three == 577 or three == 588 or three == 599
        )
    elif series == 6:
        known = (
            three == 600
            or three == 611
            or three == 644
            or three == 660
            or three == 661
            or three == 666
            or three == 668
            or three == 670
            or three == 688
        )
    else:
        known = three == 800 or three == 811 or three == 833 or three == 855 or three == 877 or three == 899
    return 1 if known else 0


@part
def _toll_free(d, n):
    k = 1 if d[0] == 1 and n > 10 else 0
    three = _number(d, k, 3)
    return three == 800 or three == 888 or three == 877 or three == 866 or three == 855 or three == 844 or three == 833


@part
def _phone(which, data, start, end, d, n):
    """Phones that only a count of digits decides; digits behind an `x` are an extension and do not count."""
    seps, dots = 0, 0
    for at in range(start, end):
        dots += data[at] == 46
        if data[at] == 120:
            n = digits_of(data, start, at, d)
            break
        if data[at] == 32 or data[at] == 45 or data[at] == 46 or data[at] == 40 or data[at] == 41:
            seps += 1
    some = False
    for k in range(min(n, DIGITS)):
        some = some or d[k] > 1
    if not some:
        return -1
    if which == _INTERNATIONAL:
        if d[0] == 8 and d[1] == 2 and (n < 10 or n > 13):
            return -1
        if n < 8 or n > 15:
            return -1
        return 1 if seps > 0 or n >= 10 else 0
    if which == _DIALLED:
        return 1 if 10 <= n <= 16 else -1
    if (
        n < 7
        or n > 15
        or (_dated(d, n) and n != 11)
        or (n == 8 and d[0] == 1 and (d[1] == 5 or d[1] == 6 or d[1] == 8))
    ):
        return -1
    if d[0] == 0 and d[2] == 0 and (d[1] == 8 or d[1] == 6):
        return -1
    if dots == 3 and seps == 3 and forms.octets(data, start, end, d):
        return -1
    if (n == 10 or n == 11) and _toll_free(d, n):
        return -1
    return 0


@part
def check(which, data, start, end, high, d):
    """Check number `which` of `data[start:end]`, in a text that ends at `high`; `d` int64[DIGITS] is scratch. -1 refused, 0 weak, 1 strong."""
    if which == _STRONG:
        return 1
    if which in (_IP4, _IP4_PRIVATE):
        return forms.ipv4(data, start, end, d, which == _IP4_PRIVATE)
    if which in (_IP6, _IP6_PRIVATE):
        return forms.ipv6(data, start, end, d, which == _IP6_PRIVATE)
    if which in (_MIXED, _PEM):
        return forms.varied(data, start, end) if which == _MIXED else 1
    if which == _IBAN:
        return forms.iban(data, start, end)
    if which == _MAC:
        return forms.mac(data, start, end)
    if which == _PLATE:
        return forms.plate(data, start, end, high)
    if which == _BECH32:
        return forms.bech32(data, start, end)
    if which == _BASE58:
        return 1
    return _of_digits(which, data, start, end, d)


@part
def _of_digits(which, data, start, end, d):
    n = digits_of(data, start, end, d)
    if n > 6 and d[0] + d[1] + d[2] + d[3] == 0:
        return -1  # 0000 begins no number of any kind here: our own surrogates do
    if which == _SOME_DIGIT:
        for k in range(min(n, DIGITS)):
            if d[k] > 1:
                return 1
        return -1
    if which in (_CARD_GROUPED, _CARD_BARE):
        if n < 12 or n > 19 or not luhn(d, n):
            return -1
        kind = issuer(d, n)
        return 1 if kind == 2 or (kind == 1 and which == _CARD_GROUPED) else 0
    if which == _WEAK:
        return 0
    if which in (_RRN, _RRN_BARE):
        return _resident(d, n, False, which == _RRN_BARE)
    if which in (_FRN, _FRN_BARE):
        return _resident(d, n, True, which == _FRN_BARE)
    if which == _BRN:
        return _business(d, n)
    if which == _CORP:
        return _corporate(d, n)
    if which == _LICENSE:
        region = d[0] * 10 + d[1]
        return 1 if n == 12 and 11 <= region <= 28 and region != 27 else -1
    if which == _BANK:
        return _bank(data, start, end, d, n)
    if which == _SSN:
        area = _number(d, 0, 3)
        return 1 if area > 0 and area != 666 and area < 900 and d[3] + d[4] > 0 and _number(d, 5, 4) > 0 else -1
    if which == _SERVICE:
        return _service(d, n)
    if which == _TOLL:
        return 1 if _toll_free(d, n) else -1
    if which == _NOT_TOLL:
        return -1 if _toll_free(d, n) else 1
    return _phone(which, data, start, end, d, n)
