"""Frames of WARC and ARC files: every byte accounted for, nothing swallowed without a word."""

from __future__ import annotations

import gzip
import io

import pytest

from stages.ingest.readers.frames import LONGEST_HEADER, arc_frames, warc_frames
from stages.ingest.unpack import Unpacked

LIMIT = 1 << 20


def record(number: int, body: bytes = b"", length: int | str | None = None, head: bytes = b"") -> bytes:
    size = len(body) if length is None else length
    return (
        f"WARC/1.0\r\nWARC-Type: resource\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n".encode()
        + head
        + f"Content-Length: {size}\r\n\r\n".encode()
        + body
        + b"\r\n\r\n"
    )


BODIES = [f"body {n} ".encode() * (n + 3) for n in range(6)]
FINE = [record(n, body) for n, body in enumerate(BODIES)]


def frames(data: bytes, limit: int = LIMIT):
    return list(warc_frames(Unpacked(io.BytesIO(data)), limit))


def bodies(found) -> list[bytes]:
    return [frame.body for frame in found if frame.reason is None]


def faults(found) -> list[tuple[int, str]]:
    return [(frame.number, frame.reason) for frame in found if frame.reason]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_all_records(pack):
    found = frames(pack(b"".join(FINE)))
    assert bodies(found) == BODIES and [f.number for f in found] == list(range(6)) and not any(f.note for f in found)
    assert bodies(frames(b"".join(gzip.compress(r) for r in FINE))) == BODIES


def test_line_ends_of_careless_copies():
    assert bodies(frames(b"".join(FINE).replace(b"\r\n", b"\n"))) == BODIES
    assert bodies(frames(b"".join(FINE).replace(b"\r\n", b"\r\r\n"))) == BODIES


def test_every_stretch_between_records_is_a_row():
    found = frames(b"junk before\r\n" + FINE[0] + b"junk\x00 between\r\n\r\n" + FINE[1] + b"\0" * 512)
    assert bodies(found) == BODIES[:2] and faults(found) == [
        (0, "ingest.broken_record"),
        (2, "ingest.broken_record"),
        (4, "ingest.broken_record"),
    ]
    assert [f.note for f in found] == [
        "13 bytes that are no record",
        None,
        "17 bytes that are no record",
        None,
        "512 bytes that are no record",
    ]


def test_frames_and_blank_lines_are_the_whole_file():
    data = (
        b"\xef\xbb\xbf\r\njunk\r\n"
        + FINE[0]
        + record(1, b"abcdefgh", length=5)
        + b"\n\n"
        + record(2, b"abc", length=60)
        + b"more"
        + FINE[3]
        + record(4, b"x", length="?")
        + FINE[5][:-30]
    )
    found = frames(data)
    at = 3
    for frame in found:
        assert data[at : frame.start].strip(b" \t\r\n") == b"" and frame.end > frame.start >= at
        at = frame.end
    assert data[at:].strip(b" \t\r\n") == b"" and len(found) == 7


@pytest.mark.parametrize("short", [1, 2, 3, 7])
def test_a_length_too_short_keeps_the_whole_record_and_the_next(short):
    found = frames(record(0, b"abcdefgh", length=8 - short) + FINE[1])
    assert bodies(found) == [b"abcdefgh", BODIES[1]] and "the record ends after 8" in found[0].note


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("long", [*range(1, 21), 60, 5_000, 70_000])
def test_a_length_too_long_does_not_swallow_the_next(long, pack):
    found = frames(pack(record(0, b"abc", length=3 + long) + FINE[1] + FINE[2]))
    assert (
        bodies(found) == [b"abc", BODIES[1], BODIES[2]]
        and found[0].note.startswith(f"declared {3 + long} bytes")
        and not any(f.reason for f in found)
    )


@pytest.mark.parametrize("long", [1, 2, 4, 5, 6, 11, 5_000])
def test_a_length_too_long_at_the_end_of_the_file(long):
    """The line ends behind the record show that it is whole; where they are missing it was cut."""
    assert bodies(frames(FINE[1] + record(0, b"abc", length=3 + long))) == [BODIES[1], b"abc"]
    assert faults(frames(FINE[1] + record(0, b"abc", length=3 + long)[: -(3 if long > 4 else 4)])) == (
        [(1, "ingest.broken_record")] if long > 0 else []
    )


@pytest.mark.parametrize("length", ["abc", "-3", "", "9" * 30])
def test_no_length_that_can_be_read(length):
    found = frames(record(0, b"abc", length=length) + FINE[1])
    assert faults(found) == [(0, "ingest.broken_record")] and bodies(found) == [BODIES[1]]


def test_an_absurd_length_is_not_believed():
    found = frames(record(0, b"abc", length=10**15) + FINE[1])
    assert faults(found) == [(0, "ingest.broken_record")] and bodies(found) == [BODIES[1]]


def test_a_large_record_is_passed_over_unread():
    found = frames(FINE[0] + record(9, b"x" * (3 << 20)) + FINE[1])
    assert bodies(found) == BODIES[:2] and faults(found) == [(1, "ingest.too_large")] and found[1].size == 3 << 20


def test_a_header_without_end():
    found = frames(FINE[0] + record(1, b"a", head=b"X: " + b"y" * (2 * LONGEST_HEADER) + b"\r\n") + FINE[2])
    assert bodies(found) == [BODIES[0], BODIES[2]] and faults(found) == [(1, "ingest.broken_record")]


@pytest.mark.parametrize("kept", [20, 60, len(FINE[1]) - 15])
def test_a_cut_file_keeps_what_stands_before(kept):
    found = frames(FINE[0] + FINE[1][:kept])
    assert bodies(found) == BODIES[:1] and faults(found) == [(1, "ingest.broken_record")]


def test_a_cut_packed_file_has_a_row_of_its_own():
    found = frames(gzip.compress(b"".join(FINE))[:-9])
    assert bodies(found)[:3] == BODIES[:3] and faults(found)[-1][1] == "ingest.truncated_gzip"


def test_a_damaged_member_costs_its_own_record():
    members = [gzip.compress(record(n, bytes(range(256)) * 8 + str(n).encode())) for n in range(6)]
    broken = bytearray(members[2])
    broken[20:60] = b"\xff" * 40
    found = frames(b"".join([*members[:2], bytes(broken), *members[3:]]))
    assert [body[-1:] for body in bodies(found)] == [b"0", b"1", b"3", b"4", b"5"]
    assert "ingest.broken_record" in {r: n for n, r in faults(found)}


def test_a_page_about_warc_is_not_taken_apart():
    body = b"<pre>\nWARC/1.0\r\nWARC-Type: response\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n</pre>"
    assert bodies(frames(record(0, body) + FINE[1])) == [body, BODIES[1]]


def test_arc():
    data = b"filedesc://x.arc 127.0.0.1 20140216050221 text/plain 10\n1 0 Bad\nX\n\n"
    data += b"http://e.example/ 1.2.3.4 20140216050221 text/html 5\nhello\n"
    data += b"http://e.example/2 1.2.3.4 201404010000000000 text/html -1\n\n"
    data += b"http://e.example/3 1.2.3.4 20140216050221 text/html 3\nbye\n"
    found = list(arc_frames(Unpacked(io.BytesIO(data)), LIMIT))
    assert bodies(found)[1:] == [b"hello", b"bye"] and faults(found) == [(2, "ingest.broken_record")]
