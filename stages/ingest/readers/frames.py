"""The records of a WARC or ARC file as byte frames, every byte accounted for.

fastwarc reads headers; the framing is done here, because a reader that skips what it cannot parse drops records without
a word. A record whose declared length does not lead to the next header is compared with where the next header really
is: a short one swallowed the next record, which is found again; a long one keeps what it holds.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

from stages.ingest.unpack import Unpacked

CHUNK = 1 << 20
LONGEST_HEADER = 64 << 10
"""Bytes of one record's header block; fastwarc's own limit is 32 KiB, real ones stay under 4."""

WARC_MARK = re.compile(rb"(?:^|\n)(?=WARC/[01]\.\d+\r*\n)|(?=WARC/[01]\.\d+\r*\n(?:WARC|Content)-)")
HEAD_END = re.compile(rb"\n\r*\n")
"""The blank line after a header block; files that went through a careless copy have `\\r\\r\\n`."""
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r*$", re.I | re.M)
ARC_MARK = re.compile(rb"(?:^|\n)(?=[a-z][a-z0-9+.\-]{1,20}:[^\s]{1,4096} \S{1,64} \d{8,18} \S{1,128} -?\w{1,12}(?: [^\n]{0,4096})?\n)")
_ARC_LINE = re.compile(rb"(\S+) (\S+) (\d{14}) (\S+)(?: .*)? (\d{1,18})\r?\n")
_BLANK = b" \t\r\n"


class Frame(NamedTuple):
    """`head` and `body` of a record, or `reason` (and `note`) why there is no body; `size` is the body's length as declared."""

    number: int
    head: bytes
    body: bytes
    size: int
    reason: str | None = None
    note: str | None = None


class _Window:
    """A sliding look at a stream: bytes from `at` on are held, more are read on demand."""

    def __init__(self, stream: Unpacked):
        self.stream = stream
        self.held = bytearray()
        self.ended = False

    def fill(self, size: int) -> bool:
        """Hold at least `size` bytes; False where the stream has fewer."""
        while len(self.held) < size and not self.ended:
            more = self.stream.read(max(CHUNK, size - len(self.held)))
            if not more:
                self.ended = True
            self.held += more
        return len(self.held) >= size

    def take(self, size: int) -> bytes:
        data = bytes(self.held[:size])
        del self.held[:size]
        return data

    def skip_blank(self) -> None:
        while self.fill(1) and self.held[0] in _BLANK:
            kept = self.held.lstrip(_BLANK)
            del self.held[: len(self.held) - len(kept)]

    def skip_to(self, mark: re.Pattern, start: int = 0) -> int:
        """Drop bytes up to the next `mark` at or after `start`; how many went. At the end everything goes."""
        gone = 0
        while True:
            self.fill(start + 1)
            match = mark.search(self.held, start)
            if match is not None:
                del self.held[: match.end()]
                return gone + match.end()
            keep = min(len(self.held), LONGEST_HEADER)
            if self.ended:
                gone += len(self.held)
                self.held.clear()
                return gone
            gone += len(self.held) - keep
            del self.held[: len(self.held) - keep]
            start = 0
            if not self.fill(keep + CHUNK) and self.ended:
                continue


def warc_frames(stream: Unpacked, limit: int) -> Iterator[Frame]:
    """Frames of a WARC file; bodies over `limit` bytes are passed over unread."""
    return _frames(stream, limit, WARC_MARK, _warc_head)


def arc_frames(stream: Unpacked, limit: int) -> Iterator[Frame]:
    """Frames of an ARC file (the format before WARC): a line of URL, address, date, type and length, then the body."""
    return _frames(stream, limit, ARC_MARK, _arc_head)


def _frames(stream: Unpacked, limit: int, mark: re.Pattern, head_of) -> Iterator[Frame]:
    number = 0
    while True:
        window = _Window(stream)
        for frame in _segment(window, limit, mark, head_of):
            yield frame._replace(number=number)
            number += 1
        fault = stream.fault
        if fault is None:
            return
        # What could not be unpacked ends the segment; reading goes on at the next member that can be.
        resumed = stream.resume()
        if fault == "truncated" or not resumed:
            reason = "ingest.truncated_gzip" if fault == "truncated" else "ingest.broken_file"
            yield Frame(number, b"", b"", 0, reason, f"{stream.packing} data {fault}")
            return
        yield Frame(number, b"", b"", 0, "ingest.broken_record", "damaged packed data; went on at the next member")
        number += 1


def _segment(window: _Window, limit: int, mark: re.Pattern, head_of) -> Iterator[Frame]:
    while True:
        window.skip_blank()
        if not window.held:
            return
        head, size = head_of(window)
        if head is None:
            start = 0 if not mark.match(window.held) else 1
            gone = window.skip_to(mark, start)
            yield Frame(0, b"", b"", gone, "ingest.broken_record", f"{gone} bytes that are no record")
            continue
        if size is None:
            gone = window.skip_to(mark, len(head))
            yield Frame(0, head, b"", gone, "ingest.broken_record", "no length that can be read")
            continue
        if size > limit:
            yield _pass_over(window, head, size, mark)
            continue
        yield _whole(window, head, size, mark)


def _whole(window: _Window, head: bytes, size: int, mark: re.Pattern) -> Frame:
    """A record that fits: its body by its length, checked against what follows."""
    complete = window.fill(len(head) + size)
    if complete and _ends_well(window, len(head) + size, mark):
        window.take(len(head))
        return Frame(0, head, window.take(size), size)
    swallowed = mark.search(window.held, len(head), min(len(window.held), len(head) + size + 2))
    if swallowed is not None:
        window.take(len(head))
        body = window.take(swallowed.end() - len(head))
        return Frame(0, head, body.rstrip(b"\r\n"), size, None, f"declared {size} bytes, the next record stands after {len(body)}")
    window.take(len(head))
    if not complete:
        body = window.take(len(window.held))
        return Frame(0, head, body, size, "ingest.broken_record", f"declared {size} bytes, the file ends after {len(body)}")
    body = window.take(size)
    gone = window.skip_to(mark)
    return Frame(0, head, body, size, None, f"declared {size} bytes, {gone} more stand before the next record")


def _ends_well(window: _Window, end: int, mark: re.Pattern) -> bool:
    """After a body come line ends, then the next header or the end of the file."""
    window.fill(end + LONGEST_HEADER)
    following = bytes(window.held[end : end + LONGEST_HEADER]).lstrip(_BLANK)
    return not following or mark.match(following) is not None


def _pass_over(window: _Window, head: bytes, size: int, mark: re.Pattern) -> Frame:
    """A record over the limit: passed over piece by piece, up to its end or to a header inside a length that is wrong."""
    window.take(len(head))
    left = size
    while left > 0:
        window.fill(min(left, CHUNK) + LONGEST_HEADER)
        if not window.held:
            break
        step = min(left, max(len(window.held) - LONGEST_HEADER, 1) if not window.ended else len(window.held))
        inside = mark.search(window.held, 0, step)
        if inside is not None and inside.end() < left:
            window.take(inside.end())
            return Frame(0, head, b"", size, "ingest.broken_record", f"declared {size} bytes, the next record stands before its end")
        window.take(step)
        left -= step
    return Frame(0, head, b"", size, "ingest.too_large", f"{size} bytes")


def _warc_head(window: _Window) -> tuple[bytes | None, int | None]:
    """The header block of the record that begins here and its length; None where none begins."""
    window.fill(LONGEST_HEADER)
    if WARC_MARK.match(window.held) is None:
        return None, None
    end = HEAD_END.search(window.held, 0, LONGEST_HEADER)
    if end is None:
        return None, None
    head = bytes(window.held[: end.end()])
    length = _LENGTH.search(head)
    return head, int(length.group(1)) if length else None


def _arc_head(window: _Window) -> tuple[bytes | None, int | None]:
    window.fill(LONGEST_HEADER)
    if ARC_MARK.match(window.held) is None:
        return None, None
    head = bytes(window.held[: window.held.find(b"\n") + 1])
    line = _ARC_LINE.fullmatch(head)
    return head, int(line.group(5)) if line else None
