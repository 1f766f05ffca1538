"""Texts to learn from or to measure: stores and files, with a selection by column.

A source is a path, optionally with conditions in brackets: `docs.jsonl.xz[translationtype=HT]` are the rows whose column says
so. `pipeline/table_files.py` says which files are read; in plain text a line is a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import SourceError, did_you_mean
from pipeline.schema import doc_id, is_id
from pipeline.table_files import KINDS, kind_of, rows_in


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
            known = str(row["id"]) if is_id(row.get("id")) else doc_id(path.name, str(number))
            yield Sample(known, text, str(row[group]) if group else known, row.get("lang"))


def path_of(source: str) -> str:
    """The path of a source, without its conditions."""
    return str(_parsed(source)[0])


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
    if not kind_of(path):
        raise SourceError(f"{path} is of no known kind", f"files that end in {', '.join(KINDS)} are read")
    yield from rows_in(path)


def _store_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from pipeline.storage.store import Store

    store = Store(path)
    store.require()
    for shard in store.shards():
        for batch in store.batches(shard):
            yield from batch.to_pylist()
