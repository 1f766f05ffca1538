"""Records of web archives: what becomes a page, and a row with a reason for all others; real archives to the last record."""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter

import pytest

from stages.ingest.readers.warc import read_arc, read_warc
from stages.ingest.unpack import Unpacked

PAGE = b"<html><body><p>hello</p></body></html>"


def record(kind: str, body: bytes, **fields: str) -> bytes:
    head = {
        "WARC-Type": kind,
        "WARC-Record-ID": "<urn:uuid:1>",
        "WARC-Target-URI": "http://x.example/a",
        "WARC-Date": "2026-01-02T03:04:05Z",
    }
    head |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"WARC/1.0\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def response(
    body: bytes = PAGE, status: str = "HTTP/1.1 200 OK", kind: str = "text/html", headers: str = "", **fields: str
) -> bytes:
    content = f"Content-Type: {kind}\r\n" if kind else ""
    return record(
        "response",
        f"{status}\r\n{content}{headers}\r\n".encode() + body,
        **{"Content_Type": "application/http; msgtype=response", **fields},
    )


def read(data: bytes):
    return list(read_warc(Unpacked(io.BytesIO(data)), 1 << 20))


def one(data: bytes):
    found = read(data)
    assert len(found) == 1
    return found[0]


def test_a_response():
    raw = one(response(kind="text/html; charset=EUC-KR", headers="X-Robots-Tag: noai\r\nServer: x\r\n"))
    assert (raw.kind, raw.body, raw.url, raw.charset, raw.date) == (
        "page",
        PAGE,
        "http://x.example/a",
        "EUC-KR",
        "2026-01-02T03:04:05Z",
    )
    assert (
        raw.headers == (("x-robots-tag", "noai"),)
        and raw.locator == "urn:uuid:1"
        and raw.source == "http://x.example/a"
    )


@pytest.mark.parametrize(
    "data, reason, note",
    [
        (record("warcinfo", b"x"), "ingest.record_type", "warcinfo"),
        (record("request", b"GET / HTTP/1.1\r\n\r\n"), "ingest.record_type", "request"),
        (record("revisit", b""), "ingest.revisit", None),
        (record("resource", b"x", WARC_Target_URI="metadata://gnu.org/wget"), "ingest.record_type", "resource"),
        (response(status="HTTP/1.1 404 Not Found"), "ingest.http_status", "404"),
        (response(status="HTTP/1.0 302 "), "ingest.http_status", "302"),
        (response(kind="image/png"), "ingest.not_html", "image/png"),
        (response(kind="", body=b"\x00\x01"), "ingest.binary", "no content type"),
        (response(kind="", body=b"words"), "ingest.not_html", "no content type"),
        (
            response(kind="text/plain", body=b"User-agent: *", WARC_Target_URI="http://x.example/robots.txt"),
            "ingest.not_html",
            "text/plain",
        ),
    ],
)
def test_what_is_no_page_has_a_reason(data, reason, note):
    raw = one(data)
    assert (raw.kind, raw.reason, raw.note) == ("fault", reason, note)


@pytest.mark.parametrize(
    "body, headers",
    [
        (gzip.compress(PAGE), "Content-Encoding: gzip\r\n"),
        (zlib.compress(PAGE), "Content-Encoding: deflate\r\n"),
        (zlib.compress(PAGE)[2:-4], "Content-Encoding: deflate\r\n"),
        (PAGE, "Content-Encoding: gzip\r\n"),
        (PAGE, "Content-Encoding: br\r\n"),
        (
            b"5\r\n<html\r\n" + b"%x;ext=1\r\n" % (len(PAGE) - 5) + PAGE[5:] + b"\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n",
        ),
        (PAGE, "Transfer-Encoding: chunked\r\n"),
    ],
)
def test_encodings_and_headers_that_lie_about_them(body, headers):
    assert one(response(body, headers=headers)).body == PAGE


def test_kinds_of_payload():
    assert one(response(kind="")).kind == "page"
    assert one(response(b"# md", kind="text/markdown")).kind == "markdown"
    assert one(response(b"words", kind="text/plain")).kind == "text"
    assert one(response(kind="text/plain")).kind == "page"
    assert one(record("resource", PAGE, Content_Type="text/html")).kind == "page"
    assert (
        one(record("response", PAGE, Content_Type="application/http")).kind == "fault"
        or one(record("response", PAGE, Content_Type="text/html")).kind == "page"
    )
    wet = one(
        record("conversion", "글".encode(), Content_Type="text/plain", WARC_Identified_Content_Language="kor,eng")
    )
    assert wet.kind == "text" and wet.facts == {"meta": {"languages": "kor,eng"}}


def test_addresses_in_angle_brackets_and_missing_ids():
    assert one(response(WARC_Target_URI="<http://x.example/b>")).url == "http://x.example/b"
    raw = read(response().replace(b"WARC-Record-ID: <urn:uuid:1>\r\n", b"") * 2)[1]
    assert raw.locator == "record:1" and raw.source is None


def test_a_record_the_crawler_cut_is_noted_and_measured():
    """The measure stands in the ledger; the word in `meta`, where a filter or a mix can ask for it."""
    raw = one(response(WARC_Truncated="length"))
    assert (
        "cut short by the crawler: length" in raw.note
        and raw.metrics == {"warc.truncated": 1.0}
        and raw.facts["meta"] == {"truncated": "length"}
    )
    assert one(response()).metrics == {"warc.truncated": 0.0} and one(response()).facts == {}


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/octet-stream", "application/json", ""])
@pytest.mark.parametrize(
    "body, reason",
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "ingest.pdf"),
        (b"\n\xef\xbb\xbf%PDF-1.4", "ingest.pdf"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "ingest.image"),
        (b"GIF89a\1\0\1\0", "ingest.image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "ingest.image"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg xmlns='http://www.w3.org/2000/svg'/>", "ingest.image"),
        (b"PK\3\4\x14\0" + bytes(20) + b"\5\0\0\0a.txt", "ingest.archive"),
        (b"PK\3\4\x14\0" + bytes(20) + b"\x13\0\0\0[Content_Types].xml", "ingest.office"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "ingest.office"),
        (b"%!PS-Adobe-3.0\n/size 12 def\n(words) show\n", "ingest.office"),
        (b"Rar!\x1a\7\1\0", "ingest.archive"),
        (b"ID3\3\0\0\0\0\0\0", "ingest.audio"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "ingest.video"),
        (b"wOF2\0\1\0\0", "ingest.font"),
        (b"MZ\x90\0\3\0\0\0\4\0", "ingest.program"),
        (b"SQLite format 3\0", "ingest.data"),
        (bytes(range(256)) * 20, "ingest.binary"),
    ],
)
def test_bytes_are_believed_before_the_declared_type(body, reason, kind):
    raw = one(response(body, kind=kind))
    assert (
        (raw.kind, raw.reason) == ("fault", reason)
        and raw.locator == "urn:uuid:1"
        and raw.source == "http://x.example/a"
    )


@pytest.mark.parametrize(
    "body, reason",
    [
        (b'{"items":[{"name":"one"}],"next":null}', "ingest.data"),
        (b" [1, 2, 3]", "ingest.data"),
        (b"var a=function(){return 1};document.write('<div>x</div>');", "ingest.script"),
        (b"/* lib */ // v1\n(function(){'use strict'})()", "ingest.script"),
        (b"!function(e){e.x=1}(window);", "ingest.script"),
        (b"import { a } from './b.js';\nexport default a", "ingest.script"),
        (b'cb_17({"a": 1});', "ingest.script"),
        (b'@charset "utf-8";\nbody{margin:0}', "ingest.style"),
        (b"/* main */ .a > b, #c:hover {color: red;}", "ingest.style"),
    ],
)
def test_code_that_calls_itself_a_page_is_none(body, reason):
    assert one(response(body)).reason == reason
    assert one(response(body, kind="text/plain")).kind == "text"


@pytest.mark.parametrize(
    "body",
    [
        b"Let us see what var means, and what a function (in prose) is.",
        b"[1] Knuth, The Art. [2] Others.",
        b"{curly braces} in a page without tags: so be it; and on",
        b"window shopping is fun. import duties are from 1998.",
        b"<script>var a = 1;</script><p>hello</p>",
        b"<!-- note --><html><body><p>hello</p></body></html>",
        b"BM is short for benchmark. MZ, too. PK and ID3 are letters. RIFF",
        "맷돌이 돈다".encode("utf-16-le"),
        "맷돌이 돈다. 물이 흐른다.".encode("cp949"),
        "「挨拶」".encode("iso2022_jp") * 9,
    ],
)
def test_pages_that_look_a_little_like_code_stay_pages(body):
    assert one(response(body)).kind == "page"


def test_declared_types_decide_where_the_bytes_say_nothing():
    assert one(response(b"words of a kind", kind="application/vnd.ms-excel")).reason == "ingest.office"
    assert one(response(b"body{}", kind="text/css")).reason == "ingest.style"
    assert one(response(b"x", kind="application/x-strange")).reason == "ingest.not_html"
    assert [one(response(kind=kind)).kind for kind in ("application/xml", "text/xml", "application/json")] == [
        "page"
    ] * 3


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + PAGE,
        b"HTTP/1.1 200 OK\nContent-Type: text/html\n\n" + PAGE,
        b"HTTP/2 200\r\ncontent-type: text/html\r\n\r\n" + PAGE,
        b"HTTP/1.1 200\r\nContent-Type:\r\n text/html\r\n\r\n" + PAGE,
        b"Content-Type: text/html\r\n\r\n" + PAGE,
        b"ICY 200 OK\r\nCONTENT-TYPE: Text/HTML\r\n\r\n" + PAGE,
        PAGE,
    ],
)
def test_odd_heads_of_responses(head):
    raw = one(record("response", head, Content_Type="application/http; msgtype=response"))
    assert (raw.kind, raw.body) == ("page", PAGE)


def test_an_address_that_is_none_costs_nothing():
    """`urlsplit` raises over it: it was the end of the whole task."""
    assert one(response(b"words", kind="text/plain", WARC_Target_URI="http://[bad/")).kind in ("text", "fault")


EXPECTED = {
    "dupes.warc.gz": 25, "example-wget-1-14.warc.gz": 6, "example.warc": 6, "example.warc.gz": 6, "iana.warc.gz": 343, "missing-status-text.warc": 1,
    "post-test.warc.gz": 6, "sample-0000.warc.gz": 48, "sample-0001.warc.gz": 34, "bad.arc": 4, "example.arc": 2, "example.arc.gz": 2,
}  # fmt: skip
"""Records of each file as warcio, an independent reader, counts them."""


def test_every_record_of_real_archives(unpacked):
    folder = unpacked("A-warc-open")
    files = {path.name: path for path in folder.rglob("*") if path.is_file() and "arc" in path.name}
    assert set(EXPECTED) <= set(files)
    kinds: Counter = Counter()
    for name, count in EXPECTED.items():
        with open(files[name], "rb") as handle:
            found = list((read_arc if ".arc" in name else read_warc)(Unpacked(handle), 1 << 26))
        assert len(found) == count, name
        assert len({raw.locator + (raw.source or "") for raw in found}) == count, name
        kinds.update(raw.reason or raw.kind for raw in found)
    assert kinds["page"] == 59 and kinds["ingest.revisit"] == 134 and sum(kinds.values()) == sum(EXPECTED.values())
