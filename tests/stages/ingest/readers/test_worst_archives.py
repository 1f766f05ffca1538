"""Archives made to be slow or large: twice as much costs twice as much, counted in bytes and steps, and memory stays bounded."""

from __future__ import annotations

import gzip
import io
import re
import tracemalloc

import pytest
import zstandard

from stages.ingest import unpack
from stages.ingest.readers import frames
from stages.ingest.unpack import WINDOW, Unpacked

LIMIT = 1 << 20


def record(number: int, size: int | None = None, body: bytes = b"words", end: bytes = b"\r\n\r\n") -> bytes:
    return (
        f"WARC/1.0\r\nWARC-Type: resource\r\nWARC-Record-ID: <urn:uuid:{number}>\r\nContent-Length: {len(body) if size is None else size}\r\n\r\n".encode()
        + body
        + end
    )


def arc(number: int, size: int, body: bytes) -> bytes:
    return f"http://x.example/{number} 192.0.2.7 20260102030405 text/html {size}\n".encode() + body + b"\n"


zstd = zstandard.ZstdCompressor().compress
WARC, ARC = frames.warc_frames, frames.arc_frames
INPUTS = {
    "a blank line for every byte": (WARC, lambda n: record(0) + b"\r\n" * (60 * n) + record(1)),
    "tiny records": (WARC, lambda n: b"".join(map(record, range(n)))),
    "every length absurd": (WARC, lambda n: b"".join(record(k, LIMIT - 1) for k in range(n))),
    "every length over the limit": (WARC, lambda n: b"".join(record(k, 10 * LIMIT) for k in range(n))),
    "every length too short": (WARC, lambda n: b"".join(record(k, 1) for k in range(n))),
    "no length": (WARC, lambda n: b"".join(record(k).replace(b"Content-Length", b"Content-Size") for k in range(n))),
    "version lines": (WARC, lambda n: b"WARC/1.0\r\n" * (10 * n)),
    "version lines in one line": (WARC, lambda n: b"WARC/1.0" * (12 * n)),
    "carriage returns": (WARC, lambda n: b"WARC/1.0" + b"\r" * (90 * n)),
    "one header line": (WARC, lambda n: b"WARC/1.0\r\nX: " + b"y" * (100 * n) + b"\r\n\r\n" + record(1)),
    "folds": (WARC, lambda n: b"WARC/1.0\r\nX: y" + b"\r\n z" * (25 * n) + b"\r\n\r\n"),
    "zeros": (WARC, lambda n: record(0) + bytes(100 * n)),
    "gzip, tiny members": (WARC, lambda n: b"".join(gzip.compress(record(k), 1) for k in range(n))),
    "gzip, empty members": (WARC, lambda n: gzip.compress(b"") * (5 * n) + gzip.compress(record(1))),
    "gzip, first bytes of members": (WARC, lambda n: gzip.compress(record(0)) + b"\x1f\x8b\x08" * (30 * n)),
    "gzip, broken members": (WARC, lambda n: b"".join(gzip.compress(record(k))[:-8] + bytes(8) for k in range(n))),
    "gzip, members in members": (WARC, lambda n: (b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\0\x16\0\xe9\xff") * (6 * n)),
    "gzip, zeros between": (WARC, lambda n: gzip.compress(record(0)) + bytes(100 * n) + gzip.compress(record(1))),
    "zstd, tiny frames": (WARC, lambda n: b"".join(zstd(record(k)) for k in range(n))),
    "zstd, first bytes of frames": (WARC, lambda n: zstd(record(0)) + b"\x28\xb5\x2f\xfd" * (20 * n)),
    "zstd, broken frames": (WARC, lambda n: b"".join(zstd(record(k))[:-4] + b"\xff" * 4 for k in range(n))),
    "ARC, tiny records": (ARC, lambda n: b"".join(arc(k, 5, b"words") for k in range(n))),
    "ARC, every length absurd": (ARC, lambda n: b"".join(arc(k, LIMIT - 1, b"words") for k in range(n))),
    "ARC, dates": (ARC, lambda n: (b"http://x " + b"12345678 " * 800 + b"\n") * (n // 60)),
    "ARC, addresses": (ARC, lambda n: b"http://x.example/ 1.2.3.4 20260102 " * (3 * n)),
}


class Counted:
    """Stands for a module's pattern: how many bytes its searches look at."""

    def __init__(self, pattern: re.Pattern, steps: list[int]):
        self.pattern, self.steps = pattern, steps

    def match(self, data, *bounds):
        found = self.pattern.match(data, *bounds)
        self.steps[0] += 1 + (found.end() - found.start() if found else 0)
        return found

    def search(self, data, at=0, end=None):
        found = self.pattern.search(data, at, len(data) if end is None else end)
        self.steps[0] += 1 + (found.end() if found else min(len(data), len(data) if end is None else end)) - at
        return found

    def finditer(self, data, at, end):
        for found in self.pattern.finditer(data, at, end):
            self.steps[0] += 1 + found.end() - at
            at = found.end()
            yield found
        self.steps[0] += max(0, min(end, len(data)) - at)


def cost(data: bytes, read, monkeypatch) -> tuple[int, int]:
    """Bytes looked at, unpacked and moved; frames made."""
    steps = [0]
    with monkeypatch.context() as patch:
        for name in ("HEAD_END", "_VERSION", "_DATED", "_BLANK", "_LENGTH"):
            patch.setattr(frames, name, Counted(getattr(frames, name), steps))
        step, opens, take = Unpacked._step, Unpacked._opens, frames._Window.take

        def stepped(self, size):
            before, given = self._at, step(self, size)
            steps[0] += max(0, self._at - before) + len(given) + 100
            return given

        def opened(self, head, wanted):
            steps[0] += 20
            return opens(self, head, wanted)

        patch.setattr(Unpacked, "_step", stepped)
        patch.setattr(Unpacked, "_opens", opened)
        patch.setattr(
            frames._Window, "take", lambda self, size: steps.__setitem__(0, steps[0] + size) or take(self, size)
        )
        made = sum(1 for _ in read(Unpacked(io.BytesIO(data)), LIMIT))
    return steps[0], made


@pytest.mark.parametrize("name", INPUTS)
def test_twice_as_much_costs_twice_as_much(name, monkeypatch):
    read, make = INPUTS[name]
    small, large = cost(make(400), read, monkeypatch), cost(make(800), read, monkeypatch)
    assert small[1] > 0 and large[0] <= 2.3 * small[0] + 100_000, (small, large)
    assert large[0] <= 60 * len(make(800)) + 2_000_000


def test_a_line_of_64_mib_is_never_held():
    """What is searched for a header is held only as far as a header may reach."""

    class Long(io.RawIOBase):
        left = 64 << 20

        def read(self, size=-1):
            size = min(size, self.left)
            self.left -= size
            return b"y" * size

    handle = io.BufferedReader(_Joined(b"WARC/1.0\r\nX: ", Long(), b"\r\n\r\n" + record(1)))
    tracemalloc.start()
    found = list(frames.warc_frames(Unpacked(handle), LIMIT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [f.reason for f in found] == ["ingest.broken_record", None] and found[0].size > 64 << 20 and peak < 16 << 20


class _Joined(io.RawIOBase):
    def __init__(self, *parts):
        self.parts = [io.BytesIO(part) if isinstance(part, bytes) else part for part in parts]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while self.parts:
            if data := self.parts[0].read(len(buffer)):
                buffer[: len(data)] = data
                return len(data)
            self.parts.pop(0)
        return 0


def test_a_frame_that_declares_a_huge_window_is_refused():
    """A window descriptor of 2 GiB in a frame of a few bytes; memory for it is never taken."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([21 << 3]) + b"\x01\x00\x00"
    tracemalloc.start()
    found = list(frames.warc_frames(Unpacked(io.BytesIO(zstd(record(0)) + frame + zstd(record(1)))), LIMIT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [f.reason for f in found] == [None, "ingest.broken_record", None] and peak < WINDOW // 8


def test_a_bomb_is_passed_over_within_bounds():
    """16 MiB in a body over the limit and 16 MiB between two records: neither is held."""
    lead = f"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: {16 << 20}\r\n\r\n".encode()
    data = gzip.compress(lead + bytes(16 << 20) + b"\r\n\r\n" + record(1) + bytes(16 << 20) + record(2))
    assert len(data) < 1 << 20
    tracemalloc.start()
    found = list(frames.warc_frames(Unpacked(io.BytesIO(data)), LIMIT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [f.reason for f in found] == ["ingest.too_large", None, "ingest.broken_record", None] and peak < 9 << 20


def test_packed_bytes_are_searched_again_a_bounded_number_of_times(monkeypatch):
    """Members that begin inside members, each good for long: without the bound every one of them is read to its damage."""
    member = b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\0\x16\0\xe9\xff"
    read = [0]
    step = unpack.Unpacked._step

    def stepped(self, size):
        before, given = self._at, step(self, size)
        read[0] += max(0, self._at - before)
        return given

    monkeypatch.setattr(unpack.Unpacked, "_step", stepped)
    data = member * 20_000
    assert sum(1 for _ in frames.warc_frames(Unpacked(io.BytesIO(data)), LIMIT)) > 0
    assert read[0] <= (unpack.AGAIN + 2) * len(data) + unpack.KEPT
