"""What is judged of a row: its main text, or chosen fields joined; and the rows no filter can judge."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import OptionError, did_you_mean
from pipeline.schema import MAIN_FIELD, shape_of, words_of
from stages.text.encoding import valid_rows

TEXT = "text"
NULL, BLANK, SIZE, ENCODING = "text.null", "text.blank", "text.size", "text.encoding"


def text_view(
    batch: pa.RecordBatch, fields: tuple[str, ...], max_bytes: int
) -> tuple[pa.RecordBatch, list[str | None]]:
    """The batch with the judged text as column `text`, and per row why it cannot be judged (None: it can).

    Rows that cannot be judged hold the empty text in the view. OptionError names a field that is not there.
    """
    text = _joined([_strings(batch, name) for name in fields or (_main(batch),)])
    unfit: list[str | None] = [None] * len(batch)
    bad = np.zeros(len(batch), bool)
    sizes = pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    for why, rows in (
        (NULL, ~pc.is_valid(text).to_numpy(zero_copy_only=False)),
        (SIZE, sizes > max_bytes),
        (ENCODING, ~valid_rows(text)),
    ):
        for row in np.flatnonzero(rows & ~bad).tolist():
            unfit[row] = why
        bad |= rows
    if bad.any():
        text = pc.if_else(pa.array(bad), pa.scalar("", pa.large_string()), text)
    at = batch.schema.get_field_index(TEXT)
    view = batch.append_column(TEXT, text) if at < 0 else batch.set_column(at, TEXT, text)
    return view, unfit


def _main(batch: pa.RecordBatch) -> str:
    return MAIN_FIELD.get(shape_of(batch.schema) or "", TEXT)


def _joined(columns: list[pa.Array]) -> pa.Array:
    if len(columns) == 1:
        return columns[0]
    return pc.binary_join_element_wise(*columns, pa.scalar("\n", pa.large_string()), null_handling="skip")


def _strings(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column as texts: strings as they are, messages as the words of their turns one below the other."""
    if name not in batch.schema.names:
        raise OptionError(f"there is no field {name!r}", did_you_mean(name, batch.schema.names))
    column = batch.column(name)
    if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
        rows = column.to_pylist()
        return pa.array(
            [None if row is None else "\n".join("\n".join(words_of(turn)) for turn in row) for row in rows],
            pa.large_string(),
        )
    return column.cast(pa.large_string())
