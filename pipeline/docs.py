"""A record batch and the memo of what was measured of it: measured once per batch, shared by all who ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

T = TypeVar("T")


class Docs:
    """One record batch and one text column of it as Arrow buffers.

    Kernels read `offsets` (int64, n + 1) and `data` (uint8, UTF-8): text i is `data[offsets[i]:offsets[i + 1]]`.
    Null texts read as empty; `valid` (bool, n) tells them apart.
    """

    def __init__(self, batch: pa.RecordBatch, field: str = "text"):
        self.batch = batch
        self.field = field
        self._memo: dict[Callable[..., Any], Any] = {}
        column = batch.column(field)
        self.valid: np.ndarray = pc.is_valid(column).to_numpy(zero_copy_only=False)
        text = pc.fill_null(column.cast(pa.large_string()), "") if column.null_count else column.cast(pa.large_string())
        self.text: pa.LargeStringArray = text
        buffers = text.buffers()
        offsets = (
            np.frombuffer(buffers[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
            if len(text)
            else np.zeros(1, np.int64)
        )
        self.offsets: np.ndarray = offsets
        self.data: np.ndarray = (
            np.frombuffer(buffers[2], dtype=np.uint8)
            if len(text) and buffers[2] is not None and buffers[2].size
            else np.zeros(0, np.uint8)
        )

    @property
    def n(self) -> int:
        return len(self.batch)

    @property
    def ids(self) -> pa.Array:
        return self.batch.column("id")

    def column(self, name: str) -> pa.Array:
        return self.batch.column(name)

    def cached(self, measure: Callable[[Docs], T]) -> T:
        """`measure(self)`, computed at most once per batch. `measure` must be a pure function from stages/text."""
        if measure not in self._memo:
            self._memo[measure] = measure(self)
        return self._memo[measure]

    def replaced(self, text: pa.Array) -> Docs:
        """The same rows with another text column: a fresh memo, for what follows an edit."""
        index = self.batch.schema.get_field_index(self.field)
        return Docs(self.batch.set_column(index, self.batch.schema.field(index), text), self.field)

    def with_columns(self, columns: dict[str, pa.Array]) -> Docs:
        """The same texts, and what was measured of them, beside other columns: set where the name exists, else added."""
        batch = self.batch
        for name, values in columns.items():
            index = batch.schema.get_field_index(name)
            batch = batch.append_column(name, values) if index < 0 else batch.set_column(index, name, values)
        other = object.__new__(Docs)
        other.__dict__.update(self.__dict__, batch=batch)
        return other
