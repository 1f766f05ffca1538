"""The tags of an HTML source as a browser's tokenizer cuts them: comments, elements of raw text, tags and their attributes.

A quote opens a value only behind an equals sign (WHATWG HTML, 13.2.5.32 to 13.2.5.39): `<div class="a"">` ends at its `>`, and
what stands between two stray quotes further on is text. Every pattern is linear: each character is met a bounded number of times.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Iterator

RAW = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
"""Elements whose content is text up to their own closing tag."""

_VALUE = r"""(?>"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+)"""
_ATTRIBUTE = rf"""=?+[^\s/>=]++(?>\s*+=\s*+{_VALUE}?+)?+"""
ATTRIBUTES = rf"""(?>[\s/]++|{_ATTRIBUTE}|=)*+"""
"""What stands between a tag's name and its `>`."""
TOKEN = re.compile(
    r"<!--(?>-?>|.*?(?:--!?>|\Z))"
    rf"|<(?P<raw>{'|'.join(RAW)})(?=[\s/>]){ATTRIBUTES}(?:>|\Z)(?P<inside>.*?)(?:</(?P=raw)(?=[\s/>])|(?P<open>\Z))"
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
