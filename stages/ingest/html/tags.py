"""The tags of an HTML source as a browser's tokenizer cuts them: comments, elements of raw text, tags and their attributes.

A quote opens a value only behind an equals sign (WHATWG HTML, 13.2.5.32 to 13.2.5.39): `<div class="a"">` ends at its `>`, and
what stands between two stray quotes further on is text. Every pattern is linear: each character is met a bounded number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

RAW = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
"""Elements whose content is text up to their own closing tag."""

_VALUE = r"""(?>"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+)"""
_ATTRIBUTE = rf"""=?+[^\s/>=]++(?>\s*+=\s*+{_VALUE}?+)?+"""
ATTRIBUTES = rf"""(?>[\s/]++|{_ATTRIBUTE}|=)*+"""
"""What stands between a tag's name and its `>`."""
TOKEN = re.compile(
    r"<!--(?>-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>|\Z))"
    rf"|<(?P<raw>{'|'.join(RAW)})(?=[\s/>]){ATTRIBUTES}(?:>|\Z)"
    r"(?P<inside>[^<]*+(?:<(?!/(?P=raw)[\s/>])[^<]*+)*+)(?:</(?P=raw)(?=[\s/>])|(?P<open>\Z))"
    rf"|<(?P<close>/?)(?P<name>[a-zA-Z][^\s/>]*+)(?P<attributes>{ATTRIBUTES})(?:>|\Z)",
    re.S | re.I,
)
"""One comment, element of raw text (`open` where it is never closed), or tag."""
_NAMED = re.compile(rf"""(?P<name>=?+[^\s/>=]++)(?>\s*+=\s*+(?P<value>{_VALUE})?+)?+""")


def attributes(text: str) -> Iterator[tuple[str, str]]:
    """Names in small letters and values of the attributes of one tag, as they stand; the first of a name counts in a browser."""
    for found in _NAMED.finditer(text):
        value = found["value"] or ""
        if value[:1] in ("'", '"'):
            value = value[1:].removesuffix(value[0])
        yield found["name"].lower(), unescape(value)


def openings(source: str) -> int:
    """Opening tags; what stands inside comments and raw text is none."""
    return sum(1 for token in TOKEN.finditer(source) if token["raw"] or (token["name"] and not token["close"]))


_BLOCK = re.compile(r"<(?:/head|body|p|div|h[1-6]|article|section|main|table|ul|ol|dl)\b", re.I)
_TAG = re.compile(r"</?[a-zA-Z]")
REPAIRS = 3
"""Places of one source that are repaired."""


def repaired(source: str) -> str:
    """`source` with what reaches to its end unclosed closed early: a comment, script or style before the next block, a title or
    textarea before the next tag, a quoted value before its first `>`. A browser shows nothing of what follows those."""
    for _ in range(REPAIRS):
        last = None
        for last in TOKEN.finditer(source):
            pass
        place = _closing(source, last) if last is not None and last.end() >= len(source) else None
        if place is None:
            return source
        at, put = place
        source = source[:at] + put + source[at:]
    return source


def _closing(source: str, token: re.Match) -> tuple[int, str] | None:
    """Where the last token should have ended, and what ends it; None where it hides nothing."""
    if token["raw"] is not None:
        if token["open"] is None:
            return None
        seek = _BLOCK if token["raw"].lower() in ("script", "style") else _TAG
        found = seek.search(source, token.start("inside"))
        return (found.start(), f"</{token['raw']}>") if found else None
    if token["name"] is None:
        found = None if token[0].endswith(("-->", "--!>")) else _BLOCK.search(source, token.start() + 4)
        return (found.start(), "-->") if found else None
    end = source.find(">", token.start())
    inside = token["attributes"]
    quote = next((mark for mark in "\"'" if re.search(rf"=\s*{mark}[^{mark}]*\Z", inside)), None)
    return (end, quote) if quote and end >= 0 and end < len(source) - 1 else None
