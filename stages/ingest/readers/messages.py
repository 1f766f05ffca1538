"""Metadata of Arrow IPC messages, read before Arrow reads the messages: how many rows they hold and how much memory they ask for.

Arrow takes the length that stands before a packed buffer for granted: a few bytes ask for gigabytes. Messages and the footer of
a file are FlatBuffers tables (format of Arrow's columns, "IPC"; Message.fbs and File.fbs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from stages.ingest.readers.pages import MEMORY

DICTIONARY, BATCH = 2, 3
"""Kinds of message that hold columns."""
KINDS = range(1, 6)
"""These, and a schema, a tensor and a sparse tensor."""
WORDS = 1 << 28
"""Most bytes that one message may have of metadata, and a footer."""
OLD = b"ARROW:experimental_compression"
"""What the metadata of a batch said of packed buffers before there was a field for it (Arrow 0.17)."""
FREE = 1 << 16
"""Rows of one batch that need no byte."""
NOT_PACKED = -1
"""Stands before a buffer that is not packed though the others of its batch are."""


class Message(NamedTuple):
    """One message: its kind, where it begins, the byte behind it, and of a batch or dictionary what it holds."""

    kind: int
    start: int
    end: int
    rows: int = 0
    unpacked: int = 0
    """Bytes of its packed buffers, unpacked, as they say themselves."""
    fault: str | None = None
    """Why its buffers are not to be read."""
    dictionary: int = 0
    """The number of the dictionary, of one."""
    more: bool = False
    """Does it add to the dictionary that is there?"""

    @property
    def believed(self) -> int | None:
        """Its rows, where so many can stand in so many bytes: rows of nothing but null or of repeats take none."""
        return self.rows if 0 <= self.rows <= 8 * (self.unpacked + self.end - self.start) + FREE else None


class Memory:
    """What the dictionaries of a file take unpacked, and whether a message may be read beside them."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}

    def refused(self, message: Message) -> str | None:
        """Why Arrow is not to read a batch or dictionary; None where it may, and then a dictionary counts from now on."""
        if message.fault is not None:
            return message.fault
        beside = {
            number: size
            for number, size in self._held.items()
            if message.more or message.kind != DICTIONARY or number != message.dictionary
        }
        if sum(beside.values()) + message.unpacked > MEMORY:
            return f"buffers of {message.unpacked} bytes unpacked"
        if message.believed is None:
            return f"{message.rows} rows in {message.end - message.start} bytes"
        if message.kind == DICTIONARY:
            self._held[message.dictionary] = beside.get(message.dictionary, 0) + message.unpacked
        return None


def at(source: Any, at_byte: int) -> Message | None:
    """The message that begins at `at_byte` of a file; None at the end of a stream. ValueError where there is no sound one.

    `source` is read from there; where it stands afterwards is not said.
    """
    whole = source.seek(0, 2)
    if not 0 <= at_byte <= whole:
        raise ValueError("a message's place is damaged")
    source.seek(at_byte)
    if not (head := source.read(4)):
        return None
    size, lead = _number(head, "<i", 0), 4
    if size == -1:  # since Arrow 0.15
        size, lead = struct.unpack("<i", _all(source, 4))[0], 8
    if size == 0:
        return None
    if not 0 < size <= WORDS:
        raise ValueError("a message's length is damaged")
    data = _all(source, size)
    message = _Table(data, _number(data, "<I", 0))
    kind, body = message.number(1, "<B"), message.number(3, "<q")
    first = at_byte + lead + size
    if body < 0:
        raise ValueError("a message's length is damaged")
    if kind not in KINDS:
        raise ValueError("a message is of no kind")
    if kind not in (DICTIONARY, BATCH):
        return Message(kind, at_byte, first + body)
    about, number, more = message.table(2), 0, False
    if kind == DICTIONARY:
        number, more, about = about.number(0, "<q"), bool(about.number(2, "<B")), about.table(1)
    unpacked, fault = 0, None
    if about.at_byte(3) or OLD in data:
        try:
            for offset, length in about.pairs(2):
                if offset < 0 or offset + max(0, length) > min(body, whole - first):
                    raise ValueError("a buffer's place is damaged")
                unpacked += _unpacked(source, first + offset, length) if length > 0 else 0
        except ValueError as wrong:
            fault = str(wrong)
    return Message(kind, at_byte, first + body, about.number(0, "<q"), unpacked, fault, number, more)


def _unpacked(source: Any, at_byte: int, length: int) -> int:
    """Bytes of a buffer unpacked, as its first eight say; of one that is not packed they say so."""
    source.seek(at_byte)
    size = struct.unpack("<q", _all(source, 8))[0]
    if size < NOT_PACKED:
        raise ValueError("a buffer's length is damaged")
    return length if size == NOT_PACKED else size


def blocks(source: Any) -> tuple[list[int], list[int]]:
    """Where the dictionaries and the batches of an Arrow file begin. ValueError where its footer does not say."""
    end = source.seek(0, 2)
    if end < 10:
        raise ValueError("the footer is cut")
    source.seek(end - 10)
    size = struct.unpack("<i", _all(source, 4))[0]
    if not 0 < size <= min(end - 10, WORDS):
        raise ValueError("the footer's length is damaged")
    source.seek(end - 10 - size)
    data = _all(source, size)
    footer = _Table(data, _number(data, "<I", 0))
    return [first for first, *_ in footer.blocks(2)], [first for first, *_ in footer.blocks(3)]


def _all(source: Any, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise ValueError("the file is cut within a message")
    return data


def _number(data: bytes, how: str, at_byte: int) -> int:
    if at_byte < 0:
        raise ValueError("a place in a message is damaged")
    try:
        return struct.unpack_from(how, data, at_byte)[0]
    except struct.error:
        raise ValueError("a place in a message is damaged") from None


class _Table:
    """A FlatBuffers table: its fields by number, nought where it has none. ValueError where an offset lies outside."""

    def __init__(self, data: bytes, at_byte: int):
        self.data, self.start = data, at_byte
        self.fields = at_byte - _number(data, "<i", at_byte)

    def at_byte(self, field: int) -> int:
        """Where a field stands; 0 where it does not."""
        slot = 4 + 2 * field
        if slot + 2 > _number(self.data, "<H", self.fields):
            return 0
        offset = _number(self.data, "<H", self.fields + slot)
        return self.start + offset if offset else 0

    def number(self, field: int, how: str) -> int:
        at_byte = self.at_byte(field)
        return _number(self.data, how, at_byte) if at_byte else 0

    def table(self, field: int) -> _Table:
        at_byte = self.at_byte(field)
        if not at_byte:
            raise ValueError("a message lacks its header")
        return _Table(self.data, at_byte + _number(self.data, "<I", at_byte))

    def _vector(self, field: int, how: str) -> Iterator[tuple[int, ...]]:
        at_byte = self.at_byte(field)
        if not at_byte:
            return
        at_byte += _number(self.data, "<I", at_byte)
        count, size = _number(self.data, "<I", at_byte), struct.calcsize(how)
        if at_byte + 4 + count * size > len(self.data):
            raise ValueError("a list in a message is longer than it")
        yield from struct.iter_unpack(how, self.data[at_byte + 4 : at_byte + 4 + count * size])

    def pairs(self, field: int) -> Iterator[tuple[int, ...]]:
        """Place and length of each buffer of a batch."""
        return self._vector(field, "<qq")

    def blocks(self, field: int) -> Iterator[tuple[int, ...]]:
        """Place, length of metadata and length of body of each block of a footer."""
        return self._vector(field, "<qi4xq")
