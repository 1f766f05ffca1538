"""The shapes of rows, their text-bearing fields, identities, and how edits move text and blocks together.

Offsets are code points of the Python string everywhere outside kernels, so that `text[start:end]` is always right.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.unicode import folded

STR = pa.large_string()
BLOCK = pa.struct(
    [
        pa.field("kind", STR),
        pa.field("text", STR),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
        pa.field("level", pa.int32()),
        pa.field("group", pa.int32()),
    ]
)
META = pa.list_(pa.struct([pa.field("key", STR), pa.field("value", STR), pa.field("type", STR)]))
"""`type` is null for plain text and `json` where the value is JSON text: numbers, lists and records as they came."""
TOOL_CALLS = pa.list_(pa.struct([pa.field("id", STR), pa.field("name", STR), pa.field("arguments", STR)]))
"""The tools an answer calls; `arguments` is JSON text."""
MESSAGES = pa.list_(
    pa.struct(
        [
            pa.field("role", STR),
            pa.field("content", STR),
            pa.field("reasoning", STR),
            pa.field("tool_calls", TOOL_CALLS),
            pa.field("name", STR),
            pa.field("tool_call_id", STR),
            pa.field("train", pa.bool_()),
        ]
    )
)
"""Turns: role (system, user, assistant, tool) and content, then what few turns have (null: nothing). `reasoning` is what was
thought before the answer, `name` and `tool_call_id` are those of the tool that answers, `train` says whether the turn is to be
learned (null: the row does not say)."""


def bare(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn of MESSAGES without the parts it does not have: role and content, and of the others those that are not null."""
    return {name: value for name, value in turn.items() if value is not None or name in ("role", "content")}


def words_of(turn: Mapping[str, Any]) -> list[str]:
    """The texts of a turn, in order: content, reasoning, names and arguments of the tools it calls, its own name. Ids are no words."""
    called = [call[part] for call in turn.get("tool_calls") or () for part in ("name", "arguments")]
    return [text for text in (turn["content"], turn.get("reasoning"), *called, turn.get("name")) if text]


def speaks(turn: Mapping[str, Any]) -> bool:
    """Does a turn say anything, or call a tool?"""
    return bool((turn["content"] or "").strip() or turn.get("tool_calls"))


BLOCK_KINDS = (
    "heading paragraph list code table quote question answer accepted_answer term definition summary details step post"
).split()

DOCUMENT = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("content_id", STR),
        ("text", STR),
        ("title", STR),
        ("url", STR),
        ("source", STR),
        ("lang", STR),
        ("date", STR),
        ("licence", STR),
        ("signals", pa.list_(STR)),
        ("blocks", pa.list_(BLOCK)),
        ("meta", META),
    ]
)
_PROVENANCE = [("lang", STR), ("source", STR), ("url", STR), ("licence", STR)]
_SPAN = [("doc_id", STR), ("span_start", pa.int64()), ("span_end", pa.int64()), ("rule", STR)]
CHAT = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("messages", MESSAGES),
        *_PROVENANCE,
        *_SPAN,
        ("confidence", pa.float64()),
        ("meta", META),
        ("tools", STR),
    ]
)
"""`tools`: the tools the answers may call, as JSON text (a list of schemas), or null."""
PAIR = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        *_PROVENANCE,
        ("chat_id", STR),
        *_SPAN,
        ("method", STR),
        ("score_chosen", pa.float64()),
        ("score_rejected", pa.float64()),
        ("in_sft", pa.bool_()),
        ("meta", META),
        ("tools", STR),
    ]
)
TOKENS = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("input_ids", pa.list_(pa.int32())),
        (
            "docs",
            pa.list_(pa.struct([("id", STR), ("start", pa.int32()), ("end", pa.int32()), ("offset", pa.int64())])),
        ),
    ]
)
SHAPES = {"DOCUMENT": DOCUMENT, "CHAT": CHAT, "PAIR": PAIR, "TOKENS": TOKENS}

TEXT_FIELDS = {
    "DOCUMENT": ("text", "title", "url", "source", "blocks", "meta"),
    "CHAT": ("messages", "url", "source", "meta", "tools"),
    "PAIR": ("prompt", "chosen", "rejected", "url", "source", "meta", "tools"),
    "TOKENS": (),
}
"""Every field of a shape that can hold text of the corpus; all of them are searched for personal data."""
MAIN_FIELD = {"DOCUMENT": "text", "CHAT": "messages", "PAIR": "prompt"}


_LATER = frozenset(("tools",))
"""Columns that the first stores of a shape did not have."""


def shape_of(schema: pa.Schema) -> str | None:
    """Name of the shape whose columns `schema` begins with (extra columns may follow), or None."""
    for name, shape in SHAPES.items():
        first = [column for column in shape.names if column not in _LATER]
        if schema.names[: len(shape.names)] == shape.names or schema.names[: len(first)] == first:
            return name
    return None


def current(schema: pa.Schema) -> pa.Schema:
    """`schema` as this version writes it: columns and parts of records that came later stand in their order."""
    shape = SHAPES.get(shape_of(schema) or "")
    if shape is None:
        return schema
    found = {field.name: field for field in schema}
    fields = [_grown(found[field.name], field) if field.name in found else field for field in shape]
    return pa.schema([*fields, *(field for field in schema if field.name not in shape.names)])


def _grown(found: pa.Field, wanted: pa.Field) -> pa.Field:
    """`wanted` where the records of `found` lack its last parts."""
    if not all(pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type) for field in (found, wanted)):
        return found
    has, parts = ([part.name for part in field.type.value_type.fields] for field in (found, wanted))
    return wanted if len(has) < len(parts) and has == parts[: len(has)] else found


def upgraded(rows: pa.Table | pa.RecordBatch, known: pa.Schema | None = None) -> pa.Table | pa.RecordBatch:
    """Rows of a store of any version in the columns of this one (`known`, where they are); what the older did not have is null. New
    ones are not copied."""
    wanted = current(rows.schema) if known is None else known
    if wanted == rows.schema:
        return rows
    columns = [
        rows.column(field.name).cast(field.type) if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
        for field in wanted
    ]
    return type(rows).from_arrays(columns, schema=wanted)


def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema for shards that differ in their extra columns: all of them, in the order met, numbers in the wider type.

    ValueError names the columns whose types have nothing in common.
    """
    schemas = list(dict.fromkeys(schema.remove_metadata() for schema in schemas))
    try:
        return schemas[0] if len(schemas) == 1 else pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        kinds: dict[str, set[pa.DataType]] = {}
        for field in (field for schema in schemas for field in schema):
            kinds.setdefault(field.name, set()).add(field.type)
        unlike = {name: sorted(map(str, own)) for name, own in kinds.items() if len(own) > 1}
        raise ValueError(
            "; ".join(f"{name!r} is {' here and '.join(own)} there" for name, own in unlike.items())
        ) from None


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` in the columns of `schema`: null where there is none of a name, another type cast. What fits is not copied."""
    if rows.schema.equals(schema):
        return rows
    return pa.table(
        [rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema],
        schema=schema,
    )


def _packed(data: bytes) -> bytes:
    """With its length before it, so that no two lists of parts are the same bytes."""
    return len(data).to_bytes(8, "little") + data


def _hash(*parts: str) -> str:
    data = b"".join(_packed(part.encode("utf-8", "surrogatepass")) for part in parts)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def is_id(word: Any) -> bool:
    """Is it the id of a row: 32 hex digits?"""
    return isinstance(word, str) and len(word) == 32 and set(word) <= set("0123456789abcdef")


def doc_id(source: str, locator: str, ordinal: int = 0) -> str:
    """Identity of an input record: its source and its locator there; `ordinal` tells repeats of one id apart."""
    if ordinal:
        return _hash("doc", source, locator, str(ordinal))
    own = _packed(locator.encode("utf-8", "surrogatepass"))
    return hashlib.blake2b(_source(source) + own, digest_size=16).hexdigest()


@lru_cache(maxsize=256)
def _source(source: str) -> bytes:
    """What the records of one source have in common."""
    return _packed(b"doc") + _packed(source.encode("utf-8", "surrogatepass"))


_CONTENT = _packed(b"content")


def content_id(text: str) -> str:
    """Identity of the words: NFC without characters that nobody sees, case-folded, runs of white space as one blank."""
    return hashlib.blake2b(_CONTENT + _packed(folded(text)), digest_size=16).hexdigest()


def child_id(parents: str | Sequence[str], stage: str, rule: str, ordinal: int) -> str:
    """Identity of an output made of `parents` (ids), so that the same work gives the same id anywhere."""
    parents = [parents] if isinstance(parents, str) else list(parents)
    return _hash("child", stage, rule, str(ordinal), *parents)


def child_ids(parents: pa.LargeStringArray, ends: np.ndarray, stage: str, rule: str, ordinals: list[int]) -> list[str]:
    """`child_id` of many outputs: output i is made of the parents from ends[i - 1] up to ends[i] (int64), with its own ordinal.

    >>> child_ids(pa.array(["a", "b", "c"], pa.large_string()), np.array([2, 3]), "a", "b", [0, 7]) == [
    ...     child_id(["a", "b"], "a", "b", 0), child_id("c", "a", "b", 7)]
    True
    """
    if not len(parents):
        return []
    offsets = np.frombuffer(parents.buffers()[1], np.int64)[parents.offset : parents.offset + len(parents) + 1]
    data = np.frombuffer(parents.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    sizes, starts = np.diff(offsets), offsets - offsets[0] + 8 * np.arange(len(offsets))
    prefix = np.frombuffer(sizes.astype("<i8").tobytes(), np.uint8).reshape(-1, 8)
    if (sizes == sizes[0]).all():  # ids of one length, as all that are made here
        whole = np.concatenate([prefix, data.reshape(len(sizes), -1)], axis=1).reshape(-1)
    else:
        whole, is_length = np.empty(int(starts[-1]), np.uint8), np.zeros(int(starts[-1]), bool)
        at = starts[:-1, None] + np.arange(8)
        whole[at], is_length[at] = prefix, True
        whole[~is_length] = data
    before = b"".join(_packed(part.encode()) for part in ("child", stage, rule))
    cuts, data, made = starts[np.concatenate([[0], ends])].tolist(), whole.data, []
    for a, b, ordinal in zip(cuts, cuts[1:], ordinals):
        hasher = hashlib.blake2b(before + _packed(str(ordinal).encode()), digest_size=16)
        hasher.update(data[a:b])
        made.append(hasher.hexdigest())
    return made


class Edit(NamedTuple):
    """Replace `text[start:end]` (code points) by `replacement`; `by` names the rule."""

    start: int
    end: int
    replacement: str
    by: str = ""


def apply_edits(text: str, edits: Sequence[Edit], blocks: list[dict] | None = None) -> tuple[str, list[dict] | None]:
    """The edited text, and its blocks moved along: the one way text is ever edited.

    `edits` must be sorted and free of overlaps; ValueError otherwise. A block that stands in the text
    (start/end not null) is cut from the new text, so that `text[start:end] == block["text"]` stays true whenever it was
    true; its offsets are mapped through the edits; one that is wholly deleted loses its position (null offsets) and its
    text. A block that does not stand in the text is left alone: its text must be edited by its own edits.
    """
    if not edits:
        return text, blocks
    pieces: list[str] = []
    at = 0
    for edit in edits:
        start, end = edit[0], edit[1]
        if start < at or end < start:
            raise ValueError(f"edits must be sorted, apart and inside the text (edit {start}:{end}, text {len(text)})")
        pieces.append(text[at:start])
        pieces.append(edit[2])
        at = end
    if at > len(text):
        raise ValueError(f"edits must be sorted, apart and inside the text (last ends at {at}, text {len(text)})")
    pieces.append(text[at:])
    edited = "".join(pieces)
    if not blocks:
        return edited, blocks

    starts, ends, shifts, shift = [], [], [], 0
    for start, end, replacement, *_ in edits:
        shift += len(replacement) - (end - start)
        starts.append(start)
        ends.append(end)
        shifts.append(shift)

    def moved(position: int, closing: bool) -> int:
        # An offset inside an edit moves to the replacement's edge: a closing one behind it, an opening one before it.
        done = bisect_right(ends, position)
        if closing:
            inside = done < len(starts) and starts[done] < position
            return ends[done] + shifts[done] if inside else position + (shifts[done - 1] if done else 0)
        inside = bisect_left(starts, position) - 1
        if inside >= done and starts[inside] < position < ends[inside]:
            return starts[inside] + (shifts[inside - 1] if inside else 0)
        return position + (shifts[done - 1] if done else 0)

    out = []
    for block in blocks:
        if block.get("start") is None or block.get("end") is None:
            out.append(block)
            continue
        start, end = moved(block["start"], False), moved(block["end"], True)
        if end <= start < len(edited) + 1 and block["end"] > block["start"]:
            out.append({**block, "text": "", "start": None, "end": None})
        elif text[block["start"] : block["end"]] == block["text"]:
            out.append({**block, "text": edited[start:end], "start": start, "end": end})
        else:
            out.append({**block, "start": start, "end": end})
    return edited, out
