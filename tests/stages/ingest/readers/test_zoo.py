"""A zoo of odd WARC and ARC files. Whoever makes a file knows how many records it wrote: as many rows come, and one for each stretch between."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import NamedTuple

import brotli
import pytest
import zstandard

from tests.stages.ingest.mutation_fuzz.hunt import read

END = b"\r\n"
zstd = zstandard.ZstdCompressor().compress


class Cage(NamedTuple):
    """A file: its name's ending, its bytes, the records written, the stretches between them, the texts that must come whole."""

    ending: str
    data: bytes
    records: int
    stretches: int
    texts: list[str]


def text(number: int) -> str:
    return f"Page {number} speaks of millstones, of grain {number * 7919} and of water that turns the wheel."


def warc(
    number: int,
    *,
    end: bytes = END,
    version: bytes = b"WARC/1.0",
    kind: str = "response",
    length=None,
    body: bytes | None = None,
    fields: bytes = b"",
    names=lambda n: n,
    after: bytes | None = None,
) -> bytes:
    """One record; `length` is declared instead of the body's own where given (None: no field where it is an empty bytes)."""
    if body is None:
        body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text(number).encode()
    given = [
        ("WARC-Type", kind),
        ("WARC-Record-ID", f"<urn:uuid:{number}>"),
        ("WARC-Target-URI", f"http://x.example/{number}"),
        ("WARC-Date", "2026-01-02T03:04:05Z"),
    ]
    given.append(("Content-Type", "application/http; msgtype=response" if kind == "response" else "text/plain"))
    lines = [names(name).encode() + b": " + value.encode() for name, value in given]
    size = len(body) if length is None else length
    lines += [] if size == b"" else [names("Content-Length").encode() + b": " + str(size).encode()]
    return end.join([version, *lines]) + end + fields + end + body + (2 * end if after is None else after)


def three(second: bytes, *, stretches: int = 0, lost: bool = False, ending: str = "warc", **of_all) -> Cage:
    """A sound record, the odd one, a sound one."""
    return Cage(
        ending,
        warc(1, **of_all) + second + warc(3, **of_all),
        3,
        stretches,
        [text(n) for n in ((1, 3) if lost else (1, 2, 3))],
    )


def http(head: bytes, body: bytes | None = None) -> bytes:
    return three(warc(2, body=head + (text(2).encode() if body is None else body)))


def arc(
    number: int,
    *,
    url: str | None = None,
    medium: str = "text/plain",
    end: bytes = b"\n",
    version: int = 1,
    length: int = 0,
    after: bytes | None = None,
    body: bytes | None = None,
) -> bytes:
    if body is None:
        body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text(number).encode()
    more = " 200 checksum - 1234 a.arc.gz" if version == 2 else ""
    line = (
        f"{url or f'http://x.example/{number}'} 192.0.2.7 20260102030405 {medium}{more} {len(body) + length}".encode()
    )
    return line + end + body + (end if after is None else after)


def head_of_arc(version: str = "1 0", end: bytes = b"\n", minor: str = "1.0") -> bytes:
    fields = (
        b"URL IP-address Archive-date Content-type Archive-length"
        if version.startswith("1")
        else b"URL IP-address Archive-date Content-type Result-code Checksum Location Offset Filename Archive-length"
    )
    about = f"{version} InternetArchive".encode() + end + fields + end
    if minor == "1.1":
        about += b'<?xml version="1.0"?><arcmetadata><software>a mill</software></arcmetadata>' + end
    kind = "text/plain" if version.startswith("1") else "text/plain 200 - - 0 a.arc"
    return f"filedesc://a.arc 0.0.0.0 20260102030405 {kind} {len(about)}".encode() + end + about + end


def arcs(second: bytes, *, lead: bytes | None = None, stretches: int = 0, lost: bool = False, **of_all) -> Cage:
    lead = head_of_arc() if lead is None else lead
    return Cage(
        "arc",
        lead + arc(1, **of_all) + second + arc(3, **of_all),
        4 if lead else 3,
        stretches,
        [text(n) for n in ((1, 3) if lost else (1, 2, 3))],
    )


NESTED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text(2).encode() + b"\r\n\r\n" + warc(8) + warc(9)
OFF = [*range(-20, 0), *range(1, 21), 1_000, 5_000, 70_000]
ZOO = {
    **{f"length off by {n:+d}": three(warc(2, length=len(text(2)) + 45 + n)) for n in OFF},
    **{
        f"every length off by {n:+d}": Cage(
            "warc", b"".join(warc(k, length=len(text(k)) + 45 + n) for k in range(5)), 5, 0, [text(k) for k in range(5)]
        )
        for n in (-20, -4, -1, 1, 3, 4, 5, 11, 20, 1_000)
    },
    **{
        f"version {v.decode()}": three(warc(2, version=v), version=v)
        for v in (
            b"WARC/0.17",
            b"WARC/0.18",
            b"WARC/1.0",
            b"WARC/1.1",
            b"WARC/2.0",
            b"warc/1.0",
            b"Warc/1.1",
            b"WARC/1.0 ",
        )
    },
    "lines end in LF": three(warc(2, end=b"\n"), end=b"\n"),
    "lines end in CR CR LF": three(warc(2, end=b"\r\r\n"), end=b"\r\r\n"),
    "LF among CRLF": three(warc(2, end=b"\n")),
    "names in small letters": three(warc(2, names=str.lower)),
    "names in capitals": three(warc(2, names=str.upper), names=str.upper),
    "a folded field": three(warc(2, fields=b"X-Note: one\r\n two\r\n\tthree\r\n")),
    "a folded type": three(warc(2).replace(b"WARC-Type: response", b"WARC-Type:\r\n response")),
    "a folded length": three(warc(2).replace(b"Content-Length: ", b"Content-Length:\r\n\t")),
    "a blank before the colon": three(warc(2).replace(b"Content-Length:", b"Content-Length :")),
    "no blank behind the colon": three(warc(2).replace(b": ", b":", 6)),
    "fields twice": three(warc(2, fields=b"WARC-Type: metadata\r\nContent-Length: 3\r\nWARC-Date: never\r\n")),
    "a field without a colon": three(warc(2, fields=b"this is no field\r\n")),
    "a field that is no UTF-8": three(warc(2, fields=b"X-Name: \xb8\xb7\xb5\xb9 \xff\r\n")),
    "a long field": three(warc(2, fields=b"X-Long: " + b"y" * 40_000 + b"\r\n")),
    "a header over the limit": three(warc(2, fields=b"X-Long: " + b"y" * 200_000 + b"\r\n"), lost=True),
    "no length": three(warc(2, length=b""), lost=True),
    **{
        f"length {word!r}": three(warc(2, length=word), lost=True)
        for word in ("abc", "-3", "", "9" * 30, "1e3", "0x20")
    },
    "an absurd length": three(warc(2, length=10**15), lost=True),
    "a length of nothing": three(warc(2, length=0)),
    "an empty body": three(warc(2, body=b""), lost=True),
    "no blank lines behind": three(warc(2, after=b"")),
    "one line end behind": three(warc(2, after=b"\r\n")),
    "a hundred blank lines behind": three(warc(2, after=b"\r\n" * 100)),
    "zeros between": three(warc(2) + bytes(512), stretches=1),
    "words between": three(warc(2) + b"some words\r\n", stretches=1),
    "words before all": Cage("warc", b"a line of a log\r\n" + warc(1) + warc(2), 2, 1, [text(1), text(2)]),
    "words behind all": Cage("warc", warc(1) + warc(2) + b"the end", 2, 1, [text(1), text(2)]),
    "a mark of UTF-8 before all": Cage("warc", b"\xef\xbb\xbf" + warc(1) + warc(2), 2, 0, [text(1), text(2)]),
    "blank lines before all": Cage("warc", b"\r\n\r\n" + warc(1) + warc(2), 2, 0, [text(1), text(2)]),
    "cut in the body": Cage("warc", warc(1) + warc(2)[:-30], 2, 0, [text(1)]),
    "cut in the header": Cage("warc", warc(1) + warc(2)[:60], 2, 0, [text(1)]),
    "cut in the version": Cage("warc", warc(1) + b"WARC/1", 1, 1, [text(1)]),
    "cut behind the header": Cage("warc", warc(1) + warc(2, body=b"x" * 50)[:-54], 2, 0, [text(1)]),
    "an unknown type": three(warc(2, kind="continuation"), lost=True),
    "a body that quotes records": three(warc(2, body=NESTED)),
    "a record without any field but its length": three(
        b"WARC/1.0\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n", lost=True
    ),
    "HTTP without a status line": http(b"Content-Type: text/plain\r\n\r\n"),
    "HTTP with LF": http(b"HTTP/1.1 200 OK\nContent-Type: text/plain\n\n"),
    "HTTP/2": http(b"HTTP/2 200\r\ncontent-type: text/plain\r\n\r\n"),
    "HTTP folded": http(b"HTTP/1.1 200 OK\r\nContent-Type:\r\n text/plain\r\n\r\n"),
    "HTTP chunked": http(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(text(2)), text(2).encode()),
    ),
    "HTTP called chunked": http(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"),
    **{
        f"HTTP in {word}": http(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {word}\r\n\r\n".encode(),
            pack(text(2).encode()),
        )
        for word, pack in {
            "gzip": gzip.compress,
            "deflate": zlib.compress,
            "br": brotli.compress,
            "zstd": zstd,
            "identity": bytes,
            "gzip, gzip": lambda b: gzip.compress(gzip.compress(b)),
            "x-gzip": bytes,
        }.items()
    },
    "HTTP that is a PDF": three(
        warc(2, body=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n%PDF-1.7\n"), lost=True
    ),
    "gzip, a member for each": Cage(
        "warc.gz", b"".join(gzip.compress(warc(n)) for n in range(4)), 4, 0, [text(n) for n in range(4)]
    ),
    "gzip, one member": Cage(
        "warc.gz", gzip.compress(b"".join(warc(n) for n in range(4))), 4, 0, [text(n) for n in range(4)]
    ),
    "gzip, two records in one member": Cage(
        "warc.gz", gzip.compress(warc(0) + warc(1)) + gzip.compress(warc(2)), 3, 0, [text(n) for n in range(3)]
    ),
    "gzip, a record in two members": Cage(
        "warc.gz",
        gzip.compress(warc(0)[:200]) + gzip.compress(warc(0)[200:]) + gzip.compress(warc(1)),
        2,
        0,
        [text(n) for n in range(2)],
    ),
    "gzip, empty members": Cage(
        "warc.gz",
        gzip.compress(b"") * 3 + gzip.compress(warc(0)) + gzip.compress(b"") + gzip.compress(warc(1)),
        2,
        0,
        [text(n) for n in range(2)],
    ),
    "gzip, zeros behind": Cage("warc.gz", gzip.compress(warc(0)) + bytes(700), 1, 0, [text(0)]),
    "gzip, words behind": Cage("warc.gz", gzip.compress(warc(0)) + b"the end of it", 1, 1, [text(0)]),
    "gzip, words between": Cage(
        "warc.gz", gzip.compress(warc(0)) + b"some words" + gzip.compress(warc(1)), 2, 1, [text(0), text(1)]
    ),
    "gzip, first bytes lost": Cage("warc.gz", gzip.compress(warc(0))[3:] + gzip.compress(warc(1)), 1, 1, [text(1)]),
    "gzip, cut": Cage("warc.gz", gzip.compress(warc(0)) + gzip.compress(warc(1))[:-90], 2, 1, [text(0)]),
    "gzip under a plain name": Cage("warc", gzip.compress(warc(0) + warc(1)), 2, 0, [text(0), text(1)]),
    "plain under a name of gzip": Cage("warc.gz", warc(0) + warc(1), 2, 0, [text(0), text(1)]),
    "zstd, a frame for each": Cage(
        "warc.zst", b"".join(zstd(warc(n)) for n in range(4)), 4, 0, [text(n) for n in range(4)]
    ),
    "zstd, a skippable frame between": Cage(
        "warc.zst", zstd(warc(0)) + b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zstd(warc(1)), 2, 0, [text(0), text(1)]
    ),
    "zstd, a broken dictionary": Cage(
        "warc.zst",
        b"\x5d\x2a\x4d\x18\x08\0\0\0\x28\xb5\x2f\xfd\xff\xff\xff\xff" + zstd(warc(0)) + zstd(warc(1)),
        2,
        1,
        [text(0), text(1)],
    ),
    "zstd, a dictionary of rubbish": Cage(
        "warc.zst",
        b"\x5d\x2a\x4d\x18\x14\0\0\0\x37\xa4\x30\xec" + b"\xff" * 16 + zstd(warc(0)) + zstd(warc(1)),
        2,
        1,
        [text(0), text(1)],
    ),
    "zstd, a dictionary of an absurd length": Cage(
        "warc.zst", b"\x5d\x2a\x4d\x18\xff\xff\xff\xff" + zstd(warc(0)) + zstd(warc(1)), 2, 1, [text(0), text(1)]
    ),
    "xz": Cage("warc.xz", lzma.compress(warc(0) + warc(1)), 2, 0, [text(0), text(1)]),
    "bzip2": Cage("warc.bz2", bz2.compress(warc(0)) + bz2.compress(warc(1)), 2, 0, [text(0), text(1)]),
    "ARC 1.0": arcs(arc(2)),
    "ARC 1.1": arcs(arc(2), lead=head_of_arc("1 1", minor="1.1")),
    "ARC, version 2 of the line": arcs(arc(2, version=2), lead=head_of_arc("2 0"), version=2),
    "ARC, lines end in CRLF": arcs(arc(2, end=END), lead=head_of_arc(end=END), end=END),
    "ARC, blanks in the address": arcs(arc(2, url="http://x.example/a page of 2 words")),
    "ARC, blanks and digits in the address": arcs(arc(2, url="http://x.example/a 12345678 b")),
    "ARC, a blank in the type": arcs(arc(2, medium="text/html; charset=utf-8")),
    "ARC, no type": arcs(arc(2, medium="-")),
    "ARC, an address in capitals": arcs(arc(2, url="HTTP://X.EXAMPLE/2")),
    "ARC, IPv6": arcs(arc(2).replace(b"192.0.2.7", b"2001:db8::7")),
    "ARC without its head": arcs(arc(2), lead=b""),
    "ARC, a length that is none": arcs(arc(2).replace(b" %d\n" % (45 + len(text(2))), b" -1\n"), lost=True),
    "ARC, no line end behind": arcs(arc(2, after=b"")),
    "ARC, blank lines behind": arcs(arc(2, after=b"\n" * 9)),
    "ARC, words between": arcs(arc(2) + b"some words\n", stretches=1),
    "ARC, cut": Cage("arc", head_of_arc() + arc(1) + arc(2)[:-20], 3, 0, [text(1)]),
    "ARC, dns": arcs(arc(2, url="dns:x.example", body=b"20260102030405\nx.example. 1 IN A 192.0.2.7\n"), lost=True),
    **{f"ARC, length off by {n:+d}": arcs(arc(2, length=n)) for n in (-20, -7, -2, 2, 3, 8, 20, 3_000)},
    "ARC, gzip": Cage(
        "arc.gz",
        gzip.compress(head_of_arc()) + b"".join(gzip.compress(arc(n)) for n in range(3)),
        4,
        0,
        [text(n) for n in range(3)],
    ),
}


@pytest.mark.parametrize("name", ZOO)
def test_every_record_and_every_stretch_is_a_row(name, tmp_path):
    cage = ZOO[name]
    path = tmp_path / f"a.{cage.ending}"
    path.write_bytes(cage.data)
    found = read(path, {"max_bytes": 1 << 20})
    reasons = found.ledger["reason"].to_pylist()
    assert found.raws == cage.records + cage.stretches, reasons
    strange = [
        note
        for reason, note in zip(reasons, found.ledger["note"].to_pylist())
        if reason in ("ingest.broken_record", "ingest.truncated_gzip", "ingest.broken_file")
    ]
    assert len(strange) >= cage.stretches
    assert [text for text in cage.texts if not any(text in each for each in found.texts)] == []


def test_the_zoo_is_large():
    assert len(ZOO) >= 150
