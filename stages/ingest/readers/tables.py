"""CSV and TSV, in whatever charset they are."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import Any

from stages.ingest import charset
from stages.ingest.readers.lines import faults, line_limit, lines
from stages.ingest.readers.recoded import Decoder, Recoded, note, recoded, replace_unreadable
from stages.ingest.row import Raw, apart
from stages.ingest.unpack import Unpacked


def read_csv(stream: Unpacked, max_bytes: int, tabs: bool = False) -> Iterator[Raw]:
    """Rows of a CSV or TSV file under the names of its first line; a semicolon parts where the first line has no comma."""
    csv.field_size_limit(max_bytes)
    source = _DecodedLines(recoded(stream), line_limit(max_bytes))
    first = source.first()
    mark = "\t" if tabs or ("\t" in first and "," not in first) else ";" if ";" in first and "," not in first else ","
    rows = csv.reader(source, delimiter=mark)
    try:
        names = next(rows, None)
    except csv.Error:
        yield Raw("fault", "", reason="ingest.broken_file", note="the line of names is not readable as CSV")
        return
    if not names or not any(name.strip() for name in names):
        yield Raw("fault", "", reason="ingest.empty")
    else:
        yield from _csv_rows(
            rows, apart([replace_unreadable(name, "utf-8")[0].strip() for name in names]), max_bytes, source
        )
    yield from faults(stream)


class _DecodedLines:
    """The lines of a file as text with their ends, for the csv module; `codec` is that of the last record, `cut` if it was too long."""

    def __init__(self, stream: Unpacked | Recoded, limit: int):
        self.decoder = Decoder(stream)
        self.codec, self.cut = "utf-8", False
        self._lines = self._split(lines(stream, limit, self.decoder))
        self._next: list[str] = []

    def _split(self, found: Iterator[tuple[bytes | None, int]]) -> Iterator[str]:
        for number, (line, _) in enumerate(found):
            if line is None:
                self.cut = True
                yield "\n"
                continue
            text, codec = self.decoder.decode(line.removeprefix(codecs.BOM_UTF8) if number == 0 else line)
            self.codec = codec if codec != "utf-8" else self.codec
            # A CR within ends a line too; one before the LF belongs to it.
            yield from (f"{part}\n" for part in text.removesuffix("\r").split("\r"))

    def first(self) -> str:
        """The line the next reading gives."""
        self._next = [next(self, "")]
        return self._next[0]

    def __iter__(self) -> _DecodedLines:
        return self

    def __next__(self) -> str:
        return self._next.pop() if self._next else next(self._lines)


def _csv_rows(rows: Any, names: list[str], max_bytes: int, source: _DecodedLines) -> Iterator[Raw]:
    number = 0
    while True:
        number += 1
        locator = f"row:{number}"
        source.codec, source.cut = "utf-8", False
        try:
            values = next(rows, None)
        except csv.Error as fault:
            large = "field larger" in str(fault)
            why = f"a field over {max_bytes} bytes" if large else "not readable as CSV"
            yield Raw("fault", locator, reason="ingest.too_large" if large else "ingest.broken_record", note=why)
            continue
        if source.cut:
            yield Raw("fault", locator, reason="ingest.too_large", note=f"a line over {line_limit(max_bytes)} bytes")
            continue
        if values is None:
            return
        if values:
            yield _row(values, names, locator, source.codec)


def _row(values: list[str], names: list[str], locator: str, codec: str) -> Raw:
    """The row of a record; fields beyond the names are called by their number."""
    lost = sum(value.count(charset.UNREADABLE) + value.count("\0") for value in values)
    if lost:
        values = [replace_unreadable(value, codec)[0] for value in values]
    row: dict[str, Any] = dict(zip(names, values))
    notes = [note(codec, lost)]
    if len(values) != len(names):
        notes.append(f"{len(values)} fields, the first line has {len(names)}")
        row |= {f"_{extra}": value for extra, value in enumerate(values[len(names) :], len(names) + 1)}
    return Raw("row", locator, row, note="; ".join(filter(None, notes)) or None)
