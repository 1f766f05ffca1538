"""Paths into a row: a column, or a path into `meta` and columns of records and lists, such as `meta.author.name` or `tags[0]`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.errors import UsageError, did_you_mean
from pipeline.urls import host_of

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d{1,9})\]")


def column_of(path: str, names: list[str], who: str) -> str:
    """The column that `path` begins with. UsageError (its line begins with `who`) where there is none of that name."""
    if path in names:
        return path
    first = re.split(r"[.\[]", path, maxsplit=1)[0]
    if first not in names or not path[len(first) :]:
        raise UsageError(f"{who}: there is no column {first!r} for {path!r}", did_you_mean(first, names))
    return first


def values_at(rows: pa.RecordBatch | pa.Table, path: str, who: str) -> list[Any]:
    """What stands at `path` in each row, None where nothing does. UsageError where the rows have no such column.

    Of `meta` the longest key that fits is taken, so that a key with a dot in it is found too.
    """
    name = column_of(path, rows.schema.names, who)
    values, rest = rows.column(name).to_pylist(), path[len(name) :]
    if not rest:
        return values
    return [_of_meta(value, rest.lstrip(".")) if name == "meta" else _walk(value, rest) for value in values]


def groups_of(rows: pa.RecordBatch | pa.Table, by: str | Sequence[str], store_number: int, who: str) -> list[str]:
    """The group of every row by a column or path, the `host` of its URL or its `store`; `none` where nothing stands there. By
    several: their groups with `|` between. UsageError (its line begins with `who`) where the rows have no such column."""
    if not isinstance(by, str):
        return ["|".join(parts) for parts in zip(*(groups_of(rows, column, store_number, who) for column in by))]
    if by == "store":
        return [str(store_number)] * len(rows)
    if by == "host":
        return [host_of(url) or "none" for url in rows.column("url").to_pylist()]
    return [word(value) or "none" for value in values_at(rows, by, who)]


def number(value: Any) -> float:
    """A value as a number, NaN where it is none."""
    try:
        return float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def word(value: Any) -> str | None:
    """A value as the name of a group: text as it is, everything else as JSON; None where there is nothing."""
    return (
        value
        if isinstance(value, str) or value is None
        else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    )


def parsed(entry: Mapping[str, Any]) -> Any:
    """The value of an entry of `meta` as it was: text, or what its JSON says."""
    value = entry["value"]
    if entry.get("type") != "json" or value is None:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # edited since, such as by a mask that took a quote along


def _of_meta(entries: list[dict[str, Any]] | None, path: str) -> Any:
    best, found = -1, None
    for entry in entries or ():
        key = entry["key"] or ""
        if len(key) > best and path.startswith(key) and path[len(key) : len(key) + 1] in ("", ".", "["):
            best, found = len(key), entry
    return None if found is None else _walk(parsed(found), path[best:])


def _walk(value: Any, rest: str) -> Any:
    """What stands at `rest` below a value; None where the path leads nowhere."""
    at = 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            return None
        at = step.end()
        if step[1] is not None:
            value = value.get(step[1]) if isinstance(value, dict) else None
        else:
            item = int(step[2])
            value = value[item] if isinstance(value, list) and -len(value) <= item < len(value) else None
    return value
