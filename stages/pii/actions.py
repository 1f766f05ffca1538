"""What is done about a value: a tag, a mask, a keyed hash, a surrogate; and none of them is ever found again.

- replace: `<EMAIL>`.
- mask: every letter and digit becomes `*`, the rest stays: `***-****-****`.
- hash: `<EMAIL_` and sixteen letters `>`, an HMAC of the folded value under the key: equal values stay equal across documents
  for whoever holds the key, and nothing can be looked up without it.
- surrogate: a value of the same shape that is nobody's. Digits begin with 0000, mailboxes end in `.invalid` (RFC 2606), IPv4
  addresses begin with 0, IPv6 with the discard prefix 100:: (RFC 6666), hardware addresses with 33:33 (multicast): forms
  that every check refuses, so that a second run changes nothing. It is drawn from the document's id and the order in which
  values first occur in it, never from the value: consistent within a document, nothing to link or to undo across documents.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pipeline.errors import OptionError
from stages.pii.entities import tag

Action = Literal["replace", "mask", "hash", "surrogate", "drop", "keep"]
ACTIONS: tuple[str, ...] = ("replace", "mask", "hash", "surrogate", "drop", "keep")

DIGITS_REPLACED = frozenset(
    "phone card us_ssn kr_rrn kr_frn kr_passport kr_driver_license kr_brn kr_corp kr_bank_account".split()
)
"""Kinds whose surrogate is the same groups of other digits."""
SHAPED = DIGITS_REPLACED | {"email", "ip", "ip_private", "mac"}
"""Kinds that have a surrogate; the others get their tag."""
_SPELLED_AT = re.compile(r" ?(?:[\[({] ?(?:at|@|골뱅이) ?[\])}]|골뱅이) ?")
_SPELLED_DOT = re.compile(r" ?[\[({] ?(?:dot|점|닷) ?[\])}] ?| (?:dot|점|닷) ")
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
"""What `stages.pii.kernels.fold` folds to nothing."""


def secret_key(name: str) -> bytes:
    """The key that `name` - an environment variable, or a file when it holds a path - leads to. OptionError without showing it."""
    if name[:1] in "./~":
        try:
            key = Path(name).expanduser().read_bytes().strip()
        except OSError:
            raise OptionError(
                f"key_env names the file {name}, which cannot be read", "write the key into that file, or name another"
            ) from None
    else:
        key = os.environ.get(name, "").encode()
    if len(key) < 16:
        raise OptionError(
            f"the key behind key_env {name} is missing or shorter than 16 bytes",
            f"export {name}=$(openssl rand -hex 32), say",
        )
    return key


def canonical(entity: str, value: str) -> str:
    """One spelling per value: NFKC without hidden signs, lower case; mail addresses that were spelled out are put together.

    Numbers that are grouped as one likes (`DIGITS_REPLACED`, mac) are their letters and digits alone; elsewhere what stands
    between two digits counts, so that 1.23.45.6 is not 12.3.45.6.
    """
    plain = _HIDDEN.sub("", unicodedata.normalize("NFKC", value)).casefold()
    together = _SPELLED_AT.sub("@", plain, count=1)
    plain = _SPELLED_DOT.sub(".", together) if together != plain else plain
    if entity in DIGITS_REPLACED or entity == "mac":
        return "".join(sign for sign in plain if sign.isalnum())
    if "@" in plain or ":" in plain:
        return plain
    return "".join(sign for sign in re.sub(r"(?<=\d)[^\w]+(?=\d)", ".", plain) if sign.isalnum() or sign == ".")


def masked(value: str) -> str:
    """Letters, digits and marks as `*`; separators stay; hidden signs go."""
    return "".join("*" if unicodedata.category(sign)[0] in "LNM" else sign for sign in _HIDDEN.sub("", value))


def hashed(entity: str, value: str, key: bytes) -> str:
    """Tag with 64 bits of HMAC-SHA256 in the letters a to p: letters, because digits would be looked at again."""
    mac = hmac.new(key, f"{entity}\0{canonical(entity, value)}".encode(), hashlib.sha256).digest()[:8]
    letters = "".join(chr(97 + (byte >> 4)) + chr(97 + (byte & 15)) for byte in mac)
    return f"{tag(entity)[:-1]}_{letters}>"


def surrogate(entity: str, value: str, document: str, ordinal: int) -> str:
    """What stands for the `ordinal`-th value of `entity` in `document`; its tag for kinds without a harmless shape."""
    if entity not in SHAPED:
        return tag(entity)
    draws = _draws(document, entity, ordinal)
    if entity in DIGITS_REPLACED:
        return _digits(_HIDDEN.sub("", unicodedata.normalize("NFKC", value)), draws)
    if entity == "email":
        size = max(4, min(16, value.find("@") if "@" in value else 8))
        return f"{_letters(draws, size)}@{_letters(draws, 8)}.invalid"
    if entity == "mac":
        return _mac(value, draws)
    if ":" in value:
        return f"100::{next(draws) << 8 | next(draws):x}:{next(draws) << 8 | next(draws):x}"
    return f"0.{next(draws)}.{next(draws)}.{next(draws)}"


def _draws(document: str, entity: str, ordinal: int) -> Iterator[int]:
    """Bytes without end, from these three alone."""
    block = 0
    while True:
        yield from hashlib.blake2b(f"{document}\0{entity}\0{ordinal}\0{block}".encode()).digest()
        block += 1


def _letters(draws: Iterator[int], size: int) -> str:
    return "".join(chr(97 + next(draws) % 26) for _ in range(size))


def _digits(value: str, draws: Iterator[int]) -> str:
    seen, out = 0, []
    for sign in value:
        if sign.isdigit():
            out.append("0" if seen < 4 else str(next(draws) % 10))
            seen += 1
        elif seen and sign.isascii() and sign.isalpha() and sign not in "xX":
            out.append(chr(65 + next(draws) % 26))
        else:
            out.append(sign)
    return "".join(out)


def _mac(value: str, draws: Iterator[int]) -> str:
    seen, out = 0, []
    for sign in value:
        if sign.isalnum():
            out.append("3" if seen < 4 else f"{next(draws) & 15:x}")
            seen += 1
        else:
            out.append(sign)
    return "".join(out)


class Replacer:
    """What each value of one document becomes, under the actions chosen; remembers the order of first occurrence."""

    def __init__(self, document: str, actions: dict[str, str], key: bytes | None):
        self.document, self.actions, self.key = document, actions, key
        self.order: dict[tuple[str, str], int] = {}

    def __call__(self, entity: str, value: str) -> str:
        """The replacement of `value`. Its action must be one that replaces."""
        action = self.actions[entity]
        if action == "mask":
            return masked(value)
        if action == "hash":
            return hashed(entity, value, self.key or b"")
        if action == "surrogate":
            ordinal = self.order.setdefault((entity, canonical(entity, value)), len(self.order))
            return surrogate(entity, value, self.document, ordinal)
        return tag(entity)
