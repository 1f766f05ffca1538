"""JSON text as a reader sees it: its strings decoded, its keys as labels; and where in the JSON text a span of that lies.

The arguments of tools, tool schemas and values of `meta` are JSON. `전화\\n010-1234-5678` there is a letter before the number, and
`\\uc11c\\uc6b8` is no Hangul: so strings are decoded before they are looked at. What is edited stays JSON: a replacement is escaped,
and a number that is edited becomes a string.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import NamedTuple

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|(-?\d[\d.eE+-]*)', re.S)
_UNIT = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.S)
_LONE = re.compile("[\ud800-\udfff]")


class _Token(NamedTuple):
    """A string or number: `raw[start:end]` without quotes; `body` is what it says."""

    start: int
    end: int
    body: str
    number: bool


class JsonValue(NamedTuple):
    """`raw[start:end]` is to be replaced by `before` + the replacement, escaped, + `after`; `value` is what stands there."""

    start: int
    end: int
    value: str
    before: str = ""
    after: str = ""

    def filled(self, replacement: str) -> str:
        return self.before + json.dumps(replacement, ensure_ascii=False)[1:-1] + self.after


class JsonText:
    """`raw`, and `seen`, one line a value, with its key before it; the same as `raw` where that is no JSON."""

    def __init__(self, raw: str):
        self.raw = raw
        self.tokens: list[_Token] = []
        self._starts: list[int] = []
        self.plain = not _is_json(raw)
        if self.plain:
            self.seen = raw
            return
        pieces, at = [], 0
        for found in _TOKEN.finditer(raw):
            number = found.group(3) is not None
            start, end = found.span(3 if number else 1)
            body = _decoded(raw[start:end])
            self.tokens.append(_Token(start, end, body, number))
            self._starts.append(at)
            pieces.append(body + (": " if found.group(2) else "\n"))
            at += len(pieces[-1])
        self.seen = "".join(pieces)

    def values(self, start: int, end: int) -> list[JsonValue]:
        """Where `seen[start:end]` stands in `raw`: one span for each string or number it touches, in order."""
        if self.plain:
            return [JsonValue(start, end, self.raw[start:end])]
        found = []
        for number in range(max(0, bisect_right(self._starts, start) - 1), len(self.tokens)):
            token, at = self.tokens[number], self._starts[number]
            if at >= end:
                break
            low, high = max(0, start - at), min(len(token.body), end - at)
            if low < high:
                found.append(self._value(token, low, high))
        return found

    def _value(self, token: _Token, low: int, high: int) -> JsonValue:
        value = token.body[low:high]
        if token.number:
            return JsonValue(token.start, token.end, value, f'"{token.body[:low]}', f'{token.body[high:]}"')
        if token.end - token.start == len(token.body):
            return JsonValue(token.start + low, token.start + high, value)
        ends = [token.start]
        for unit in _UNIT.finditer(self.raw, token.start, token.end):
            ends.append(unit.end())
        return JsonValue(ends[low], ends[high], value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _decoded(body: str) -> str:
    return _LONE.sub("\ufffd", json.loads(f'"{body}"', strict=False)) if "\\" in body else body
