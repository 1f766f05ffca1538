"""The records of a WARC or ARC file as byte frames, every byte accounted for.

The framing is done here, because a reader that skips what it cannot parse drops records without a word. A length that leads to the next header, or to the line ends behind a record, is right, whatever the body quotes.
One that does not is compared with where the next header really is: a short one keeps what it left out, a long one ends
where the next record begins. Bytes between two records are a frame of their own; only blank lines are none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stages.ingest.unpack import Unpacked

CHUNK = 1 << 20
LONGEST_HEADER = 64 << 10
"""Bytes of one record's header block; FastWARC's limit is 32 KiB, real ones stay under 4."""
LONGEST_LINE = 8 << 10
"""Bytes of the header line of an ARC record; addresses of 2,000 are the longest that servers take."""

HEAD_END = re.compile(rb"\n\r*\n")
"""The blank line after a header block; files that went through a careless copy have `\\r\\r\\n`."""
FOLD = re.compile(rb"\r*\n[ \t]+")
"""A line that goes on in the next, which begins with a blank."""
_VERSION = re.compile(rb"WARC/\d{1,2}\.\d{1,4}[ \t]*\r*\n", re.I)
_FIELD = re.compile(rb"[A-Za-z][A-Za-z0-9\-]{0,60}[ \t]*:")
_OWN_FIELD = re.compile(rb"(?:WARC|Content)-", re.I)
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r*$", re.I | re.M)
_DATED = re.compile(rb"[a-z][a-z0-9+.\-]{1,20}:[^\n]{1,8000} \d{8,18} ", re.I)
_SCHEME = re.compile(rb"(?:https?|ftp|dns|whois|filedesc|file|metadata|urn|news|gopher|mailto):", re.I)
_BLANK = re.compile(rb"[ \t\r\n]*")
_MARK = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """`head` and `body` of a record, or `reason` (and `note`) why there is no body; `size` is the body's length as declared.

    `start` and `end` are its span in the unpacked bytes of the file; blank lines stand between two frames and nothing else.
    """

    number: int
    head: bytes
    body: bytes
    size: int
    reason: str | None = None
    note: str | None = None
    start: int = 0
    end: int = 0


class _Window:
    """A sliding look at a stream: bytes from `at` on are held, more are read on demand."""

    def __init__(self, stream: Unpacked):
        self.stream = stream
        self.at = stream.position
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
        with memoryview(self.held) as view:
            data = bytes(view[:size])
        self.skip(size)
        return data

    def skip(self, size: int) -> None:
        self.at += min(size, len(self.held))
        del self.held[:size]

    def skip_blank(self) -> None:
        if self.at == 0 and self.fill(3) and self.held.startswith(_MARK):
            self.skip(len(_MARK))
        while self.fill(1) and (blank := _BLANK.match(self.held).end()):  # type: ignore[union-attr]
            self.skip(blank)


class _Form(NamedTuple):
    """How records of a kind of archive begin. `begins(held, at)`: is it here? `next(held, at, stop)`: where is the next?

    `head(held)` gives the header block that stands at the beginning of `held` and the length it declares, None where there is
    no such block, or no length. `trailers` are the line ends behind a body.
    """

    begins: Callable[[bytearray, int], bool]
    next: Callable[[bytearray, int, int], int | None]
    head: Callable[[bytearray], tuple[bytes | None, int | None]]
    trailers: tuple[bytes, ...]


def warc_frames(stream: Unpacked, limit: int) -> Iterator[Frame]:
    """Frames of a WARC file; bodies over `limit` bytes are passed over unread."""
    return _frames(stream, limit, WARC)


def arc_frames(stream: Unpacked, limit: int) -> Iterator[Frame]:
    """Frames of an ARC file (the format before WARC): a line of URL, address, date, type and length, then the body."""
    return _frames(stream, limit, ARC)


def _frames(stream: Unpacked, limit: int, form: _Form) -> Iterator[Frame]:
    number = 0
    while True:
        window = _Window(stream)
        last: Frame | None = None
        for frame in _segment(window, limit, form):
            if last is not None:
                yield last._replace(number=number)
                number += 1
            last = _proven(frame, stream)
        fault = stream.fault
        if last is not None:
            if fault == "damaged" and last.note == UNPROVEN:
                last = last._replace(body=b"", reason="ingest.broken_record", note="its packed data is damaged")
            yield last._replace(number=number)
            number += 1
        if fault is None:
            return
        # What could not be unpacked ends the segment; reading goes on at the next member that can be.
        if not stream.resume(lambda data: form.begins(bytearray(data), 0)):
            reason = "ingest.truncated_gzip" if fault == "truncated" else "ingest.broken_file"
            yield Frame(number, b"", b"", 0, reason, f"{stream.packing} data {fault}", window.at, window.at)
            return
        yield Frame(
            number,
            b"",
            b"",
            0,
            "ingest.broken_record",
            "damaged packed data; went on at the next member",
            window.at,
            window.at,
        )
        number += 1


UNPROVEN = "from packed data damaged further on, so it may be garbled"


def _proven(frame: Frame, stream: Unpacked) -> Frame:
    """The frame, with a note where it reaches into what a damaged member gave at last."""
    if (
        stream.fault == "damaged"
        and stream.unproven is not None
        and frame.end > stream.unproven
        and frame.reason is None
    ):
        return frame._replace(note=UNPROVEN)
    return frame


def _segment(window: _Window, limit: int, form: _Form) -> Iterator[Frame]:
    while True:
        window.skip_blank()
        if not window.held:
            return
        window.fill(LONGEST_HEADER)
        head, size = form.head(window.held) if form.begins(window.held, 0) else (None, None)
        inner = form.next(window.held, 1, len(head) if head else 0)
        if head is None or inner is not None:
            yield _strange(window, form, 1 if inner is None else inner)
        elif size is None:
            yield _strange(window, form, len(head), head, "no length that can be read")
        else:
            start = window.at
            frame = _pass_over(window, head, size, form) if size > limit else _whole(window, head, size, limit, form)
            yield frame._replace(start=start, end=window.at)


def _strange(window: _Window, form: _Form, at: int, head: bytes = b"", note: str = "") -> Frame:
    """Everything up to the next header at or behind `at`: bytes that are no record, or one that says no length."""
    start = window.at
    while (found := _next(window, form, at)) is None and not window.ended:
        # Of what was searched only the end is kept: a header may begin there.
        step = max(len(window.held) - LONGEST_HEADER, 1)
        window.skip(step)
        at = max(at - step, 0)
    window.skip(len(window.held) if found is None else found)
    gone = window.at - start
    return Frame(
        0, head, b"", gone, "ingest.broken_record", note or f"{gone} bytes that are no record", start, window.at
    )


def _next(window: _Window, form: _Form, at: int) -> int | None:
    """Where the next header begins in what is held, at or behind `at`, after one more read; None where none is."""
    window.fill(max(len(window.held), at) + CHUNK)
    return form.next(window.held, at, len(window.held))


def _whole(window: _Window, head: bytes, size: int, limit: int, form: _Form) -> Frame:
    """A record that fits: its body by its length, checked against what follows."""
    begin, end = len(head), len(head) + size
    complete = window.fill(end)
    window.fill(min(end, len(window.held)) + LONGEST_HEADER)
    blank = _ends_well(window.held, end, form) if complete else None
    # Where the line ends behind the record are not all there, a length may lead to a later record by chance.
    sure = blank is not None and blank.startswith(form.trailers)
    inner = None if sure else form.next(window.held, begin, min(len(window.held), end))
    if blank is not None and inner is None:
        window.skip(begin)
        body = window.take(size)
        if short := _line_ends_in(body, blank, form):
            return Frame(
                0, head, body[:-short], size, None, f"declared {size} bytes, {short} of them the line ends behind it"
            )
        return Frame(0, head, body, size)
    if inner is not None:
        return _up_to(window, head, size, inner)
    if not complete:
        whole = window.held.endswith(form.trailers)
        body = _up_to(window, head, size, len(window.held))
        return (
            body
            if whole and body.body
            else body._replace(
                reason="ingest.broken_record", note=f"declared {size} bytes, the file ends after {len(body.body)}"
            )
        )
    if window.held.startswith(form.trailers, end):
        window.skip(begin)
        return Frame(0, head, window.take(size), size)
    while (
        (inner := form.next(window.held, end, len(window.held))) is None
        and len(window.held) < begin + limit
        and not window.ended
    ):
        end = max(end, len(window.held) - LONGEST_HEADER)
        window.fill(len(window.held) + CHUNK)
    if inner is None and not window.ended:
        window.skip(begin)
        return Frame(0, head, window.take(size), size, None, f"declared {size} bytes, no record stands behind it")
    return _up_to(window, head, size, len(window.held) if inner is None else inner)


def _up_to(window: _Window, head: bytes, size: int, stop: int) -> Frame:
    """A record whose declared length is wrong: it ends where the next begins, or the file."""
    window.skip(len(head))
    body = window.take(stop - len(head)).rstrip(b"\r\n")
    return Frame(0, head, body, size, None, f"declared {size} bytes, the record ends after {len(body)}")


def _ends_well(held: bytearray, end: int, form: _Form) -> bytes | None:
    """The line ends behind a body, where after them comes the next header or the end of the file; else None."""
    stop = _BLANK.match(held, end, end + LONGEST_HEADER).end()  # type: ignore[union-attr]
    if stop < min(len(held), end + LONGEST_HEADER) and not form.begins(held, stop):
        return None
    return bytes(held[end : min(stop, end + 8)])


def _line_ends_in(body: bytes, blank: bytes, form: _Form) -> int:
    """How many of the line ends behind a record its length has taken into the body: those that are missing behind it."""
    if blank.startswith(form.trailers):
        return 0
    missing = (trailer.removesuffix(blank) for trailer in form.trailers if trailer.endswith(blank))
    return next((len(ends) for ends in missing if body.endswith(ends)), 0)


def _pass_over(window: _Window, head: bytes, size: int, form: _Form) -> Frame:
    """A record over the limit: passed over piece by piece, up to its end or to a header inside a length that is wrong."""
    window.skip(len(head))
    left = size
    while left > 0:
        window.fill(min(left, CHUNK) + LONGEST_HEADER)
        if not window.held:
            break
        step = min(left, max(len(window.held) - LONGEST_HEADER, 1) if not window.ended else len(window.held))
        inside = form.next(window.held, 0, step)
        if inside is not None and inside < left:
            window.skip(inside)
            return Frame(
                0,
                head,
                b"",
                size,
                "ingest.broken_record",
                f"declared {size} bytes, the next record stands before its end",
            )
        window.skip(step)
        left -= step
    return Frame(0, head, b"", size, "ingest.too_large", f"{size} bytes")


# -- WARC --------------------------------------------------------------------------------------------------------------


def _warc_begins(held: bytearray, at: int) -> bool:
    return _VERSION.match(held, at) is not None


def _warc_next(held: bytearray, at: int, stop: int) -> int | None:
    """A version line before `stop` that a field follows; in the middle of a line only before a field of WARC's own."""
    for found in _VERSION.finditer(held, at, min(stop + 64, len(held))):
        if found.start() >= stop:
            return None
        at_line = found.start() == 0 or held[found.start() - 1] == 10
        if (_FIELD if at_line else _OWN_FIELD).match(held, found.end()):
            return found.start()
    return None


def _warc_head(held: bytearray) -> tuple[bytes | None, int | None]:
    end = HEAD_END.search(held, 0, LONGEST_HEADER)
    if end is None:
        return None, None
    head = bytes(held[: end.end()])
    length = _LENGTH.search(FOLD.sub(b" ", head))
    return head, int(length.group(1)) if length else None


# -- ARC ---------------------------------------------------------------------------------------------------------------


def arc_line(line: bytes) -> tuple[bytes, bytes, bytes, int | None] | None:
    """URL, date, content type and length of an ARC record's header line; None where it is none.

    URL and type may hold blanks: the URL ends before an address and a date, the length stands last. (Version 2 has result,
    checksum, location, offset and file name between type and length.)

    >>> arc_line(b"http://e.kr/a b 192.0.2.7 20140216050221 text/html; charset=x 5")
    (b'http://e.kr/a b', b'20140216050221', b'text/html; charset=x', 5)
    """
    fields = line.split(b" ")
    dated = next(
        (
            n
            for n in range(2, len(fields) - 2)
            if 8 <= len(fields[n]) <= 18 and fields[n].isdigit() and 0 < len(fields[n - 1]) <= 64
        ),
        None,
    )
    if dated is None:
        return None
    length = fields[-1].rstrip(b"\r\n\t")
    size = int(length) if length.isdigit() and len(length) <= 18 else None
    if size is None and not re.fullmatch(rb"-?\w{1,19}", length):
        return None
    return b" ".join(fields[: dated - 1]), fields[dated], b" ".join(fields[dated + 1 : -1]), size


def _arc_line_at(held: bytearray, at: int) -> bytes | None:
    """The header line of an ARC record that begins at `at`, its end included; in the middle of a line only with a common scheme."""
    if _DATED.match(held, at) is None or (at and held[at - 1] != 10 and _SCHEME.match(held, at) is None):
        return None
    end = held.find(b"\n", at, at + LONGEST_LINE) + 1
    line = bytes(held[at:end]) if end else None
    return line if line and arc_line(line) else None


def _arc_begins(held: bytearray, at: int) -> bool:
    return _arc_line_at(held, at) is not None


def _arc_next(held: bytearray, at: int, stop: int) -> int | None:
    """A header line before `stop`."""
    if at == 0 and stop > 0 and _arc_begins(held, 0):
        return 0
    at = held.find(b"\n", max(at - 1, 0), stop) + 1
    while 0 < at < stop:
        if _arc_begins(held, at):
            return at
        at = held.find(b"\n", at, stop) + 1
    return None


def _arc_head(held: bytearray) -> tuple[bytes | None, int | None]:
    line = _arc_line_at(held, 0)
    found = arc_line(line) if line else None
    return (line, found[3]) if found else (None, None)


WARC = _Form(_warc_begins, _warc_next, _warc_head, (b"\r\n\r\n", b"\n\n", b"\r\r\n\r\r\n"))
ARC = _Form(_arc_begins, _arc_next, _arc_head, (b"\n", b"\r\n"))
