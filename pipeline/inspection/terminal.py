"""Text of the world as a terminal may have it: what would steer the terminal, or be no text at all, stands as an escape."""

from __future__ import annotations

import re

# C0 (tab apart), DEL and C1; marks and overrides of direction (UAX 9); line and paragraph separators; lone surrogates.
STEERS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str, lines: bool = False) -> str:
    r"""`text` with control and bidi characters and lone surrogates as escapes; `lines` lets line feeds stand.

    >>> shown("a\x1b[31mb\u202e"), shown("one\ntwo"), shown("one\ntwo\r", lines=True)
    ('a\\x1b[31mb\\u202e', 'one\\x0atwo', 'one\ntwo\\x0d')
    """
    return STEERS.sub(lambda match: match[0] if lines and match[0] == "\n" else _escape(ord(match[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
