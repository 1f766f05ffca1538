"""What a server did to a payload, undone: transfer coding, then content codings one by one, the bytes believed before the headers.

Crawlers often store a payload decoded and keep its headers; so a coding whose bytes do not show it is none. What is cut
gives what stands before the cut, with a note; what cannot be decoded is a reason, never noise taken for text.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import NamedTuple

from stages.ingest import kinds
from stages.ingest.unpack import Unpacked, packing

MOST = 4
"""Content codings of one payload; servers behind servers pack twice, more is a bomb."""
PLAIN = frozenset(("", "identity", "none", "utf-8", "chunked"))
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
_END = re.compile(rb"(?:[!#-'*+\-.0-9A-Z^-z|~]{1,200}:[^\n]{0,8192}\n)*(?:\r?\n)*")
"""What may stand behind the last chunk: trailer fields and blank lines."""


class Payload(NamedTuple):
    """`body` decoded; `note` where it is not all there, `reason` (and `note`) where there is none."""

    body: bytes
    note: str | None = None
    reason: str | None = None


def decoded(body: bytes, headers: list[tuple[str, str]], limit: int, undeclared: bool = True) -> Payload:
    """The payload of a response under its headers (names in lower case), up to `limit` bytes.

    `undeclared`: gzip and zstandard are undone also where no header tells of them.
    """
    notes: list[str] = []
    if any("chunked" in value.lower() for name, value in headers if name == "transfer-encoding"):
        body, cut = dechunk(body)
        notes += ["the chunked body is cut"] * cut
    listed = [
        word.strip().lower().removeprefix("x-")
        for name, value in headers
        if name == "content-encoding"
        for word in value.split(",")
    ]
    todo = [word for word in reversed(listed) if word not in PLAIN]
    for _ in range(MOST):
        coding = todo.pop(0) if todo else packing(body) if undeclared else None
        if coding not in ("gzip", "zstd", "deflate", "br", "compress"):
            if not todo:
                break
            continue
        found = _undone(body, coding, limit)
        if found.reason is not None:
            return found
        body = found.body
        notes += [found.note] if found.note else []
    else:
        if packing(body) in ("gzip", "zstd"):
            return Payload(b"", f"packed more than {MOST} times", "ingest.content_coding")
    return Payload(body, "; ".join(notes) or None)


def _undone(body: bytes, coding: str, limit: int) -> Payload:
    """One coding undone; the body as it is where its bytes do not show it."""
    if coding in ("gzip", "zstd"):
        return _members(body, coding, limit) if packing(body) == coding else Payload(body)
    if coding == "compress":
        return Payload(b"", "compress", "ingest.content_coding") if body.startswith(b"\x1f\x9d") else Payload(body)
    if packing(body) in ("gzip", "zstd"):
        return Payload(body)  # the header names another coding than the bytes show: they are undone as what they are
    found = _deflate(body, limit) if coding == "deflate" else _brotli(body, limit)
    if found is not None:
        return Payload(b"", f"{coding}: over {limit} bytes", "ingest.too_large") if len(found.body) > limit else found
    return (
        Payload(b"", f"{coding} data damaged", "ingest.content_coding")
        if kinds.apart(body) == "binary"
        else Payload(body)
    )


def _members(body: bytes, coding: str, limit: int) -> Payload:
    """All members of a gzip or zstandard payload."""
    stream = Unpacked(io.BytesIO(body))
    pieces, size = [], 0
    while size <= limit and (piece := stream.read(min(1 << 20, limit + 1 - size))):
        pieces.append(piece)
        size += len(piece)
    if size > limit:
        return Payload(b"", f"{coding}: over {limit} bytes", "ingest.too_large")
    if stream.fault == "damaged" and (stream.unproven is not None or not size):
        return Payload(b"", f"{coding} data damaged", "ingest.content_coding")
    if stream.fault is None:
        return Payload(b"".join(pieces))
    if not size:
        return Payload(b"", f"{coding} data cut", "ingest.content_coding")
    return Payload(
        b"".join(pieces), f"{coding} data cut" if stream.fault == "truncated" else f"bytes behind the {coding} data"
    )


def _deflate(body: bytes, limit: int) -> Payload | None:
    """zlib's format, or the bare one that some servers send; None where it is neither."""
    for bits in (15, -15):
        decoder = zlib.decompressobj(wbits=bits)
        try:
            data = decoder.decompress(body, limit + 1)
        except zlib.error:
            continue
        if decoder.eof or len(data) > limit:
            return Payload(data)
        if data and kinds.apart(data) is None:
            return Payload(data, "deflate data cut")
    return None


def _brotli(body: bytes, limit: int) -> Payload | None:
    """Brotli data; None where it is none. They have no first bytes to tell them by."""
    import brotli

    decoder = brotli.Decompressor()
    pieces, size, given = [], 0, body
    try:
        while size <= limit:
            pieces.append(decoder.process(given, output_buffer_limit=1 << 20))
            size, given = size + len(pieces[-1]), b""
            if decoder.is_finished() or (not pieces[-1] and decoder.can_accept_more_data()):
                break
    except brotli.error:
        # Behind the end of the data more bytes are an error to the library; what it gave before is whole.
        return None
    data = b"".join(pieces)
    if decoder.is_finished() or size > limit:
        return Payload(data)
    return (
        Payload(data, "br data cut") if data and kinds.apart(data) is None and kinds.apart(body) == "binary" else None
    )


def dechunk(body: bytes) -> tuple[bytes, bool]:
    """A chunked body joined, and whether it is cut. As it is where the chain of chunk sizes does not hold to its end.

    A crawler that joined the chunks and kept the header leaves a body whose first line may look like a size; a chain of one
    chunk that the body's end cuts proves nothing, so that is left as it is too.
    """
    pieces: list[bytes] = []
    at = 0
    while match := _CHUNK.match(body, at):
        size, start = int(match.group(1), 16), match.end()
        if size == 0:
            return (b"".join(pieces), False) if _END.fullmatch(body, start) else (body, False)
        end = start + size
        if end >= len(body) or body[end:] == b"\r":
            return (b"".join([*pieces, body[start:end]]), True) if pieces else (body, False)
        pieces.append(body[start:end])
        at = end + (2 if body.startswith(b"\r\n", end) else 1 if body.startswith(b"\n", end) else 0)
        if at == end:
            return body, False
    # Cut between two chunks, or within a size line.
    whole = bool(pieces) and re.fullmatch(rb"[0-9a-fA-F]{0,8}\r?", body[at:]) is not None
    return (b"".join(pieces), True) if whole else (body, False)
