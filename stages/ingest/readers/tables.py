"""CSV and TSV, in whatever charset they are."""

from __future__ import annotations

import csv
import io
from typing import Any, Iterator

from stages.ingest import charset
from stages.ingest.readers.lines import faults
from stages.ingest.row import Raw
from stages.ingest.unpack import Unpacked

SAMPLE = 1 << 20
"""Bytes from which a CSV's charset is learnt."""


def read_csv(stream: Unpacked, max_bytes: int, tabs: bool = False) -> Iterator[Raw]:
    """Rows of a CSV or TSV file under the names of its first line; a semicolon parts where the first line has no comma."""
    head = stream.peek(SAMPLE)
    encoding = charset.decode(head, html=False).encoding
    if head.startswith(tuple(mark for mark, _ in charset.MARKS)):
        # The codec that takes its mark away.
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding[:6]
    text = io.TextIOWrapper(io.BufferedReader(stream, 1 << 18), encoding=encoding, errors="replace", newline="")
    csv.field_size_limit(max_bytes)
    first = head.partition(b"\n")[0].decode(encoding, "replace")
    mark = "\t" if tabs or ("\t" in first and "," not in first) else ";" if ";" in first and "," not in first else ","
    rows = csv.reader(text, delimiter=mark)
    names = next(rows, None)
    if not names or not any(name.strip() for name in names):
        yield Raw("fault", "", reason="ingest.empty")
        return
    yield from _csv_rows(rows, [name.strip() for name in names], max_bytes)
    yield from faults(stream)


def _csv_rows(rows: Any, names: list[str], max_bytes: int) -> Iterator[Raw]:
    number = 0
    while True:
        number += 1
        place = f"row:{number}"
        try:
            values = next(rows, None)
        except csv.Error as fault:
            large = "field larger" in str(fault)
            note = f"a field over {max_bytes} bytes" if large else "not readable as CSV"
            yield Raw("fault", place, reason="ingest.too_large" if large else "ingest.broken_record", note=note)
            continue
        if values is None:
            return
        if not values:
            continue
        row: dict[str, Any] = dict(zip(names, values))
        note = None
        if len(values) != len(names):
            note = f"{len(values)} fields, the first line has {len(names)}"
            row |= {f"_{extra}": value for extra, value in enumerate(values[len(names) :], len(names) + 1)}
        yield Raw("row", place, row, note=note)
