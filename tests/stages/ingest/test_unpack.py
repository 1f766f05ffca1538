"""Packed bytes as they are read: members, cuts, damage, bombs, dictionaries."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random

import pytest
import zstandard

from stages.ingest.unpack import Unpacked, packing

PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstandard.ZstdCompressor().compress}
DICE = random.Random(3)
RAW = b"".join(DICE.randbytes(20) * (i % 40 + 1) for i in range(2500))


def read(data: bytes, size: int = 1 << 20) -> tuple[bytes, str | None]:
    stream = Unpacked(io.BytesIO(data))
    pieces = list(iter(lambda: stream.read(size), b""))
    assert all(len(piece) <= size for piece in pieces)
    return b"".join(pieces), stream.fault


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("size", [777, 1 << 20])
def test_round_trip_of_members_and_padding(name, size):
    pack = PACK[name]
    assert packing(pack(RAW)) == name
    assert read(pack(RAW), size) == (RAW, None)
    assert read(pack(RAW[:5000]) + pack(b"") + pack(RAW[5000:]) + b"\0" * 600, size) == (RAW, None)


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("kept", [8, -5, -3000])
def test_a_cut_file_gives_what_stands_before_the_cut(name, kept):
    data, fault = read(PACK[name](RAW)[:kept])
    assert fault == "truncated" and RAW.startswith(data) and (kept != -3000 or len(data) > len(RAW) // 3)


@pytest.mark.parametrize("name", PACK)
def test_garbage_behind_a_member_is_damage_not_data(name):
    assert read(PACK[name](RAW) + b"garbage") == (RAW, "damaged")


@pytest.mark.parametrize("data", [b"", b"a", b"\x1f", b"BZ", b"plain words"])
def test_bytes_that_are_not_packed(data):
    assert read(data) == (data, None)


def test_reading_resumes_at_the_next_member():
    members = [gzip.compress(RAW[i : i + 5000]) for i in range(0, len(RAW), 5000)]
    data = bytearray(b"".join(members))
    hurt = sum(map(len, members[:10]))
    data[hurt + 60 : hurt + 90] = b"\xff" * 30
    stream = Unpacked(io.BytesIO(bytes(data)))
    first = b"".join(iter(lambda: stream.read(1 << 16), b""))
    assert stream.fault == "damaged" and RAW[:50_000] == first[:50_000]
    assert stream.resume() and stream.fault is None
    assert b"".join(iter(lambda: stream.read(1 << 16), b"")) == RAW[55_000:]
    assert not stream.resume()


@pytest.mark.parametrize("name", PACK)
def test_a_bomb_unpacks_only_as_far_as_it_is_read(name):
    stream = Unpacked(io.BytesIO(PACK[name](b"\0" * 20_000_000)))
    assert stream.read(1000) == b"\0" * 1000
    assert len(stream._ready) <= 64 << 20 and (name == "zstd" or len(stream._ready) <= 1 << 20)


def test_peek_takes_nothing():
    stream = Unpacked(io.BytesIO(gzip.compress(RAW)))
    assert stream.peek(100) == RAW[:100] and stream.peek(200_000) == RAW[:200_000] and stream.read() == RAW


def test_warc_zstd_dictionary():
    samples = [
        f"WARC/1.0\r\nWARC-Type: response\r\nnumber {i}\r\n\r\nsome body words {i % 7}".encode() for i in range(2000)
    ]
    made = zstandard.train_dictionary(4096, samples)
    packed = zstandard.ZstdCompressor().compress(made.as_bytes())
    frame = b"\x5d\x2a\x4d\x18" + len(packed).to_bytes(4, "little") + packed
    body = b"".join(zstandard.ZstdCompressor(dict_data=made).compress(s) for s in samples[:50])
    assert read(frame + body) == (b"".join(samples[:50]), None)
