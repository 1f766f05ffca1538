"""The text-bearing fields of a batch as flat columns of strings, each string with the row and place it came from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import WorkError
from pipeline.schema import TEXT_FIELDS, shape_of

TEXT_KEY = {"blocks": "text", "meta": "value", "messages": "content", "prompt": "content", "chosen": "content", "rejected": "content"}
"""In a field that is a list of records, the part that holds the text."""


class Lane(NamedTuple):
    """One field's strings. `texts` large_string without nulls; string k came from row `rows[k]`, list place `slots[k]` (-1: no list)."""

    field: str
    texts: pa.Array
    rows: np.ndarray
    slots: np.ndarray

    def place(self, item: int) -> str:
        """`text`, or `blocks[3].text`."""
        slot = int(self.slots[item])
        return self.field if slot < 0 else f"{self.field}[{slot}].{TEXT_KEY[self.field]}"


def text_fields(schema: pa.Schema) -> tuple[str, ...]:
    """The fields of this shape that hold text; WorkError for a table that is of no shape."""
    shape = shape_of(schema)
    if shape is None or not TEXT_FIELDS[shape]:
        raise WorkError("these rows have no text to look at", "give a store of documents, chats or pairs")
    return TEXT_FIELDS[shape]


def lanes(batch: pa.RecordBatch) -> list[Lane]:
    """Every text-bearing field of `batch` as a lane, in the order of the shape."""
    found = []
    for name in text_fields(batch.schema):
        column = batch.column(name)
        if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
            found.append(Lane(name, _filled(column), np.arange(len(column)), np.full(len(column), -1)))
        else:
            found.append(_of_list(name, column))
    return found


def _of_list(name: str, column: pa.Array) -> Lane:
    rows = pc.list_parent_indices(column).to_numpy()
    texts = pc.struct_field(pc.list_flatten(column), TEXT_KEY[name])
    first = np.zeros(len(rows), np.int64)
    if len(rows):
        opening = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
        first = np.repeat(opening, np.diff(np.concatenate((opening, [len(rows)]))))
    return Lane(name, _filled(texts), rows, np.arange(len(rows)) - first)


def _filled(texts: pa.Array) -> pa.Array:
    texts = texts.cast(pa.large_string())
    return pc.fill_null(texts, "") if texts.null_count else texts


def with_rows(batch: pa.RecordBatch, rows: list[int], values: dict[str, list]) -> pa.RecordBatch:
    """`batch` with the columns `values` of the rows `rows` replaced; untouched columns are shared, not copied."""
    if not rows:
        return batch
    order = np.arange(len(batch))
    order[rows] = len(batch) + np.arange(len(rows))
    take = pa.array(order)
    columns = []
    for field in batch.schema:
        column = batch.column(field.name)
        if field.name in values:
            fresh = pa.array(values[field.name], field.type)
            column = fresh if len(rows) == len(batch) else pa.concat_arrays([column, fresh]).take(take)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
