"""WARC, WET and ARC files to raw records: what a crawl brought home, and one row for everything else it wrote."""

from __future__ import annotations

import re
import zlib
from typing import Iterator
from urllib.parse import urlsplit

from stages.ingest.readers.frames import FOLD, HEAD_END, LONGEST_HEADER, Frame, arc_frames, arc_line, warc_frames
from stages.ingest.row import Raw, guarded
from stages.ingest.unpack import Unpacked

PAGES = frozenset(("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"))
TEXTS = {"text/plain": "text", "text/markdown": "markdown", "text/x-markdown": "markdown", "text/x-rst": "rst", "text/prs.fallenstein.rst": "rst"}
KEPT_STATUS = frozenset((200, 203))
OWN = frozenset(("response", "resource", "conversion"))
"""Record types that hold a page; the others describe the crawl."""
KEPT_HEADERS = frozenset(("x-robots-tag", "tdm-reservation", "content-language", "content-usage", "content-signal"))
_STATUS = re.compile(rb"^(?:HTTP/\d(?:\.\d)?|ICY)[ \t]+(\d{3})", re.I)
_LOOKS_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|div|p|table|h1)\b", re.I)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
SNIFF = 4_096


def read_warc(stream: Unpacked, limit: int) -> Iterator[Raw]:
    """Every record of a WARC or WET file, those without a page as faults. Bodies over `limit` bytes are not read."""
    for frame in warc_frames(stream, limit):
        fields = _fields(frame.head)
        name = fields.get("warc-record-id", "").strip("<> ")
        uri = fields.get("warc-target-uri", "").strip("<> ") or None
        raw = guarded(_record, frame, fields, uri)
        raw.locator = name or f"record:{frame.number}"
        raw.source = uri if name else None
        raw.url = uri if uri and uri.lower().startswith(("http://", "https://")) else None
        raw.date = fields.get("warc-date")
        yield raw


def read_arc(stream: Unpacked, limit: int) -> Iterator[Raw]:
    """Every record of an ARC file."""
    for frame in arc_frames(stream, limit):
        url, date, _, _ = arc_line(frame.head) or (b"", b"", b"", None)
        uri = url.decode("utf-8", "replace").strip() or None
        page = uri is not None and uri.lower().startswith(("http://", "https://"))
        fields = {"warc-type": "response", "content-type": "application/http"} if page else {"warc-type": "warcinfo"}
        raw = guarded(_record, frame, fields, uri)
        raw.locator = f"record:{frame.number}"
        raw.url = uri if page else None
        raw.date = _stamp(date.decode())
        yield raw


def _stamp(digits: str) -> str | None:
    """`20140216050221` as `2014-02-16T05:02:21Z`."""
    if not re.fullmatch(r"\d{14}", digits):
        return None
    d = digits
    return f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[8:10]}:{d[10:12]}:{d[12:]}Z"


def _fields(head: bytes) -> dict[str, str]:
    """Header fields by lower-case name, the first of each; fastwarc parses them."""
    return {name: value for name, value in reversed(_pairs(head))}


def _pairs(head: bytes) -> list[tuple[str, str]]:
    from io import BytesIO

    from fastwarc.warc import HeaderMap

    if not head:
        return []
    fields = HeaderMap()
    try:
        fields.parse(BytesIO(re.sub(rb"\r*\n", b"\r\n", FOLD.sub(b" ", head))))
        return [(name.lower(), value.strip()) for name, value in fields.to_tuples()]
    except (OSError, ValueError):
        return []


def _record(frame: Frame, fields: dict[str, str], uri: str | None) -> Raw:
    if frame.reason is not None:
        return Raw("fault", "", reason=frame.reason, note=frame.note)
    kind = fields.get("warc-type", "").lower()
    if kind == "revisit":
        return Raw("fault", "", reason="ingest.revisit")
    if kind not in OWN or (uri and _scheme(uri) not in ("http", "https", "file", "ftp")):
        return Raw("fault", "", reason="ingest.record_type", note=kind or "no type")
    raw = _conversion(frame, fields) if kind == "conversion" else _exchange(frame, fields, uri)
    notes = [raw.note, frame.note, f"cut short by the crawler: {fields['warc-truncated']}" if "warc-truncated" in fields else None]
    raw.note = "; ".join(note for note in notes if note) or None
    return raw


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme.lower()
    except ValueError:
        return ""


def _conversion(frame: Frame, fields: dict[str, str]) -> Raw:
    """A WET record: text that someone has extracted, kept as it is."""
    languages = fields.get("warc-identified-content-language")
    return Raw("text", "", frame.body, charset="utf-8", facts={"meta": {"languages": languages} if languages else {}})


def _exchange(frame: Frame, fields: dict[str, str], uri: str | None) -> Raw:
    """A response (HTTP head and payload) or a resource (payload alone)."""
    body, headers, status = frame.body, [], 200
    kind = fields.get("content-type", "")
    if fields.get("warc-type", "").lower() == "response" and (kind.startswith("application/http") or _STATUS.match(body)):
        status, headers, body = _http(body)
        kind = next((value for name, value in headers if name == "content-type"), "")
    if status is not None and status not in KEPT_STATUS:
        return Raw("fault", "", reason="ingest.http_status", note=str(status))
    try:
        body = _decoded(body, headers)
    except (zlib.error, ValueError, OSError) as fault:
        return Raw("fault", "", reason="ingest.broken_record", note=f"payload: {type(fault).__name__}")
    medium = kind.partition(";")[0].strip().lower()
    reads = _reads(medium, body, uri)
    if reads is None:
        return Raw("fault", "", reason="ingest.not_html", note=medium[:80] or "no content type")
    return Raw(
        reads, "", body, charset=_charset(kind), headers=tuple((n, v) for n, v in headers if n in KEPT_HEADERS),
        note="no status line" if status is None else None,
    )  # fmt: skip


def _charset(kind: str) -> str | None:
    from stages.ingest.charset import header_label

    return header_label(kind)


def _http(data: bytes) -> tuple[int | None, list[tuple[str, str]], bytes]:
    """Status (None without a status line), headers and payload of an HTTP response."""
    status = _STATUS.match(data)
    end = HEAD_END.search(data, 0, LONGEST_HEADER)
    if status is None and (end is None or data.lstrip()[:1] == b"<"):
        return None, [], data
    if end is None:
        return int(status.group(1)) if status else None, [], b""
    head = data[: end.end()]
    if status is None:
        head = b"HTTP/1.0 200\r\n" + head
    return int(status.group(1)) if status else None, _pairs(head), data[end.end() :]


def _decoded(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    """The payload without transfer and content encodings. Crawlers often store it decoded and keep the header: then as it is."""
    transfer = next((value.lower() for name, value in headers if name == "transfer-encoding"), "")
    if "chunked" in transfer:
        body = dechunk(body)
    encoding = next((value.lower().strip() for name, value in headers if name == "content-encoding"), "")
    if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
        return _inflate(body, 31)
    if encoding == "deflate":
        for bits in (15, -15):
            try:
                return _inflate(body, bits)
            except zlib.error:
                continue
    if encoding == "br":
        return _brotli(body)
    return body


MAX_PAYLOAD = 128 << 20
"""Unpacked bytes of one payload; what is larger is cut there (a page of 128 MiB is a bomb)."""


def _inflate(body: bytes, bits: int) -> bytes:
    """Unpacked bytes; of a cut stream what can be had."""
    decoder = zlib.decompressobj(wbits=bits)
    return decoder.decompress(body, MAX_PAYLOAD)


def _brotli(body: bytes) -> bytes:
    from io import BytesIO

    from fastwarc.stream_io import BrotliReader

    try:
        return BrotliReader(BytesIO(body)).read(MAX_PAYLOAD)
    except OSError:
        return body  # stored decoded, the header kept


def dechunk(body: bytes) -> bytes:
    """A chunked body joined; one that is not chunked (the crawler joined it) as it is, a cut one as far as it goes."""
    pieces, at = [], 0
    while match := _CHUNK.match(body, at):
        size = int(match.group(1), 16)
        if size == 0:
            return b"".join(pieces)
        start = match.end()
        pieces.append(body[start : start + size])
        at = start + size
        if at >= len(body):
            return b"".join(pieces)
        if body[at : at + 2] == b"\r\n":
            at += 2
        elif body[at : at + 1] == b"\n":
            at += 1
        else:
            return body
    return b"".join(pieces) if pieces and at >= len(body) - 2 else body


def _reads(medium: str, body: bytes, uri: str | None) -> str | None:
    """What reads a payload of media type `medium`, or None."""
    if medium in PAGES:
        return "page"
    if medium in TEXTS:
        if uri and urlsplit(uri).path == "/robots.txt":
            return None
        return "page" if medium == "text/plain" and body[:SNIFF].lstrip()[:1] == b"<" and _LOOKS_HTML.search(body[:SNIFF]) else TEXTS[medium]
    if medium in ("", "application/octet-stream", "unknown/unknown", "content/unknown"):
        return "page" if _LOOKS_HTML.search(body[:SNIFF]) and body[:SNIFF].lstrip()[:1] == b"<" else None
    return None
