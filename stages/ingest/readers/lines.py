"""JSON Lines and JSON files, streamed: a line over the limit is counted and never held, a broken one is a row of its own."""

from __future__ import annotations

import codecs
import json
from typing import Any, Iterator

from stages.ingest import charset
from stages.ingest.row import Raw
from stages.ingest.unpack import Unpacked

CHUNK = 1 << 20
LISTS = ("data", "rows", "examples", "instances", "records")
"""Keys under which a JSON object keeps its rows, where one of them holds a list of objects."""


def line_limit(max_bytes: int) -> int:
    """Bytes of a line that may hold a text of `max_bytes`: an escaped Hangul syllable is six bytes for three."""
    return 2 * max_bytes + (1 << 20)


def lines(stream: Unpacked, limit: int) -> Iterator[tuple[bytes | None, int]]:
    """Lines without their end, and their size; None for one over `limit` bytes, of which no more than that is ever held."""
    held: list[bytes] = []
    size = 0
    while chunk := stream.read(CHUNK):
        *whole, last = chunk.split(b"\n")
        for part in whole:
            size += len(part)
            yield (b"".join([*held, part]) if size <= limit else None), size
            held, size = [], 0
        size += len(last)
        if size <= limit:
            held.append(last)
        else:
            held.clear()
    if size:
        yield (b"".join(held) if size <= limit else None), size


def read_jsonl(stream: Unpacked, max_bytes: int) -> Iterator[Raw]:
    """One row per line; blank lines are no rows."""
    for number, (line, size) in enumerate(lines(stream, line_limit(max_bytes)), 1):
        place = f"line:{number}"
        if line is None:
            yield Raw("fault", place, reason="ingest.too_large", note=f"a line of {size} bytes")
        elif line.strip():
            yield _row(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, place)
    yield from faults(stream)


def faults(stream: Unpacked) -> Iterator[Raw]:
    """The row of a file whose packing is cut or damaged: what stood before it has been read."""
    if stream.fault is not None:
        reason = "ingest.truncated_gzip" if stream.fault == "truncated" else "ingest.broken_file"
        yield Raw("fault", "end", reason=reason, note=f"{stream.packing} data {stream.fault}")


def _row(line: bytes, place: str) -> Raw:
    note = None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        decoded = charset.decode(line, html=False)
        text, note = decoded.text, f"ingest.bad_utf8: read as {decoded.encoding}, {decoded.replaced} characters unreadable"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        return Raw("fault", place, reason="ingest.broken_record", note=f"no JSON: {_brief(fault)}")
    if not isinstance(value, dict):
        return Raw("fault", place, reason="ingest.wrong_columns", note=f"a JSON {type(value).__name__}, not an object")
    return Raw("row", place, value, note=note)


def _brief(fault: BaseException) -> str:
    """The fault without the data it quotes."""
    if isinstance(fault, json.JSONDecodeError):
        return f"{fault.msg} at character {fault.pos}"
    return type(fault).__name__


def read_json(stream: Unpacked, max_bytes: int) -> Iterator[Raw]:
    """The objects of a JSON array, one at a time; or of the one list in an object; or the object itself."""
    text = _Text(stream, line_limit(max_bytes))
    lead = text.lead()
    if lead == "[":
        yield from _array(text)
    elif lead:
        yield from _object(text)
    else:
        yield Raw("fault", "", reason="ingest.empty")
    yield from faults(stream)


class _Text:
    """The decoded file from the first place not yet read, filled on demand."""

    def __init__(self, stream: Unpacked, limit: int):
        self.stream, self.limit = stream, limit
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self.held, self.at = "", 0
        self.ended = False

    def fill(self) -> bool:
        """Hold about twice as much as before; False at the end of the file."""
        data = self.stream.read(max(CHUNK, len(self.held) - self.at))
        self.held = self.held[self.at :] + self.decoder.decode(data, final=not data)
        self.at = 0
        self.ended = not data
        return not self.ended

    def lead(self) -> str:
        """The next character that is not white space, or nothing."""
        while True:
            rest = self.held[self.at : self.at + 4096].lstrip(" \t\r\n")
            if rest:
                self.at = self.held.index(rest[0], self.at)
                return rest[0]
            self.at = min(self.at + 4096, len(self.held))
            if self.at >= len(self.held) and not self.fill():
                return ""

    def value(self) -> Any:
        """The JSON value that begins here. ValueError where it is broken, OverflowError where it is over the limit."""
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
            self.at = end
            return value


def _array(text: _Text) -> Iterator[Raw]:
    text.at += 1
    number = 0
    while (sign := text.lead()) not in ("", "]"):
        if sign == ",":
            text.at += 1
            continue
        place = f"row:{number}"
        number += 1
        try:
            value = text.value()
        except OverflowError:
            yield Raw("fault", place, reason="ingest.too_large", note="an element of the array; the file cannot be read on behind it")
            return
        except (ValueError, RecursionError) as fault:
            yield Raw("fault", place, reason="ingest.broken_file", note=f"no JSON: {_brief(fault)}")
            return
        if isinstance(value, dict):
            yield Raw("row", place, value)
        else:
            yield Raw("fault", place, reason="ingest.wrong_columns", note=f"a JSON {type(value).__name__}, not an object")
    if not sign and text.stream.fault is None:
        yield Raw("fault", "end", reason="ingest.broken_file", note="the array is not closed")


def _object(text: _Text) -> Iterator[Raw]:
    try:
        value = text.value()
    except OverflowError:
        yield Raw("fault", "", reason="ingest.too_large", note="one JSON object")
        return
    except (ValueError, RecursionError) as fault:
        yield Raw("fault", "", reason="ingest.broken_file", note=f"no JSON: {_brief(fault)}")
        return
    rows = None
    if isinstance(value, dict):
        rows = next((value[key] for key in LISTS if isinstance(value.get(key), list) and value[key] and isinstance(value[key][0], dict)), None)
    if rows is None:
        rows = [value]
    for number, row in enumerate(rows):
        if isinstance(row, dict):
            yield Raw("row", f"row:{number}", row)
        else:
            yield Raw("fault", f"row:{number}", reason="ingest.wrong_columns", note=f"a JSON {type(row).__name__}, not an object")
