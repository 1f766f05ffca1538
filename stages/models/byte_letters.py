"""The 256 letters in which a byte-level tokenizer spells bytes (GPT-2's: a printable Latin-1 character is itself, the others follow U+0100)."""

from __future__ import annotations

from functools import cache


@cache
def letters() -> tuple[str, ...]:
    """The letter of each byte.

    >>> letters()[0x41], letters()[0x20], len(set(letters()))
    ('A', 'Ġ', 256)
    """
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256))


class LetterBytes(dict[int, int]):
    """The byte of each letter, by code points as `str.translate` takes them; of others what is no byte."""

    def __missing__(self, point: int) -> int:
        return 0x100


@cache
def _bytes() -> LetterBytes:
    return LetterBytes({ord(letter): byte for byte, letter in enumerate(letters())})


def spelled(token: bytes) -> str:
    """Bytes in letters.

    >>> spelled("콩 b".encode())
    'ì½©Ġb'
    """
    known = letters()
    return "".join([known[byte] for byte in token])


def read(word: str) -> bytes | None:
    """The bytes behind letters; None where `word` has another character.

    >>> read("Ġb"), read("콩")
    (b' b', None)
    """
    try:
        return word.translate(_bytes()).encode("latin-1")
    except UnicodeEncodeError:
        return None


def is_part(token: bytes) -> bool:
    """Is it only a part of a character, or does it begin or end inside one?

    >>> is_part("콩".encode()), is_part("콩".encode()[:2]), is_part(b"a")
    (False, True, False)
    """
    try:
        token.decode()
        return False
    except UnicodeDecodeError:
        return True
