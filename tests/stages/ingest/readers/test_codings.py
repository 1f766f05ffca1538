"""Content and transfer codings of responses: lists, members, cuts, bombs, headers that lie."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from stages.ingest.readers.codings import MOST, dechunk, decoded

PAGE = (
    b"<html><body>"
    + b"".join(b"<p>Paragraph %d speaks of millstones and grain.</p>" % n for n in range(40))
    + b"</body></html>"
)
LIMIT = 1 << 20
zstd = zstandard.ZstdCompressor().compress


def bare(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


def undo(body: bytes, *codings: str, **more):
    return decoded(body, [("content-encoding", word) for word in codings], LIMIT, **more)


@pytest.mark.parametrize(
    "body, codings",
    [
        (gzip.compress(PAGE), ["gzip"]),
        (gzip.compress(PAGE), ["GZIP"]),
        (gzip.compress(PAGE), ["x-gzip"]),
        (gzip.compress(PAGE), ["identity, gzip"]),
        (gzip.compress(PAGE), [" gzip ,identity"]),
        (gzip.compress(PAGE), []),
        (gzip.compress(PAGE), ["deflate"]),
        (gzip.compress(PAGE), ["br"]),
        (gzip.compress(PAGE[:500]) + gzip.compress(PAGE[500:]), ["gzip"]),
        (b"".join(gzip.compress(PAGE[n : n + 1]) for n in range(len(PAGE))), ["gzip"]),
        (gzip.compress(gzip.compress(PAGE)), ["gzip, gzip"]),
        (gzip.compress(gzip.compress(PAGE)), ["gzip", "gzip"]),
        (gzip.compress(gzip.compress(PAGE)), ["gzip"]),
        (gzip.compress(bare(PAGE)), ["deflate, gzip"]),
        (brotli.compress(gzip.compress(PAGE)), ["gzip, br"]),
        (zstd(PAGE), ["zstd"]),
        (zstd(PAGE[:500]) + zstd(PAGE[500:]), ["zstd"]),
        (zstd(PAGE), ["gzip"]),
        (zlib.compress(PAGE), ["deflate"]),
        (bare(PAGE), ["deflate"]),
        (brotli.compress(PAGE), ["br"]),
        *(
            (PAGE, [word])
            for word in (
                "gzip",
                "gzip, gzip",
                "zstd",
                "deflate",
                "br",
                "compress",
                "identity",
                "none",
                "utf-8",
                "text/html",
                "",
            )
        ),
    ],
)
def test_codings_are_undone(body, codings):
    assert undo(body, *codings) == (PAGE, None, None)


@pytest.mark.parametrize("pack, coding", [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (bare, "deflate")])
def test_a_cut_payload_gives_what_stands_before_the_cut(pack, coding):
    packed = pack(bytes(n * 7 % 251 % 90 + 32 for n in range(9000)) + PAGE)
    found = undo(packed[: len(packed) * 3 // 4], coding)
    assert found.reason is None and found.body and found.note == f"{coding} data cut"


@pytest.mark.parametrize(
    "body, coding",
    [
        (b"\x1f\x9d\x90Z\x84\x01\x8d\r\x89@\x87", "compress"),
        (gzip.compress(PAGE)[:40] + b"\xff" * 60, "gzip"),
        (gzip.compress(PAGE)[:12], "gzip"),
        (gzip.compress(PAGE)[:-8] + bytes(8), "gzip"),
        (zstd(PAGE)[:12], "zstd"),
        (brotli.compress(PAGE)[:20] + bytes(range(256)), "br"),
        (bytes(range(128, 256)) * 9 + bytes(64), "deflate"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason(body, coding):
    found = undo(body, coding)
    assert found.reason == "ingest.content_coding" and found.body == b"" and coding in found.note


def test_bytes_behind_the_last_member_are_noted():
    assert undo(gzip.compress(PAGE) + b"<!-- proxy -->", "gzip") == (PAGE, "bytes behind the gzip data", None)


@pytest.mark.parametrize(
    "pack, coding",
    [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (bare, "deflate"), (zstd, "zstd"), (brotli.compress, "br")],
)
def test_bombs_are_bounded(pack, coding):
    found = undo(pack(bytes(64 << 20)), coding)
    assert found.reason == "ingest.too_large" and found.body == b""


def test_packed_over_and_over():
    body = PAGE
    for _ in range(MOST):
        body = gzip.compress(body)
    assert undo(body).body == PAGE
    assert undo(gzip.compress(body)).reason == "ingest.content_coding"
    assert undo(gzip.compress(body), undeclared=False).body == gzip.compress(body)


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


@pytest.mark.parametrize(
    "body, joined",
    [
        (chunked(b"abc", b"de"), b"abcde"),
        (chunked(b"abc", end=b"0\r\nExpires: never\r\n\r\n"), b"abc"),
        (b"3;name=x\nabc\n0\n\n", b"abc"),
        (b"0\r\n\r\n", b""),
    ],
)
def test_chunks_are_joined(body, joined):
    assert dechunk(body) == (joined, False)


@pytest.mark.parametrize("kept", range(13, 40))
def test_a_chain_the_end_cuts_gives_its_pieces(kept):
    body = chunked(b"abcdefgh", b"ijklmnopqrstuvwxyz")
    found, cut = dechunk(body[:kept])
    assert (
        cut
        and len(body) == 42
        and b"abcdefghijklmnopqrstuvwxyz".startswith(found.rstrip(b"\r\n"))
        and found.startswith(b"abcdefgh")
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"zz",
        b"12\r\nmonths of the year are listed\n",
        b"0\r\nis the first number\n",
        b"beef\r\n<html>a page</html>",
        b"3\r\nabcd",
        b"3\r\nabc\r\nno size\r\n",
        b"A\n",
        chunked(b"abc") + b"more text",
    ],
)
def test_a_joined_body_stays_as_it_is(body):
    assert dechunk(body) == (body, False)
