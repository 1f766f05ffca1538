"""The text-bearing fields of a batch as flat columns of strings, each string with the row and position it came from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import WorkError
from pipeline.schema import TEXT_FIELDS, shape_of
from stages.pii.json_text import JsonText
from stages.text.encoding import valid_rows

MESSAGE_FIELDS = ("content", "reasoning", "name")
PARTS = {
    "blocks": ("text",),
    "meta": ("value", "key"),
    **dict.fromkeys(("messages", "prompt", "chosen", "rejected"), MESSAGE_FIELDS),
}
"""In a field that is a list of records, the parts that hold text; turns hold the arguments of their tool calls besides."""
CALLED = "tool_calls[{}].arguments"
JSON = "json"


class Slot(NamedTuple):
    """One string of a row: a field, the position in its list (-1 where it is no list), the part of the record there."""

    field: str
    at: int = -1
    part: str = ""
    json: bool = False
    """Is the string JSON text? Then it is looked at as `stages.pii.json_text` sees it."""

    @property
    def path(self) -> str:
        """`text`, or `messages[1].tool_calls[0].arguments`."""
        return self.field if self.at < 0 else f"{self.field}[{self.at}].{self.part}"


TEXT = Slot("text")


class Lane(NamedTuple):
    """Strings of one kind. `texts` large_string without nulls, as they are looked at; string k is `slots(k)` of row `rows[k]`."""

    field: str
    texts: pa.Array
    rows: np.ndarray
    positions: np.ndarray
    """int64: position in the list, -1: no list."""
    part: str = ""
    calls: np.ndarray | None = None
    """int64: which tool call of the turn."""
    json: bool = False

    def slot(self, item: int) -> Slot:
        part = self.part if self.calls is None else CALLED.format(int(self.calls[item]))
        return Slot(self.field, int(self.positions[item]), part, self.json)


def text_fields(schema: pa.Schema) -> tuple[str, ...]:
    """The fields of this shape that hold text; WorkError for a table that is of no shape."""
    shape = shape_of(schema)
    if shape is None or not TEXT_FIELDS[shape]:
        raise WorkError("these rows have no text to look at", "give a store of documents, chats or pairs")
    return TEXT_FIELDS[shape]


def lanes(batch: pa.RecordBatch) -> list[Lane]:
    """Every text-bearing field of `batch` as lanes, in the order of the shape."""
    found = []
    for name in text_fields(batch.schema):
        column = batch.column(name)
        if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
            lane = Lane(name, _filled(column), np.arange(len(column)), np.full(len(column), -1))
            found.append(_seen(lane) if name == "tools" else lane)
        else:
            found += _of_list(name, column)
    return found


def _of_list(name: str, column: pa.Array) -> list[Lane]:
    rows, positions, flat = pc.list_parent_indices(column).to_numpy(), _positions(column), pc.list_flatten(column)
    found = [Lane(name, _filled(pc.struct_field(flat, part)), rows, positions, part) for part in PARTS[name]]
    if name == "meta":
        is_json = pc.fill_null(pc.equal(pc.struct_field(flat, "type"), JSON), False).to_numpy(zero_copy_only=False)
        values, keys = found
        return [_some(values, ~is_json), _seen(_some(values, is_json)), keys] if is_json.any() else found
    if name != "blocks":
        calls = pc.struct_field(flat, "tool_calls")
        turns = pc.list_parent_indices(calls).to_numpy()
        if len(turns):
            arguments = _filled(pc.struct_field(pc.list_flatten(calls), "arguments"))
            found.append(_seen(Lane(name, arguments, rows[turns], positions[turns], calls=_positions(calls))))
    return found


def _positions(column: pa.Array) -> np.ndarray:
    """int64: of every item of a list column, its position in its list."""
    rows = pc.list_parent_indices(column).to_numpy()
    if not len(rows):
        return np.zeros(0, np.int64)
    opening = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
    return np.arange(len(rows)) - np.repeat(opening, np.diff(np.concatenate((opening, [len(rows)]))))


def _some(lane: Lane, mine: np.ndarray) -> Lane:
    return lane._replace(texts=lane.texts.filter(pa.array(mine)), rows=lane.rows[mine], positions=lane.positions[mine])


def _seen(lane: Lane) -> Lane:
    """A lane of JSON texts as they are looked at. What is no UTF-8 is left to `readable_rows`."""
    if not valid_rows(lane.texts).all():
        return lane
    return lane._replace(
        texts=pa.array([text and JsonText(text).seen for text in lane.texts.to_pylist()], pa.large_string()), json=True
    )


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
