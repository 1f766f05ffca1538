"""Columns of lists of numbers in Parquet and Arrow files: they stay vectors, as columns behind those of the shape.

The columns of a task's shards follow from its own files alone, so that a shard depends on nothing else; shards of one store may
differ in them, and a file without such a column gives nulls. Where two files of a task have unlike types under one name the
column holds lists of float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.schema import SHAPES
from stages.ingest.sources import File, opened


def vectors_of(files: Iterable[File], shape: str) -> dict[str, Any]:
    """Name to Arrow type of the vector columns of a task's files; names the shape has itself stay in `meta`."""
    import pyarrow as pa

    found: dict[str, pa.DataType] = {}
    for file in files:
        if file.within:
            continue
        for field in _schema(file):
            kind = _vector(field.type)
            if kind is not None and field.name not in SHAPES[shape].names:
                found[field.name] = kind if found.get(field.name, kind) == kind else pa.list_(pa.float32())
    return dict(sorted(found.items()))


def _vector(kind: Any) -> Any:
    """The type under which such a column is kept; None for what is no list of numbers."""
    import pyarrow as pa

    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_such(kind) for is_such in lists) or not (
        pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)
    ):
        return None
    number = pa.float32() if pa.types.is_float16(kind.value_type) else kind.value_type
    return pa.list_(number, kind.list_size) if pa.types.is_fixed_size_list(kind) else pa.list_(number)


def _schema(file: File) -> list[Any]:
    """The fields of a Parquet or Arrow file; none of other files, nor of one that cannot be read (its reader says so)."""
    from stages.ingest.readers import columnar

    try:
        with opened(file) as handle:
            head = handle.read(6)
            if head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
                handle.seek(0)
                return columnar.fields(handle, head)
    except (TimeoutError, ConnectionError):
        raise
    except columnar.FAULTS:
        pass
    return []


def taken(row: dict[str, Any], vectors: dict[str, Any]) -> dict[str, Any]:
    """The vectors of a row, taken out of it; what is none of its column's kind stays in the row."""
    return {name: row.pop(name) for name, kind in vectors.items() if _fits(row.get(name), kind)}


def _fits(value: Any, kind: Any) -> bool:
    import pyarrow as pa

    whole = pa.types.is_integer(kind.value_type)
    if not isinstance(value, list) or not all(
        n is None or isinstance(n, int if whole else (int, float)) and not isinstance(n, bool) for n in value
    ):
        return False
    return not pa.types.is_fixed_size_list(kind) or len(value) == kind.list_size
