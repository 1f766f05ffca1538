"""Which columns go out, under which names, and how `meta` does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.paths import column_of, parsed, values_at, word
from pipeline.schema import META, STR, fitted

MOST_KEYS = 512
"""Keys of `meta` that become columns; more are no table any more."""
INT64 = range(-(1 << 63), 1 << 63)


class Column(NamedTuple):
    """A column that goes out."""

    name: str
    path: str
    """Column of the store, or a path into one."""
    key: str | None = None
    """Key of `meta`, where `meta` is taken apart."""
    type: pa.DataType = STR


class Columns(NamedTuple):
    """All that go out, in order, and the columns of the store they are made from."""

    columns: list[Column]
    source: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])

    def table(self, batch: pa.RecordBatch) -> pa.Table:
        """The rows of a batch as they go out."""
        rows = fitted(pa.Table.from_batches([batch]), self.source).combine_chunks()
        keys = {column.key: column.type for column in self.columns if column.key is not None}
        flat = _flat(rows["meta"], keys) if keys else {}
        made = []
        for column in self.columns:
            if column.key is not None:
                made.append(flat[column.key])
            elif column.path in self.source.names:
                whole = rows[column.path]
                made.append(_as_json(whole) if column.path == "meta" and column.type == STR else whole)
            else:
                made.append(pa.array([word(value) for value in values_at(rows, column.path, "export")], STR))
        return pa.table(made, schema=self.schema)


def chosen(source: pa.Schema, wanted: list[str], meta: str, metas: Iterator[pa.ChunkedArray]) -> Columns:
    """The columns that go out: `wanted` (`PATH` or `PATH=NAME`), all of them where it is empty. `metas` is read where `meta` is
    flat: its keys are those of the whole store. UsageError for an unknown column or two of one name."""
    columns: list[Column] = []
    for entry in wanted or source.names:
        path, _, name = str(entry).partition("=")
        column_of(path, source.names, "export")
        if path == "meta" and meta == "flat" and source.field("meta").type == META:
            columns += [Column(f"{name or 'meta'}.{key}", path, key, kind) for key, kind in keys_of(metas).items()]
            continue
        whole = path in source.names and not (path == "meta" and meta == "json")
        columns.append(Column(name or path, path, None, source.field(path).type if whole else STR))
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"export: two columns are called {twice[0]!r}", "rename one: --columns PATH=NAME")
    return Columns(columns, source)


def keys_of(metas: Iterator[pa.ChunkedArray]) -> dict[str, pa.DataType]:
    """The keys of `meta`, sorted, each with the type that holds all of its values: text where they differ."""
    kinds: dict[str, set[str]] = {}
    for column in metas:
        flat = column.combine_chunks().flatten()
        is_json = pc.fill_null(pc.equal(flat.field("type"), "json"), False)
        for key in pc.unique(flat.field("key").filter(pc.invert(is_json))).to_pylist():
            kinds.setdefault(key or "", set()).add("text")
        for entry in flat.filter(is_json).to_pylist():
            kinds.setdefault(entry["key"] or "", set()).add(_kind(parsed(entry)))
    if len(kinds) > MOST_KEYS:
        raise UsageError(
            f"export: meta has {len(kinds):,} keys, more than the {MOST_KEYS} that become columns",
            "choose some: --columns id,text,meta.KEY=NAME; or --meta json",
        )
    return {key: _type(kinds[key] - {"none"}) for key in sorted(kinds)}


def _kind(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in INT64 else "json"
    if isinstance(value, float):
        return "float" if math.isfinite(value) else "json"
    return "json"


def _type(kinds: set[str]) -> pa.DataType:
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds == {"int"}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {"int", "float"} else STR


def _flat(column: pa.ChunkedArray, keys: dict[str, pa.DataType]) -> dict[str, pa.Array]:
    """A column per key: the first value a row has under it, null where it has none."""
    whole = column.combine_chunks()
    flat, rows = whole.flatten(), pc.list_parent_indices(whole).to_numpy(zero_copy_only=False)
    names, values = flat.field("key"), flat.field("value")
    made = {}
    for key, kind in keys.items():
        at = np.flatnonzero(pc.fill_null(pc.equal(pc.fill_null(names, ""), key), False).to_numpy(zero_copy_only=False))
        index = np.full(len(whole), -1)
        index[rows[at][::-1]] = at[::-1]
        taken = values.take(pa.array(index, pa.int64(), mask=index < 0))
        made[key] = taken if kind == STR else _typed(taken, kind)
    return made


def _typed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if kind == pa.bool_():
        return pc.if_else(pc.equal(values, "null"), None, pc.equal(values, "true"))
    return pc.if_else(pc.equal(values, "null"), None, values).cast(kind)


def _as_json(column: pa.ChunkedArray) -> pa.Array:
    """`meta` as the JSON text of one object; the first value of a key counts."""
    texts = []
    for entries in column.to_pylist():
        found: dict[str, Any] = {}
        for entry in entries or ():
            found.setdefault(entry["key"] or "", parsed(entry))
        texts.append(None if entries is None else json.dumps(found, ensure_ascii=False))
    return pa.array(texts, STR)
