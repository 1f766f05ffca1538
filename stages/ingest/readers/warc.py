"""WARC, WET and ARC files to raw records: what a crawl brought home, and one row for everything else it wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from stages.ingest import kinds
from stages.ingest.readers import codings
from stages.ingest.readers.frames import FOLD, HEAD_END, LONGEST_HEADER, Frame, arc_frames, arc_line, warc_frames
from stages.ingest.row import Raw, guarded
from stages.ingest.unpack import Unpacked

PAGES = frozenset(("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"))
TEXTS = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/x-rst": "rst",
    "text/prs.fallenstein.rst": "rst",
}
BELIEVED = frozenset(
    (
        "",
        "application/octet-stream",
        "unknown/unknown",
        "content/unknown",
        "application/xml",
        "text/xml",
        "application/json",
        "text/json",
    )
)
"""Declared types under which a page is one all the same."""
KEPT_STATUS = frozenset((200, 203))
OWN = frozenset(("response", "resource", "conversion"))
"""Record types that hold a page; the others describe the crawl."""
KEPT_HEADERS = frozenset(("x-robots-tag", "tdm-reservation", "content-language", "content-usage", "content-signal"))
_STATUS = re.compile(rb"^(?:HTTP/\d(?:\.\d)?|ICY)[ \t]+(\d{3})", re.I)


def read_warc(stream: Unpacked, limit: int) -> Iterator[Raw]:
    """Every record of a WARC or WET file, those without a page as faults. Bodies over `limit` bytes are not read."""
    for frame in warc_frames(stream, limit):
        fields = _fields(frame.head)
        name = fields.get("warc-record-id", "").strip("<> ")
        uri = fields.get("warc-target-uri", "").strip("<> ") or None
        raw = guarded(_record, frame, fields, uri, limit)
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
        raw = guarded(_record, frame, fields, uri, limit)
        raw.locator = f"record:{frame.number}"
        raw.url = uri if page else None
        raw.date = _stamp(date.decode())
        yield raw


def _word(declared: str) -> str:
    """A header's word for a note; what is neither a record's type nor a media type is not quoted."""
    return declared if re.fullmatch(r"[\w.+-]{1,40}(?:/[\w.+-]{1,60})?", declared) else "of no known form"


def _stamp(digits: str) -> str | None:
    """`20140216050221` as `2014-02-16T05:02:21Z`."""
    if not re.fullmatch(r"\d{14}", digits):
        return None
    d = digits
    return f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[8:10]}:{d[10:12]}:{d[12:]}Z"


def _fields(head: bytes) -> dict[str, str]:
    """Header fields by lower-case name, the first of each."""
    return dict(reversed(_pairs(head)))


def _pairs(head: bytes) -> list[tuple[str, str]]:
    """Header fields in order, names in lower case; a line without a colon is none. (FastWARC's parser ends at 32 KiB.)"""
    parts = (line.partition(":") for line in FOLD.sub(b" ", head).decode("utf-8", "replace").split("\n")[1:])
    return [(name.strip().lower(), value.strip()) for name, colon, value in parts if colon]


def _record(frame: Frame, fields: dict[str, str], uri: str | None, limit: int) -> Raw:
    if frame.reason is not None:
        return Raw("fault", "", reason=frame.reason, note=frame.note)
    kind = fields.get("warc-type", "").lower()
    if kind == "revisit":
        return Raw("fault", "", reason="ingest.revisit")
    if kind not in OWN or (uri and _scheme(uri) not in ("http", "https", "file", "ftp")):
        return Raw("fault", "", reason="ingest.record_type", note=_word(kind) if kind else "no type")
    raw = _conversion(frame, fields) if kind == "conversion" else _exchange(frame, fields, uri, limit)
    notes = [
        raw.note,
        frame.note,
        f"cut short by the crawler: {fields['warc-truncated']}" if "warc-truncated" in fields else None,
    ]
    raw.note = "; ".join(note for note in notes if note) or None
    raw.metrics = {"warc.truncated": float("warc-truncated" in fields)}
    if "warc-truncated" in fields:
        raw.facts = raw.facts | {"meta": {**raw.facts.get("meta", {}), "truncated": fields["warc-truncated"]}}
    return raw


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme.lower()
    except ValueError:
        return ""


def _conversion(frame: Frame, fields: dict[str, str]) -> Raw:
    """A WET record: text that someone has extracted, kept as it is."""
    if (kind := kinds.apart(frame.body)) is not None:
        return Raw("fault", "", reason=f"ingest.{kind}", note="declared as a text taken from a page")
    languages = fields.get("warc-identified-content-language")
    return Raw("text", "", frame.body, charset="utf-8", facts={"meta": {"languages": languages} if languages else {}})


def _exchange(frame: Frame, fields: dict[str, str], uri: str | None, limit: int) -> Raw:
    """A response (HTTP head and payload) or a resource (payload alone)."""
    body, headers, status = frame.body, [], 200
    kind = fields.get("content-type", "")
    if fields.get("warc-type", "").lower() == "response" and (
        kind.startswith("application/http") or _STATUS.match(body)
    ):
        status, headers, body = _http(body)
        kind = next((value for name, value in headers if name == "content-type"), "")
    if status is not None and status not in KEPT_STATUS:
        return Raw("fault", "", reason="ingest.http_status", note=str(status))
    medium = kind.partition(";")[0].strip().lower()
    payload = codings.decoded(body, headers, limit, undeclared=medium in PAGES or medium in TEXTS or medium in BELIEVED)
    if payload.reason is not None:
        return Raw("fault", "", reason=payload.reason, note=f"payload: {payload.note}")
    reads, reason = _reads(medium, payload.body, uri)
    if reads is None:
        return Raw("fault", "", reason=reason, note=_word(medium) if medium else "no content type")
    return Raw(
        reads, "", payload.body, charset=_charset(kind), headers=tuple((n, v) for n, v in headers if n in KEPT_HEADERS),
        note="; ".join(filter(None, ("no status line" if status is None else None, payload.note))) or None,
    )  # fmt: skip


def _charset(kind: str) -> str | None:
    from stages.ingest.charset import header_label

    return header_label(kind)


def _http(data: bytes) -> tuple[int | None, list[tuple[str, str]], bytes]:
    """Status (None without a status line), headers and payload of an HTTP response."""
    status = _STATUS.match(data)
    found = HEAD_END.search(data, 0, LONGEST_HEADER)
    if status is None and (found is None or data.lstrip()[:1] == b"<"):
        return None, [], data
    end = found.end() if found is not None else min(len(data), LONGEST_HEADER)
    # Where the blank line is missing the head ends before the first line of the page.
    markup = data.find(b"\n<", 0, end) + 1
    end = markup or (end if found is not None else len(data))
    head = data[:end] if status is not None else b"HTTP/1.0 200\r\n" + data[:end]
    return int(status.group(1)) if status else None, _pairs(head.rstrip(b"\r\n") + b"\r\n\r\n"), data[end:]


def _reads(medium: str, body: bytes, uri: str | None) -> tuple[str | None, str | None]:
    """What reads a payload of media type `medium`, and where nothing does, why not. What the bytes show comes before what is declared."""
    if (kind := kinds.apart(body, code=medium in PAGES)) is not None:
        return None, f"ingest.{kind}"
    markup = kinds.is_page(body)
    if medium in PAGES or (markup and (medium in BELIEVED or medium in TEXTS)):
        return "page", None
    if medium in TEXTS:
        robots = uri is not None and _path(uri) == "/robots.txt"
        return (None, "ingest.not_html") if robots else (TEXTS[medium], None)
    kind = None if markup else kinds.declared(medium)
    return None, f"ingest.{kind}" if kind else "ingest.not_html"


def _path(uri: str) -> str:
    try:
        return urlsplit(uri).path
    except ValueError:
        return ""
