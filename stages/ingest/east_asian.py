"""Chinese and Japanese bytes that nobody declared, or that are declared as a Western code page.

A Western label decodes any bytes, and a frequency detector needs a long text. Here a code page is named only where three things
hold together: every byte decodes strictly, nine tenths of what is not ASCII are characters of its everyday part, and among them is
what the language cannot be written without: hiragana beyond the half that Korean letters have in the same bytes, or the commonest
hanzi. In text of a single-byte code page the first fails at the first word of odd length; what passes it has none of the third.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

DETECT = 131_072
"""Bytes looked at."""
LEAST = 8
"""Characters beyond ASCII that are asked for."""
PLAIN = 0.9
"""Share of them that must be everyday characters of the code page."""
COMMON = 0.2
"""Share of hiragana, or of the hundred commonest hanzi: in the UN's declaration of human rights 48 to 50 % in three Japanese and 35 to 46 % in 15 Chinese versions."""
BEYOND = 0.1
"""Share of the hiragana from `ふ` on, which the letters of EUC-KR (ㅋㅋㅋ, ㅠㅠ) do not reach in the same bytes; 26 to 31 % there."""
LEAST_COMMON = 4
"""Different ones of the commonest hanzi: a word of another script, said again and again, is one or two."""
PAIRED = 1.2
"""Bytes beyond ASCII for each character: accents among ASCII letters have one."""

SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
)
"""The hundred commonest characters of modern Chinese (Jun Da 2004)."""
TRADITIONAL = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡里用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實"
)
"""The same as they are written in Taiwan and Hong Kong."""

_HIGH = tuple(range(0xA1, 0xFF))
_ALL = (*range(0x40, 0x7F), *range(0x80, 0xFF))


class CodePage(NamedTuple):
    """A codec, the rows (first bytes) that hold its symbols, syllables and everyday characters, and its second bytes."""

    codec: str
    rows: tuple[range, ...]
    seconds: tuple[int, ...]
    common: frozenset[str] | None
    """Hanzi some of which must be there; None: hiragana."""


PAGES = (
    CodePage("cp932", (range(0x81, 0x84), range(0x88, 0x98)), _ALL, None),
    CodePage("euc_jp", (range(0xA1, 0xA6), range(0xB0, 0xD0)), _HIGH, None),
    CodePage("gb18030", (range(0xA1, 0xA4), range(0xB0, 0xD8)), _HIGH, SIMPLIFIED),
    CodePage("big5hkscs", (range(0xA1, 0xC7),), _ALL, TRADITIONAL),
)


def east_asian(data: bytes) -> str | None:
    """The codec of Chinese or Japanese text in Shift-JIS, EUC-JP, GB 18030 or Big5; None where it is not surely that.

    Korean is asked for before: its syllables are everyday hanzi in the bytes of GB 18030.

    >>> east_asian("맷돌은 곡식을 간다".encode("cp949")), east_asian("Ärger über Öl".encode("latin-1"))
    (None, None)
    """
    head = data[:DETECT]
    return None if head.isascii() else next((page.codec for page in PAGES if _reads(head, page)), None)


def _reads(head: bytes, page: CodePage) -> bool:
    text = _strict(head, page.codec) or _strict(head[:-1], page.codec)  # the last character may be cut
    if text is None:
        return False
    other = [character for character in text if character > "\x7f"]
    plain = everyday(page)
    if len(other) < LEAST or sum(character in plain for character in other) < PLAIN * len(other):
        return False
    if len(head) - len(head.translate(None, bytes(range(128, 256)))) < PAIRED * len(other):
        return False
    if page.common is None:
        kana = [character for character in other if "\u3041" <= character <= "\u3093"]
        return len(kana) >= COMMON * len(other) and sum(kana_ >= "ふ" for kana_ in kana) >= BEYOND * len(kana)
    hanzi = [character for character in other if "\u4e00" <= character <= "\u9fff"]
    common = page.common.intersection(hanzi)
    first_bytes = {
        character.encode(page.codec)[0] for character in set(hanzi)
    }  # letters of another script fill a row or two
    return (
        len(set(hanzi)) >= LEAST
        and len(common) >= LEAST_COMMON
        and 2 * len(first_bytes) >= LEAST
        and sum(character in common for character in hanzi) >= COMMON * len(hanzi)
    )


@cache
def everyday(page: CodePage) -> frozenset[str]:
    """What the rows of a code page hold."""
    pairs = (bytes((first, second)) for row in page.rows for first in row for second in page.seconds)
    return frozenset(text for pair in pairs if (text := _strict(pair, page.codec)) and len(text) == 1)


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None
