"""JSON Lines, streamed: a line over the limit is counted and never held, a broken one is a row of its own."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from stages.ingest import charset
from stages.ingest.readers.recoded import Decoder, Recoded, recoded, replace_unreadable
from stages.ingest.row import Raw
from stages.ingest.unpack import Unpacked

CHUNK = 1 << 20
_decoded = json.JSONDecoder().decode
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2}|u0000)|.)", re.S
)
"""An escape of a JSON string; of group 1 where it is half a pair of surrogates or NUL."""


def line_limit(max_bytes: int) -> int:
    """Bytes of a line that may hold a text of `max_bytes`: an escaped Hangul syllable is six bytes for three."""
    return 2 * max_bytes + (1 << 20)


def lines(stream: Unpacked | Recoded, limit: int, decoder: Decoder | None = None) -> Iterator[tuple[bytes | None, int]]:
    """Lines without their end, and their size; None for one over `limit` bytes, of which no more than that is ever held.

    A line ends with LF; in a file whose first mebibyte has none but CRs, with CR. `decoder` is shown what stands around them.
    """
    held: list[bytes] = []
    size = 0
    end = b""
    while chunk := stream.read(CHUNK):
        end = end or (b"\r" if b"\r" in chunk and b"\n" not in chunk else b"\n")
        if decoder is not None:
            decoder.near = chunk
        *whole, last = chunk.split(end)
        for part in whole:
            size += len(part)
            yield (None if size > limit else b"".join([*held, part]) if held else part), size
            if held:
                held = []
            size = 0
        size += len(last)
        if size <= limit:
            held.append(last)
        else:
            held.clear()
    if size:
        yield (b"".join(held) if size <= limit else None), size


def read_jsonl(stream: Unpacked, max_bytes: int) -> Iterator[Raw]:
    """One row per line; blank lines are no rows."""
    text = recoded(stream)
    decoder = Decoder(text)
    for number, (line, size) in enumerate(lines(text, line_limit(max_bytes), decoder), 1):
        locator = f"line:{number}"
        if line is None:
            yield Raw("fault", locator, reason="ingest.too_large", note=f"a line of {size} bytes")
        elif line and not line.isspace():
            yield _row(*decoder.decode(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line), locator)
    yield from faults(stream)


def faults(stream: Unpacked | Recoded) -> Iterator[Raw]:
    """The row of a file whose packing is cut or damaged: what stood before it has been read."""
    if stream.fault is not None:
        reason = "ingest.truncated_gzip" if stream.fault == "truncated" else "ingest.broken_file"
        yield Raw("fault", "end", reason=reason, note=f"{stream.packing} data {stream.fault}")


def _row(text: str, codec: str, locator: str) -> Raw:
    note = None
    try:
        value, note = load(text, codec)
    except (ValueError, RecursionError) as fault:
        return Raw("fault", locator, reason="ingest.broken_record", note=f"no JSON: {brief(fault)}")
    return row_of(value, locator, note)


def row_of(value: Any, locator: str, note: str | None = None) -> Raw:
    """The row of a JSON value, or why it is none."""
    if not isinstance(value, dict):
        return Raw(
            "fault", locator, reason="ingest.wrong_columns", note=f"a JSON {type(value).__name__}, not an object"
        )
    return Raw("row", locator, value, note=note)


def load(text: str, codec: str) -> tuple[Any, str | None]:
    """The value of a JSON text, and a note of what could not be read in it: bytes, NUL characters, halves of surrogate pairs."""
    if codec == "utf-8" and not ("\\u" in text or "\0" in text or charset.UNREADABLE in text):
        return _decoded(text), None
    halves = 0

    def whole(found: re.Match) -> str:
        nonlocal halves
        halves += found[1] is not None
        return found[0] if found[1] is None else "\\ufffd"

    text, note = replace_unreadable(text, codec)
    if "\\u" in text and ("\\ud" in text or "\\uD" in text or "\\u0000" in text):
        text = _ESCAPE.sub(whole, text)
    if halves:
        note = "; ".join(filter(None, (note, f"{halves} escapes that are no character")))
    return _decoded(text), note


def brief(fault: BaseException) -> str:
    """The fault without the data it quotes."""
    if isinstance(fault, json.JSONDecodeError):
        return f"{fault.msg} at character {fault.pos}"
    return type(fault).__name__
