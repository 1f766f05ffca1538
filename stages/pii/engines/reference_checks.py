"""The checks of `stages.pii.kernels.checks` once more, in plain Python and the standard library: the slow, readable other opinion."""

from __future__ import annotations

import datetime
import ipaddress
import re
from functools import cache

COUNTED = re.compile("[년원억명개권월시천백달]|만.?원")
_TOLL_FREE = {"800", "888", "877", "866", "855", "844", "833"}
_HOTLINES = {f"15{x}" for x in ("22", "33", "44", "66", "77", "88", "99")}
_HOTLINES |= {f"16{x}" for x in ("00", "11", "44", "60", "61", "66", "68", "70", "88")}
_HOTLINES |= {f"18{x}" for x in ("00", "11", "33", "55", "77", "99")}


def digits(value: str) -> str:
    return re.sub(r"[^0-9]", "", value)


def verdict(check: str, value: str, following: str = "") -> int:
    """-1 refused, 0 weak, 1 strong: `value` under the check named `check`; `following` is the text behind it."""
    by_form = {"strong": 1, "base58": 1, "pem": 1, "mail": 1}
    if check in by_form:
        return by_form[check]
    if check.startswith("ip"):
        return _ip(value, check.endswith("private"), check.startswith("ipv6"))
    others = {"mixed": _mixed, "iban": _iban, "mac": _mac, "bech32": _bech32}
    if check in others:
        return others[check](value)
    if check == "plate":
        return -1 if COUNTED.match(following) else int(" " not in value)
    number = digits(value)
    if len(number) > 6 and number.startswith("0000"):
        return -1
    return _numeric(check, value, number)


def _numeric(check: str, value: str, number: str) -> int:
    if check == "weak":
        return 0
    if check == "some_digit":
        return 1 if set(number) - set("01") else -1
    if check.startswith("card"):
        kind = issuer(number)
        return (
            -1
            if not 12 <= len(number) <= 19 or not luhn(number)
            else int(kind == 2 or (kind == 1 and check == "card_grouped"))
        )
    if check.startswith(("rrn", "frn")):
        return _resident(number, check.startswith("frn"), check.endswith("bare"))
    table = {
        "brn": lambda: _business(number),
        "corp": lambda: _corporate(number),
        "license": lambda: 1 if len(number) == 12 and 11 <= int(number[:2]) <= 28 and number[:2] != "27" else -1,
        "bank": lambda: (
            0
            if 10 <= len(number) <= 16 and len(set(number)) > 1 and not (number.startswith("010") and len(number) == 11)
            else -1
        ),
        "ssn": lambda: (
            1
            if 0 < int(number[:3]) < 900 and number[:3] != "666" and number[3:5] != "00" and number[5:] != "0000"
            else -1
        ),
        "phone_service": lambda: -1 if len(number) != 8 or number[0] != "1" else int(number[:4] in _HOTLINES),
        "phone_toll": lambda: 1 if _toll(number) else -1,
        "phone_not_toll": lambda: -1 if _toll(number) else 1,
    }
    return table[check]() if check in table else _phone(check, value)


def luhn(number: str) -> bool:
    total = 0
    for i, digit in enumerate(map(int, reversed(number))):
        total += digit if i % 2 == 0 else sum(divmod(2 * digit, 10))
    return total % 10 == 0


def issuer(number: str) -> int:
    """0 no issuer, 1 an unusual length or the Korean domestic range, 2 a usual one."""
    n = len(number)
    usual = {16: r"4|5[1-5]|2(22[1-9]|2[3-9]|[3-6]|7[01]|720)|35(2[89]|[3-8])|6011|64[4-9]|65|62|81|36", 15: "3[47]"}
    if n in usual and re.match(usual[n], number):
        return 2
    unusual = {
        16: "9",
        15: "1800|2131",
        14: "30[0-5]|3[689]",
        13: "4",
        17: "62|6011|64[4-9]|65|81",
        18: "62|6011|64[4-9]|65|81",
        19: "4|62|6011|64[4-9]|65|81",
    }
    if n in unusual and re.match(unusual[n], number):
        return 1
    return 1 if 12 <= n <= 19 and re.match("50|5[678]|6304|67|6390|601100", number) else 0


def born(number: str) -> datetime.date | None:
    century = 1900 if number[6] in "1256" else 2000
    try:
        day = datetime.date(century + int(number[:2]), int(number[2:4]), int(number[4:6]))
    except ValueError:
        return None
    return day if day.year <= 2035 else None


def _resident(number: str, foreign: bool, bare: bool) -> int:
    day = born(number) if len(number) == 13 else None
    if day is None:
        return -1
    total = sum(int(d) * w for d, w in zip(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)))
    right = ((13 if foreign else 11) - total % 11) % 10 == int(number[12])
    if not bare:
        return int(right or (day >= datetime.date(2020, 10, 1) and not foreign))
    barcode = number.startswith("880") and sum(int(d) * (1, 3)[k % 2] for k, d in enumerate(number)) % 10 == 0
    return int(right and number[0] != "1" and not barcode)


def _business(number: str) -> int:
    if len(number) != 10 or int(number[:3]) < 101 or number[3:5] == "00":
        return -1
    products = [int(d) * w for d, w in zip(number, (1, 3, 7, 1, 3, 7, 1, 3, 5))]
    return 1 if -(sum(products) + products[8] // 10) % 10 == int(number[9]) else -1


def _corporate(number: str) -> int:
    if len(number) != 13:
        return -1
    kind = int(number[4:6])
    known = 1101 <= int(number[:4]) <= 2850 and (11 <= kind <= 15 or kind in (21, 22, 71, 81) or 31 <= kind <= 55)
    return int(known and -sum(int(d) * (1, 2)[k % 2] for k, d in enumerate(number[:12])) % 10 == int(number[12]))


def _toll(number: str) -> bool:
    area = number[1:4] if number[0] == "1" and len(number) > 10 else number[:3]
    return area in _TOLL_FREE


def _phone(check: str, value: str) -> int:
    value = value.split("x", 1)[0]
    number = digits(value)
    separators = len(re.findall(r"[-. ()]", value))
    n = len(number)
    if not set(number) - set("01"):
        return -1
    if check == "phone_international":
        if not 8 <= n <= 15 or (number.startswith("82") and not 10 <= n <= 13):
            return -1
        return int(bool(separators) or n >= 10)
    if check == "phone_dialled":
        return 1 if 10 <= n <= 16 else -1
    dated = re.match(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", number)
    hotline = (n == 8 and re.match("1[568]", number)) or re.match("0[68]0", number)
    dotted = separators == 3 and re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", value) and _octets(value)
    if not 7 <= n <= 15 or (dated and n != 11) or hotline or dotted or (n in (10, 11) and _toll(number)):
        return -1
    return 0


def _octets(value: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(value)
    except ValueError:
        return None


def _ip(value: str, private: bool, six: bool) -> int:
    if six:
        return _ip6(value, private)
    address = _octets(value)
    if address is None:
        return -1
    parts = [int(part) for part in value.split(".")]
    if parts[0] in (0, 255) or parts[:2] == [224, 0]:
        return -1
    nets = ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10")
    if any(address in ipaddress.ip_network(net) for net in nets) != private:
        return -1
    return int(max(parts) > 20)


def _ip6(value: str, private: bool) -> int:
    if len(value) < 7 and value[0] != ":":
        return -1
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return -1
    if not re.search("[0-9A-Fa-f]", value) or value.lower().startswith(("100::", "0100::")):
        return -1
    nets = ("fc00::/7", "fe80::/10", "::1/128")
    written = [group for group in re.split("[:]", value) if group]
    loop = address == ipaddress.IPv6Address("::1") and value not in ("::1", "::01", "::001", "::0001")
    if (any(address in ipaddress.ip_network(net) for net in nets) and not loop) != private:
        return -1
    groups = len(written) + (1 if "." in value else 0)
    longest = 4 if "." in value else max(map(len, written))
    digit = any(sign.isdigit() for sign in value.split(".")[0]) or "." in value
    return int(digit and (groups >= 4 or (longest >= 3 and groups >= 2)))


def _iban(value: str) -> int:
    packed = value.replace(" ", "").upper()
    if _iban_lengths().get(packed[:2]) != len(packed):
        return -1
    return 1 if int("".join(str(int(sign, 36)) for sign in packed[4:] + packed[:4])) % 97 == 1 else -1


@cache
def _iban_lengths() -> dict[str, int]:
    from stages.pii.kernels.forms import IBAN_LENGTH

    return {chr(65 + k // 26) + chr(65 + k % 26): int(length) for k, length in enumerate(IBAN_LENGTH) if length}


def _mac(value: str) -> int:
    signs = re.sub("[^0-9A-Fa-f]", "", value).lower()
    if set(signs) in ({"0"}, {"f"}) or signs.startswith("3333"):
        return -1
    return int(bool(re.search("[a-f]", signs)) or value[2] == ":")


def _bech32(value: str) -> int:
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    human, _, data = value.partition("1")
    check = 1
    for v in [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human] + [alphabet.index(c) for c in data]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ v
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return 1 if check in (1, 0x2BC830A3) else -1


def _mixed(value: str) -> int:
    kinds = len(set(value.encode()[:256]))
    return 1 if kinds >= 12 or (kinds >= 8 and len(value.encode()) < 32) else -1
