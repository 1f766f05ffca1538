"""Rows of a table file that someone else wrote: JSONL, JSON, TSV, CSV, Parquet, Arrow, plain text (a row per line); the texts
each also .gz, .xz, .bz2 or .zst.

A quotation mark in a TSV is a letter of the text (KoBEST), in a CSV it encloses a field. A JSON file is a list of objects, one
object, or an object per line, whatever its name. A damaged file is an error here, not a row.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError

KINDS = (".jsonl", ".ndjson", ".json", ".tsv", ".csv", ".parquet", ".arrow", ".txt")
PACKED = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
LONGEST_FIELD = 1 << 30
"""Characters of a CSV or TSV field; the standard library stops at 131,072."""
Row = dict[str, Any]


def kind_of(path: Path) -> str:
    """The ending that says how a file is read (one of KINDS), without that of its packing; empty for an unknown one.

    >>> kind_of(Path("a/dev.tsv.xz")), kind_of(Path("notes.md"))
    ('.tsv', '')
    """
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix not in (*PACKED, ".zst")), "")
    return kind if kind in KINDS else ""


def rows_in(path: Path) -> Iterator[Row]:
    """Every row of a file, in order; one of an unknown ending is read as JSON. SourceError where it cannot be read whole."""
    import pyarrow as pa
    import zstandard

    number = 0
    try:
        for number, row in enumerate(_rows(path, kind_of(path)), 1):
            if not isinstance(row, dict):
                raise SourceError(f"{path} row {number}: no JSON object", "one object per line, or a list of objects")
            yield row
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as fault:
        raise SourceError(
            f"cannot read {path}: {getattr(fault, 'strerror', None) or fault}",
            "give the path of a whole, readable file",
        ) from None
    except (ValueError, RecursionError, csv.Error, pa.ArrowException) as fault:
        raise SourceError(
            f"cannot read {path} as rows: row {number + 1}: {fault}",
            "one JSON object per line or one list, TSV or CSV with a head line, Parquet or Arrow; UTF-8",
        ) from None


def _rows(path: Path, kind: str) -> Iterator[Any]:
    if kind in (".parquet", ".arrow"):
        for batch in _batches(path, kind):
            yield from batch.to_pylist()
        return
    with _opened(path) as lines:
        if kind in (".tsv", ".csv"):
            csv.field_size_limit(LONGEST_FIELD)
            quoting = csv.QUOTE_NONE if kind == ".tsv" else csv.QUOTE_MINIMAL
            yield from csv.DictReader(lines, delimiter="\t" if kind == ".tsv" else ",", quoting=quoting)
        elif kind == ".txt":
            yield from ({"text": line.rstrip("\r\n")} for line in lines)
        else:
            yield from _json(lines, by_line=kind in (".jsonl", ".ndjson"))


def _json(lines: io.TextIOBase, by_line: bool) -> Iterator[Any]:
    """A list, or an object per line, which are not held together; `by_line` says that one object over several lines is none."""
    head = next((line for line in lines if line.strip()), "")
    rest: Iterable[str] = lines
    if not by_line or head.lstrip().startswith("["):
        text = head + lines.read()
        try:
            page = json.loads(text)
        except ValueError:
            head, rest = "", io.StringIO(text)
        else:
            yield from page if isinstance(page, list) else [page]
            return
    yield from (json.loads(line) for line in chain([head], rest) if line.strip())


def _batches(path: Path, kind: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if kind == ".parquet":
        yield from pq.ParquetFile(path).iter_batches(1024)
        return
    with path.open("rb") as handle:
        is_file = handle.read(6) == b"ARROW1"
    with pa.memory_map(str(path)) as source:
        if is_file:
            reader = pa.ipc.open_file(source)
            yield from map(reader.get_batch, range(reader.num_record_batches))
        else:
            yield from pa.ipc.open_stream(source)


def _opened(path: Path) -> io.TextIOBase:
    if path.suffix == ".zst":
        import zstandard

        return zstandard.open(path, "rt", encoding="utf-8-sig", newline="")
    return PACKED.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[operator]
