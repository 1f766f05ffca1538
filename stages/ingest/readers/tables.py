"""Tables: CSV and TSV (in whatever charset they are), Parquet, Arrow files and streams, saved Hugging Face datasets."""

from __future__ import annotations

import csv
import io
from typing import Any, BinaryIO, Iterator

from stages.ingest import charset
from stages.ingest.readers.lines import faults
from stages.ingest.row import Raw
from stages.ingest.unpack import Unpacked

SAMPLE = 1 << 20
"""Bytes from which a CSV's charset is learnt."""
BATCH = 256
"""Rows of a Parquet or Arrow file turned to Python at a time."""


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


def read_parquet(handle: BinaryIO) -> Iterator[Raw]:
    """Rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        source = pq.ParquetFile(handle)
        for batch in source.iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                yield Raw("row", f"row:{number}", row)
                number += 1
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as fault:
        yield Raw("fault", f"row:{number}", reason="ingest.broken_file", note=f"Parquet: {type(fault).__name__} after {number} rows")


def read_arrow(handle: BinaryIO) -> Iterator[Raw]:
    """Rows of an Arrow IPC file or stream; every batch is validated, since its offsets come from outside."""
    import pyarrow as pa

    number = 0
    try:
        for batch in _batches(pa, handle):
            batch.validate(full=True)
            for start in range(0, len(batch), BATCH):
                for row in batch.slice(start, BATCH).to_pylist():
                    yield Raw("row", f"row:{number}", row)
                    number += 1
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as fault:
        yield Raw("fault", f"row:{number}", reason="ingest.broken_file", note=f"Arrow: {type(fault).__name__} after {number} rows")


def _batches(pa: Any, handle: BinaryIO) -> Iterator[Any]:
    head = handle.read(6)
    handle.seek(0)
    name = getattr(handle, "name", None)
    source = pa.memory_map(name) if isinstance(name, str) else handle
    if head == b"ARROW1":
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from pa.ipc.open_stream(source)
