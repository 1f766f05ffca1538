"""Number columns of the passes, and how they are read back without copying what is not needed.

A pass writes long columns of numbers. They lie in blocks, one list of up to 65,536 numbers a row, so that a store's batch
of rows is megabytes of numbers and not a thousand of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa


class _NoPandas:
    """An import finder that knows no pandas."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ImportError(name)


def _arrow_without_pandas() -> None:
    """Arrow's first conversion imports pandas to look for its types, which no column here has: .3 CPU
    seconds a task's process (.78 against 1.09, median of five). Whoever asks Arrow for pandas afterwards still gets it."""
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)  # type: ignore[arg-type]
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(_NoPandas)  # type: ignore[arg-type]


_arrow_without_pandas()

BLOCK = 1 << 16


def blocks(**columns: np.ndarray) -> pa.Table:
    """A table of number columns of one length, in blocks."""
    total = len(next(iter(columns.values())))
    ends = pa.array(np.minimum(np.arange(0, total + BLOCK, BLOCK), total) if total else np.zeros(1), pa.int64())
    return pa.table({name: pa.LargeListArray.from_arrays(ends, _stored(values)) for name, values in columns.items()})


def _stored(values: np.ndarray) -> pa.Array:
    """Numbers, or words of up to so many bytes (dtype S, shorter ones filled up with zeros)."""
    if values.dtype.kind != "S":
        return pa.array(values)
    held = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.dtype.itemsize), len(values), [None, held])


def column(rows: pa.Table, name: str) -> np.ndarray:
    """A block column, or a plain number column without nulls, as one array; no copy where it is one chunk."""
    pieces = list(_pieces(rows, name))
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros(0, _kind(rows, name))


def _kind(rows: pa.Table, name: str) -> Any:
    kind = rows.schema.field(name).type
    kind = kind.value_type if pa.types.is_large_list(kind) else kind
    return f"S{kind.byte_width}" if pa.types.is_fixed_size_binary(kind) else kind.to_pandas_dtype()


def _pieces(rows: pa.Table, name: str) -> Iterator[np.ndarray]:
    for chunk in rows[name].chunks:
        flat = chunk.flatten() if pa.types.is_large_list(chunk.type) else chunk
        if pa.types.is_fixed_size_binary(flat.type):
            width = flat.type.byte_width
            held = np.frombuffer(flat.buffers()[1] or b"", f"S{width}")
            yield held[flat.offset : flat.offset + len(flat)]
        else:
            yield flat.to_numpy(zero_copy_only=True)


def lookup(rows: pa.Table, by: str, wanted: np.ndarray, *names: str) -> list[np.ndarray]:
    """(positions in `wanted`, then `names` there) of the entries whose `by` (a sorted block column) is wanted."""
    others = [list(_pieces(rows, name)) for name in names]
    positions: list[np.ndarray] = []
    found: list[list[np.ndarray]] = [[] for _ in names]
    for number, piece in enumerate(_pieces(rows, by)):
        if not len(piece) or not len(wanted):
            continue
        at = np.minimum(np.searchsorted(piece, wanted), len(piece) - 1)
        hit = np.flatnonzero(piece[at] == wanted)
        positions.append(hit)
        for held, other in zip(found, others):
            held.append(other[number][at[hit]])
    whole = np.concatenate(positions) if positions else np.zeros(0, np.int64)
    return [
        whole,
        *(np.concatenate(h) if h else np.zeros(0, _kind(rows, n)) for h, n in zip(found, names)),
    ]


def matrix(rows: pa.Table, name: str) -> np.ndarray:
    """A fixed-size binary column as uint32 rows (n, width / 4)."""
    pieces = [_rows(chunk) for chunk in rows[name].chunks]
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros((0, rows.schema.field(name).type.byte_width // 4), np.uint32)


def picked(rows: pa.Table, name: str, wanted: np.ndarray, count: int) -> np.ndarray:
    """The first `count` numbers of the rows `wanted` (ascending) of such a column, uint32 (n, count).

    Taken batch by batch: the column as a whole is half a kilobyte a document, and a shard is asked many times.
    """
    found = np.empty((len(wanted), count), np.uint32)
    first = at = 0
    for chunk in rows[name].chunks:
        stop = at + int(np.searchsorted(wanted[at:], first + len(chunk)))
        if stop > at:
            found[at:stop] = _rows(chunk)[wanted[at:stop] - first, :count]
        at, first = stop, first + len(chunk)
        if at == len(wanted):
            break
    return found


def _rows(chunk: pa.Array) -> np.ndarray:
    width = chunk.type.byte_width // 4
    numbers = np.frombuffer(chunk.buffers()[1], np.uint32)[chunk.offset * width : (chunk.offset + len(chunk)) * width]
    return numbers.reshape(-1, width)
