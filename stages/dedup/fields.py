"""Which words of a row are compared: one text per row out of the fields asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import OptionError, did_you_mean
from pipeline.schema import content_id, words_of

DEFAULT = {"DOCUMENT": ("text",), "CHAT": ("messages",), "PAIR": ("prompt", "chosen", "rejected")}
"""Everything a reader would see: two chats are alike when questions and answers are."""
WORDS = {
    "DOCUMENT": {"text": None, "title": None, "url": None},
    "CHAT": {"messages": None, "prompt": ("system", "user", "tool"), "answer": ("assistant",)},
    "PAIR": {"prompt": None, "chosen": None, "rejected": None},
}
"""Field words per shape; for CHAT, the roles that `prompt` and `answer` mean (null: every role)."""
BETWEEN = "\n"


def chosen(fields: Sequence[str], shape: str) -> tuple[str, ...]:
    """The fields to compare, checked against the shape; OptionError with the nearest word."""
    known = WORDS[shape]
    for word in fields:
        if word not in known:
            raise OptionError(f"dedup: {shape} rows have no field {word!r}", did_you_mean(word, list(known)))
    return tuple(fields) or DEFAULT[shape]


def columns(fields: Sequence[str], shape: str) -> list[str]:
    """Columns of the shape that `fields` are read from."""
    read = ["messages" if shape == "CHAT" else word for word in fields]
    return list(dict.fromkeys([*read, *(["tools"] if _shows_tools(fields, shape) else [])]))


def _shows_tools(fields: Sequence[str], shape: str) -> bool:
    """Are the tools beside a conversation part of what is compared? They stand before its first turn."""
    return shape in ("CHAT", "PAIR") and not {"messages", "prompt"}.isdisjoint(fields)


def text_of(rows: pa.RecordBatch | pa.Table, fields: Sequence[str], shape: str) -> pa.LargeStringArray:
    """One text per row: the fields' texts, one below the other; null where every field is null."""
    if isinstance(rows, pa.Table):
        batches = rows.to_batches()
        if len(batches) != 1:
            pieces = [text_of(batch, fields, shape) for batch in batches]
            return pa.concat_arrays(pieces) if pieces else pa.array([], pa.large_string())
        rows = batches[0]
    texts = [_text(rows, word, shape) for word in fields]
    if _shows_tools(fields, shape) and "tools" in rows.schema.names and rows.column("tools").null_count < len(rows):
        texts.append(_tools(rows.column("tools")))
    whole = texts[0]
    for text in texts[1:]:
        # Arrow's own null_handling="skip" leaves out rows in which everything is null.
        both = pc.binary_join_element_wise(whole, text, pa.scalar(BETWEEN, pa.large_string()))
        whole = pc.coalesce(both, whole, text)
    return whole


def _text(rows: pa.RecordBatch, word: str, shape: str) -> pa.LargeStringArray:
    if shape == "DOCUMENT":
        return rows.column(word).cast(pa.large_string())
    column = rows.column("messages" if shape == "CHAT" else word)
    return _turns(column, WORDS[shape][word])


def _turns(messages: pa.ListArray, roles: tuple[str, ...] | None) -> pa.LargeStringArray:
    """The contents of each row's messages in these roles, one below the other."""
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False)
    flat = messages.flatten()
    contents = _contents(flat) if len(flat) else pa.array([], pa.large_string())
    ends = np.cumsum(lengths, dtype=np.int64)
    if roles is not None and len(flat):
        taken = pc.is_in(flat.field("role"), value_set=pa.array(roles, pa.large_string())).to_numpy(
            zero_copy_only=False
        )
        contents = contents.filter(pa.array(taken))
        ends = np.r_[0, np.cumsum(taken)][ends]
    offsets = pa.array(np.r_[0, ends], pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, pc.fill_null(contents, ""))
    texts = pc.binary_join(lists, pa.scalar(BETWEEN, pa.large_string()))
    return (
        pc.if_else(pc.is_valid(messages), texts, pa.scalar(None, pa.large_string())) if messages.null_count else texts
    )


def _tools(column: pa.Array) -> pa.LargeStringArray:
    """One word for each row's tools: schemas are long, and two questions beside the same ones are not alike by that."""
    return pa.array(
        [None if tools is None else content_id(tools)[:16] for tools in column.to_pylist()], pa.large_string()
    )


def _contents(turns: pa.StructArray) -> pa.Array:
    """What each turn says: its content, and below it the reasoning, calls and name that few turns have. Ids of calls are no words."""
    contents = turns.field("content")
    more = np.zeros(len(turns), bool)
    for name in ("reasoning", "tool_calls", "name"):
        if turns.type.get_field_index(name) >= 0:
            more |= pc.is_valid(turns.field(name)).to_numpy(zero_copy_only=False)
    if not more.any():
        return contents
    words = pa.array([BETWEEN.join(words_of(turn)) for turn in turns.filter(pa.array(more)).to_pylist()], contents.type)
    return pc.replace_with_mask(contents, pa.array(more), words)


def are_vectors(kind: pa.DataType) -> bool:
    """Is this the type of a column of vectors: lists of numbers?"""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_such(kind) for is_such in lists) and (
        pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)
    )
