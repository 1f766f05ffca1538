"""Headers of Parquet pages, read before Arrow reads the pages: how much memory they ask for.

Arrow takes the sizes in a page's header for granted, and the footer's for the whole of a column do not bound them: a few bytes
ask for gigabytes. Headers are Thrift structs in the compact protocol (parquet-format, PageHeader).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow.parquet as pq

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


def refused(source: pq.ParquetFile, handle: BinaryIO, group: int) -> dict[str, str]:
    """The columns of a row group whose pages are not to be read, and why: a header is damaged, or they take too much memory."""
    about, names = source.metadata.row_group(group), source.schema_arrow.names
    wrong, total = {}, 0
    for number in range(about.num_columns):
        chunk = about.column(number)
        try:
            path = chunk.path_in_schema
        except UnicodeDecodeError:
            return dict.fromkeys(names, "a column's name is no UTF-8")
        name = max((name for name in names if path == name or path.startswith(f"{name}.")), key=len, default=path)
        try:
            size = sum(largest(handle, chunk))
        except ValueError as fault:
            wrong[name] = str(fault)
            continue
        if total + size > MEMORY:
            wrong[name] = f"pages of {size} bytes unpacked"
        else:
            total += size
    return wrong


def largest(handle: BinaryIO, chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Bytes of the largest data page of a column and of its dictionary, unpacked. ValueError where a header is not sound."""
    data = dictionary = 0
    for kind, size in _pages(handle, chunk):
        if kind == DICTIONARY:
            dictionary = max(dictionary, size)
        else:
            data = max(data, size)
    return data, dictionary


def _pages(handle: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[tuple[int, int]]:
    """Type and unpacked size of each page, as far as Arrow reads: until all values are seen."""
    at, values = chunk.data_page_offset, chunk.num_values
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size + SLACK
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
    """A Thrift struct in the compact protocol: numbers and inner structs are kept, the rest is passed over.

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
            return self._skip(self._number())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("a page header is damaged")

    def _list(self, depth: int) -> None:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self._number()
        for _ in range(size):
            if head & 15 in (1, 2):
                self._skip(1)
            else:
                self._value(head & 15, depth + 1)
