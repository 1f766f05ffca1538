"""Headers of Parquet pages, read before Arrow reads the pages: how much memory they ask for.

Arrow takes the sizes in a page's header for granted, and the footer's for the whole of a column do not bound them: a few bytes
ask for gigabytes. Headers and footer are Thrift structs in the compact protocol (parquet-format).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

MEMORY = 512 << 20
"""Bytes that the pages of a row group read at one time may take unpacked: of each column its largest page and its dictionary."""
DICTIONARY = 2
COUNTED = {0: 5, 3: 8}
"""Numbers of the page types: a dictionary; those that hold values, with the field that counts these."""
HEADER = 4_096, 16 << 20
"""Bytes read to find a header, and the most that one may have (Arrow's own limit)."""
SLACK = 100
"""Bytes that some old writers left out of the size of a column (PARQUET-816)."""
DEPTH = 16


class Chunk(NamedTuple):
    """A column of a row group as the footer has it; `start` is its first page, its dictionary where it has one."""

    name: str
    """Of the top-level column that it belongs to."""
    values: int
    packed: int
    start: int
    dictionary: bool


def chunks(handle: BinaryIO) -> list[list[Chunk]]:
    """The columns of each row group. ValueError where the footer does not say.

    Arrow's own objects for them are not used: made of a damaged footer they end the process (pyarrow 26).
    """
    handle.seek(-8, 2)
    size = int.from_bytes(handle.read(4), "little")
    handle.seek(-8 - size, 2)
    try:
        groups = _Compact(handle.read(size)).struct(0)[4]
        return [[_chunk(column[3]) for column in group[1]] for group in groups]
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ValueError("the footer is damaged") from None


def _chunk(about: dict[int, Any]) -> Chunk:
    """Of a ColumnMetaData: 3 is the path, 5 the number of values, 7 the packed size, 9 and 11 the first pages."""
    data, dictionary = _count(about[9]), about.get(11)
    start = dictionary if type(dictionary) is int and 0 < dictionary < data else data
    return Chunk(about[3][0].decode(), _count(about[5]), _count(about[7]), start, start < data)


def refused(columns: list[Chunk], handle: BinaryIO) -> dict[str, str]:
    """The columns of a row group whose pages are not to be read, and why: a header is damaged, or they take too much memory."""
    wrong, total = {}, 0
    for chunk in columns:
        try:
            size = sum(largest(handle, chunk))
        except ValueError as fault:
            wrong[chunk.name] = str(fault)
            continue
        if total + size > MEMORY:
            wrong[chunk.name] = f"pages of {size} bytes unpacked"
        else:
            total += size
    return wrong


def largest(handle: BinaryIO, chunk: Chunk) -> tuple[int, int]:
    """Bytes of the largest data page of a column and of its dictionary, unpacked. ValueError where a header is not sound."""
    data = dictionary = 0
    for kind, size in _pages(handle, chunk):
        if kind == DICTIONARY:
            dictionary = max(dictionary, size)
        else:
            data = max(data, size)
    return data, dictionary


def dictionary(handle: BinaryIO, chunk: Chunk) -> int:
    """Bytes of the dictionary of a column, unpacked; 0 where it has none."""
    return next((size for kind, size in _pages(handle, chunk) if kind == DICTIONARY), 0) if chunk.dictionary else 0


def _pages(handle: BinaryIO, chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Type and unpacked size of each page, as far as Arrow reads: until all values are seen."""
    at, values = chunk.start, chunk.values
    end = at + chunk.packed + SLACK
    while values > 0 and at < end:
        page, length = _header(handle, at)
        kind, unpacked, packed = (_count(page.get(field)) for field in (1, 2, 3))
        if kind in COUNTED:
            about = page.get(COUNTED[kind])
            values -= _count(about.get(1) if isinstance(about, dict) else None)
        at += length + packed
        if at > end:
            raise ValueError("a page is longer than its column")
        yield kind, unpacked


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a page header is damaged")
    return value


def _header(handle: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """The fields of the header that begins at `at`, by number, and its length."""
    size, most = HEADER
    while True:
        handle.seek(at)
        data = handle.read(size)
        compact = _Compact(data)
        try:
            return compact.struct(0), compact.at
        except IndexError:
            if len(data) < size or size >= most:
                raise ValueError("a page header is cut") from None
            size *= 64


class _Compact:
    """A Thrift struct in the compact protocol: numbers, bytes, lists and inner structs are kept, the rest is passed over.

    IndexError where it goes on behind the data, ValueError where it is none.
    """

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        found, number = {}, 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = self._value(head & 15, depth)
        return found

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number in a page header is too long")

    def _signed(self) -> int:
        value = self._number()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise IndexError(self.at)

    def _value(self, kind: int, depth: int) -> Any:
        if depth > DEPTH:
            raise ValueError("a page header nests too deep")
        if kind in (1, 2):  # the truth is in the type
            return None
        if kind == 3:
            return self._skip(1)
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            size = self._number()
            self._skip(size)
            return self.data[self.at - size : self.at]
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("a page header is damaged")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4 if head >> 4 < 15 else self._number(), head & 15
        return [self._skip(1) if kind in (1, 2) else self._value(kind, depth + 1) for _ in range(size)]
