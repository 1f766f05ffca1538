"""Texts to learn from or to measure: stores and files, with a selection by column.

A source is a path, optionally with conditions in brackets: `docs.jsonl.xz[translationtype=HT]` are the rows whose column says
so. Files: JSONL, JSON lists, TSV, CSV, Parquet, plain text (a document per line), each also .gz, .xz, .bz2 or .zst.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import SourceError, did_you_mean
from pipeline.schema import doc_id

KINDS = (".jsonl", ".ndjson", ".json", ".tsv", ".csv", ".parquet", ".txt")
PACKED = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


class Sample(NamedTuple):
    """One document: its id, its text, and the value of the grouping column (its id where none is asked for)."""

    id: str
    text: str
    group: str
    lang: str | None


def samples(source: str, field: str = "text", group: str | None = None) -> Iterator[Sample]:
    """Every text of a source; rows without text are left out. SourceError names what is wrong with a path or column."""
    path, wanted = _parsed(source)
    for number, row in enumerate(_rows(path)):
        for column in (*wanted, *([group] if group else []), field):
            if column not in row:
                raise SourceError(f"{path.name} has no column {column!r}", did_you_mean(column, sorted(map(str, row))))
        text = row[field]
        if (
            isinstance(text, str)
            and text.strip()
            and all(str(row[column]) == value for column, value in wanted.items())
        ):
            known = str(row["id"]) if _is_id(row.get("id")) else doc_id(path.name, str(number))
            yield Sample(known, text, str(row[group]) if group else known, row.get("lang"))


def path_of(source: str) -> str:
    """The path of a source, without its conditions."""
    return str(_parsed(source)[0])


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def _parsed(source: str) -> tuple[Path, dict[str, str]]:
    match = re.fullmatch(r"(.*?)(?:\[([^\[\]]*)\])?", source)
    path, conditions = Path(match[1]), match[2]  # type: ignore[index]
    wanted = {}
    for condition in (conditions or "").split(","):
        name, equals, value = condition.partition("=")
        if condition and not equals:
            raise SourceError(f"{source}: {condition!r} is no condition", "write PATH[column=value]")
        if condition:
            wanted[name.strip()] = value.strip()
    if not path.exists():
        raise SourceError(f"there is nothing at {path}", "give a store or a file")
    return path, wanted


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.is_dir():
        yield from _store_rows(path)
        return
    kind = next((s for s in reversed(path.suffixes) if s not in (*PACKED, ".zst")), "")
    if kind not in KINDS:
        raise SourceError(f"{path} is of no known kind", f"files that end in {', '.join(KINDS)} are read")
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(path).iter_batches(1024):
                yield from batch.to_pylist()
            return
        with _opened(path) as lines:
            yield from _parsed_lines(lines, kind)
    except (OSError, ValueError, EOFError, lzma.LZMAError, csv.Error) as fault:
        raise SourceError(f"cannot read {path}: {fault}", "give whole, UTF-8 encoded files") from None


def _parsed_lines(lines: io.TextIOBase, kind: str) -> Iterator[Mapping[str, Any]]:
    if kind in (".tsv", ".csv"):
        csv.field_size_limit(1 << 30)
        quoting = csv.QUOTE_NONE if kind == ".tsv" else csv.QUOTE_MINIMAL
        yield from csv.DictReader(lines, delimiter="\t" if kind == ".tsv" else ",", quoting=quoting)
    elif kind == ".json":
        yield from json.load(lines)
    elif kind == ".txt":
        yield from ({"text": line.rstrip("\n")} for line in lines)
    else:
        yield from (json.loads(line) for line in lines if line.strip())


def _opened(path: Path) -> io.TextIOBase:
    if path.suffix == ".zst":
        import zstandard

        return zstandard.open(path, "rt", encoding="utf-8-sig", newline="")
    return PACKED.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[operator]


def _store_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from pipeline.storage.store import Store

    store = Store(path)
    store.require()
    for shard in store.shards():
        for batch in store.batches(shard):
            yield from batch.to_pylist()
