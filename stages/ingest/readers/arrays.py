"""JSON files: the elements of an array one at a time; behind a damaged one reading goes on at the next."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from stages.ingest import charset
from stages.ingest.readers.lines import CHUNK, faults, line_limit, load, row_of
from stages.ingest.readers.recoded import Decoder, Recoded, recoded
from stages.ingest.row import Raw
from stages.ingest.unpack import Unpacked

LISTS = ("data", "rows", "examples", "instances", "records")
"""Keys under which a JSON object keeps its rows, where one of them holds a list of objects."""
SPACE = " \t\r\n"
BORDER = re.compile(r"[}\]\"0-9el]\s*,\s*(?=\{)")
"""Where an element may begin behind one that is damaged: a value, a comma, an opening brace."""
NEAR = 4_096
"""Characters kept while a border is looked for."""
TRIES = 4
"""Elements looked for inside a damaged one read at most so many times the characters of the file so far; each reading is one more pass."""
DEPTH = 400
"""Levels of nesting that the parser surely has read before it gives up (Python's limit is 1,000 calls, ours among them)."""
_NESTED = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')
_MARKED = re.compile(f"[{charset.UNREADABLE}\0]|\\\\u(?:[dD][89a-fA-F]|0000)")


def read_json(stream: Unpacked, max_bytes: int) -> Iterator[Raw]:
    """The objects of a JSON array, or of the one list in an object, or the object itself."""
    text = _Text(recoded(stream), line_limit(max_bytes))
    lead = text.lead()
    if not lead:
        yield Raw("fault", "", reason="ingest.empty")
    else:
        text.at += lead == "["
        yield from _elements(text, lone=lead == "{")
    yield from faults(stream)


class _Text:
    """The decoded file from the first character not yet read, filled on demand."""

    def __init__(self, stream: Unpacked | Recoded, limit: int):
        self.stream, self.limit = stream, limit
        self.decoder = Decoder(stream)
        self.codec = "utf-8"
        self.held, self.at, self.began = "", 0, 0
        self.filled = self.tried = 0
        self.rest = b""
        self.first = True
        self.ended = False

    def fill(self) -> bool:
        """Hold about twice as much as before; False at the end of the file."""
        data = self.stream.read(max(CHUNK, len(self.held) - self.at))
        self.ended = not data
        more = self._decoded(data)
        self.held, self.at, self.filled = self.held[self.at :] + more, 0, self.filled + len(more)
        return not self.ended

    def _decoded(self, data: bytes) -> str:
        """What can be decoded so far: up to the last position where no character can be cut, in whatever charset."""
        data, self.rest = self.rest + data, b""
        if not self.ended and not data.isascii():
            cut = max(data.rfind(mark) for mark in (b"\n", b'"', b",", b" ", b":")) + 1
            if cut or len(data) < 4 * CHUNK:
                data, self.rest = data[:cut], data[cut:]
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.decoder.near = data
            parts = [self.decoder.decode(line) for line in re.split(rb'(?<=[\n"])', data)]
            self.codec = next((codec for _, codec in parts if codec != "utf-8"), self.codec)
            text = "".join(part for part, _ in parts)
        if self.first and text:
            text, self.first = text.removeprefix("\ufeff"), False
        return text

    def position(self) -> int:
        """Characters of the file before the first not yet read."""
        return self.filled - len(self.held) + self.at

    def failed(self, fault: Exception) -> int:
        """Characters from here to where reading of the value failed; for one that nests too deep, to a depth it had before that."""
        if isinstance(fault, json.JSONDecodeError):
            return fault.pos - self.at
        depth = 0
        for sign in _NESTED.finditer(self.held, self.at) if isinstance(fault, RecursionError) else ():
            depth += (sign[0] in "[{") - (sign[0] in "]}")
            if depth == DEPTH:
                return sign.end() - self.at
        return 1

    def over(self) -> bool:
        """Has all of the file been read?"""
        return self.ended and self.at >= len(self.held)

    def lead(self) -> str:
        """The next character that is not white space, or nothing."""
        while True:
            while self.at < len(self.held):
                if self.held[self.at] not in SPACE:
                    return self.held[self.at]
                self.at += 1
            if not self.fill() and not self.held:
                return ""

    def value(self) -> tuple[Any, str | None]:
        """The JSON value that begins here, and its note. ValueError where it is broken, OverflowError where it is over the limit."""
        decoder = json.JSONDecoder()
        while True:
            try:
                value, end = decoder.raw_decode(self.held, self.at)
            except json.JSONDecodeError as fault:
                if self.ended or (fault.pos < len(self.held) - 64 and not fault.msg.startswith("Unterminated")):
                    raise
                if len(self.held) - self.at > self.limit:
                    raise OverflowError(len(self.held) - self.at) from None
                self.fill()
                continue
            if end == len(self.held) and not self.ended:
                self.fill()  # a number may go on
                continue
            self.began, self.at = self.at, end
            return self._checked(value, self.began, end)

    def _checked(self, value: Any, start: int, end: int) -> tuple[Any, str | None]:
        """The value; made again from its text where something in that is no character."""
        if _MARKED.search(self.held, start, end) is None and self.codec == "utf-8":
            return value, None
        return load(self.held[start:end], self.codec)

    def skip(self, wrong: int) -> None:
        """Go to where an element may begin: the last border before the position `wrong` in what is held, else the first behind it."""
        back = max(0, self.at - 1)  # the end of a value just read may be the first half of a border
        before = [border.end() for border in BORDER.finditer(self.held, back, wrong)]
        if before and before[-1] > self.at:
            self.at = before[-1]
            return
        while (border := BORDER.search(self.held, max(back, wrong - NEAR))) is None and not self.ended:
            self.at, wrong, back = max(self.at, len(self.held) - NEAR), 0, 0
            self.fill()
        self.at = border.end() if border is not None else len(self.held)


def _elements(text: _Text, lone: bool) -> Iterator[Raw]:
    """The elements from here on; a stretch that cannot be read is a row, and reading goes on at the next element behind it.

    `lone`: the file begins with an object; where nothing stands behind it, it is the row, or what holds the list of rows.
    """
    keys: set[str] = set()
    number, closed, sound = 0, False, True
    while sign := text.lead():
        if sign in ",]":
            closed = sign == "]"
            text.at += 1
            continue
        try:
            value, note = text.value()
        except (OverflowError, ValueError, RecursionError) as fault:
            large = type(fault) is OverflowError
            why = (
                f"over {text.limit} bytes"
                if large
                else f"no JSON: {fault.msg if isinstance(fault, json.JSONDecodeError) else type(fault).__name__}"
            )
            yield Raw(
                "fault", f"row:{number}", reason="ingest.too_large" if large else "ingest.broken_record", note=why
            )
            number, sound = number + 1, sign in "}:"
            if (
                sound
            ):  # what was read so far stood inside an element whose head is gone: its names are not those of rows
                keys.clear()
            _go_on(text, fault, keys, whole=sign == "{" and not large)
            closed = text.over()
            continue
        if lone and not number and not text.lead():
            yield from _object(value, note)
            return
        if sound and isinstance(value, dict):
            keys |= set(value)
        yield row_of(value, f"row:{number}", note)
        number += 1
    if not closed and not lone and text.stream.fault is None:
        yield Raw("fault", "end", reason="ingest.broken_file", note="the array is not closed")


def _go_on(text: _Text, fault: Exception, keys: set[str], whole: bool) -> None:
    """Behind a damaged element, to the next object that can be read and has a name in common with those before all damage (`keys`).

    `whole`: the damaged element has its beginning, so that an element in it can be told from an object in it.
    """
    wrong = text.position() + text.failed(fault)
    if whole and _inside(text, wrong, keys):
        return
    while not text.over():
        text.skip(max(text.at, wrong - text.position() + text.at))
        try:
            value, _ = text.value()
        except (OverflowError, ValueError, RecursionError) as again:
            wrong = text.position() + text.failed(again)
            continue
        if isinstance(value, dict) and (not keys or keys & set(value)):
            text.at = text.began
            return
        wrong = text.position() + 1


def _inside(text: _Text, wrong: int, keys: set[str]) -> bool:
    """Go to the first whole element before `wrong` that a damaged one took in, as one with a bracket too many does.

    An element has most of the names of those before it (`keys`) or else of the damaged one, so that an object inside an
    element is not taken for one. `wrong` counts from the start of the file. False where there is none, or looking costs too much.
    """
    second = text.held.find("{", text.at + 1)
    keys = keys or set(_NAME.findall(text.held, text.at, second if second >= 0 else len(text.held)))
    text.tried += wrong - text.position()
    while keys and text.tried <= TRIES * text.filled:
        border = BORDER.search(text.held, max(0, text.at - 1), max(text.at, wrong - text.position() + text.at))
        if border is None:
            return False
        text.at = border.end()
        try:
            value, _ = text.value()
        except (OverflowError, ValueError, RecursionError) as fault:
            text.tried += text.failed(fault)
            continue
        if isinstance(value, dict) and 2 * len(keys & set(value)) > len(keys):
            text.at = text.began
            return True
    return False


def _object(value: Any, note: str | None) -> Iterator[Raw]:
    """An object that is all of a file: the rows it holds under a known name, or itself as one."""
    rows = None
    if isinstance(value, dict):
        rows = next(
            (
                value[key]
                for key in LISTS
                if isinstance(value.get(key), list) and value[key] and isinstance(value[key][0], dict)
            ),
            None,
        )
    for number, row in enumerate([value] if rows is None else rows):
        yield row_of(row, f"row:{number}", note)
