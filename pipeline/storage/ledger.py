"""No document vanishes: the ledger is a relation from the ids that went in to the ids that came out, with the reasons.

Every input id stands in at least one row; the non-null `out` ids are exactly the ids of the output; an output made of
several inputs has one row per input, an input that gives several outputs one row per output. Metrics follow the fixed
columns as float64 columns named `<filter>.<measure>`. Dropped text is never copied here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DamagedStore, WorkError, repair_hint
from pipeline.schema import STR, Edit

EDITS = pa.list_(
    pa.struct(
        [
            pa.field("start", pa.int64()),
            pa.field("end", pa.int64()),
            pa.field("replacement", STR),
            pa.field("by", STR),
        ]
    )
)
COLUMNS = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("out", STR),
        ("reason", STR),
        ("reasons", pa.list_(STR)),
        ("duplicate_of", STR),
        ("span_start", pa.int64()),
        ("span_end", pa.int64()),
        ("edits", EDITS),
        ("note", STR),
    ]
)
EARLIER = {"keeper": "duplicate_of"}
"""Columns of ledgers under the names they had before; read under today's."""
HELD_OUT = {"held_out", "other_side"}
"""Words of reasons of rows that are kept for another use."""
PROCESS_ENDED = "process_ended"
"""Word of the reason of a row at which worker processes ended again and again: out of memory, or a fault in a native library."""
REASON = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")


class Ledger:
    """Builds ledger tables; `COLUMNS` first, metric columns after."""

    @staticmethod
    def rows(
        ids: Sequence[str] | pa.Array,
        *,
        out: Sequence[str | None] | pa.Array | None = None,
        reason: Sequence[str | None] | pa.Array | None = None,
        reasons: Sequence[list[str] | None] | None = None,
        duplicate_of: Sequence[str | None] | None = None,
        span: Sequence[tuple[int, int] | None] | tuple[pa.Array, pa.Array] | None = None,
        edits: Sequence[list[Edit] | None] | None = None,
        note: Sequence[str | None] | None = None,
        metrics: Mapping[str, np.ndarray | Sequence[float]] | None = None,
    ) -> pa.Table:
        """One ledger table of `len(ids)` rows.

        `span`: a pair of code points per row, or all starts and all ends (int64).
        `out=None` means: the id itself where `reason` is null, null elsewhere. `reasons=None` follows from `reason`.
        `metrics` maps `<filter>.<measure>` to a float per row; what is no finite number (nothing to measure) is null. WorkError on unequal lengths or a malformed reason.
        """
        n = len(ids)
        id_array: Any = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(ids, STR)
        why: Any = pa.nulls(n, STR) if reason is None else reason
        reason_array = why if isinstance(why, pa.Array) else pa.array(list(why), STR)
        for word in reason_array.drop_null().unique().to_pylist():
            if not REASON.fullmatch(word):
                raise WorkError(
                    f"reason {word!r} is not of the form stage.word", "use a closed vocabulary such as word_count.low"
                )
        if out is None:
            own = id_array.cast(STR)
            if reason_array.null_count < n == len(reason_array):
                dropped_rows = reason_array.is_valid().to_numpy(zero_copy_only=False)
                own = own.take(pa.array(np.arange(n), mask=dropped_rows))  # no bytes of theirs behind the nulls
            out = own
        starts, ends = span if isinstance(span, tuple) else _spans(span, n)
        columns: dict[str, Any] = {
            "id": id_array,
            "out": out if isinstance(out, (pa.Array, pa.ChunkedArray)) else pa.array(out, STR),
            "reason": reason_array,
            "reasons": pa.array(reasons, pa.list_(STR)) if reasons is not None else _alone(reason_array),
            "duplicate_of": pa.array(duplicate_of, STR) if duplicate_of is not None else pa.nulls(n, STR),
            "span_start": starts,
            "span_end": ends,
            "edits": _edits(edits, n),
            "note": pa.array(note, STR) if note is not None else pa.nulls(n, STR),
        }
        metrics = metrics or {}
        for name in sorted(metrics):
            values = np.asarray(metrics[name], dtype=np.float64)
            columns[name] = pa.array(values, mask=~np.isfinite(values))
        if any(len(column) != n for column in columns.values()):
            raise WorkError("ledger columns are of unequal length: " + str({k: len(v) for k, v in columns.items()}))
        schema = pa.schema([*COLUMNS, *((name, pa.float64()) for name in sorted(metrics))])
        return pa.table(columns, schema=schema)

    @staticmethod
    def current(table: pa.Table) -> pa.Table:
        """A ledger of any version with today's column names."""
        return table.rename_columns([EARLIER.get(name, name) for name in table.column_names])

    @staticmethod
    def concat(tables: Iterable[pa.Table]) -> pa.Table:
        """Tables with differing metrics as one; a metric that a table lacks is null there."""
        tables = [table.select(table.column_names) for table in tables]
        if not tables:
            return COLUMNS.empty_table()
        more = {f.name: f.type for table in tables for f in list(table.schema)[len(COLUMNS) :]}
        schema = pa.schema([*COLUMNS, *sorted(more.items())])
        return pa.concat_tables([fit(table, schema) for table in tables])


def fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema`, null where it lacks one."""
    columns = [table.column(f.name) if f.name in table.column_names else pa.nulls(len(table), f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _spans(span: Sequence[tuple[int, int] | None] | None, n: int) -> tuple[pa.Array, pa.Array]:
    """All starts and all ends."""
    if not span:
        return pa.nulls(n, pa.int64()), pa.nulls(n, pa.int64())
    return tuple(pa.array([one[side] if one else None for one in span], pa.int64()) for side in (0, 1))  # type: ignore[return-value]


def _alone(reason: pa.Array) -> pa.Array:
    """Lists of the one reason, empty where there is none."""
    ends = np.cumsum(reason.is_valid().to_numpy(zero_copy_only=False), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(np.concatenate(([np.int32(0)], ends))), reason.drop_null())


def _edits(edits: Sequence[list[Edit] | None] | None, n: int) -> pa.Array:
    if edits is None:
        return pa.nulls(n, EDITS)
    flat = [edit for row in edits if row for edit in row]
    sizes = np.fromiter((len(row) if row else 0 for row in edits), np.int32, n)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    columns = [
        pa.array([edit[0] for edit in flat], pa.int64()),
        pa.array([edit[1] for edit in flat], pa.int64()),
        pa.array([edit[2] for edit in flat], STR),
        pa.array([edit[3] if len(edit) > 3 else "" for edit in flat], STR),
    ]
    values = pa.StructArray.from_arrays(columns, fields=list(EDITS.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=EDITS, mask=pa.array(sizes == 0))


def check(
    input_ids: pa.ChunkedArray | pa.Array | None, output_ids: pa.ChunkedArray | pa.Array, ledger: pa.Table, where: str
) -> int:
    """Hold the ledger to its law; DamagedStore names the first id that breaks it. `input_ids=None`: inputs not known.

    Returns how many inputs stand in the ledger.
    """
    named, numbers = _numbered(ledger["id"], input_ids)
    if len(missing := np.flatnonzero(numbers >= named)):
        raise DamagedStore(
            f"{where}: input {input_ids[int(missing[0])]} stands in no ledger row",  # type: ignore[index]
            "the stage lost a document: report it",
        )
    outs = _flat(ledger["out"].drop_null())
    if len(outs) > 2 * len(output_ids):  # outputs of many inputs each, named one after the other
        outs = pc.run_end_encode(outs, run_end_type=pa.int64()).values
    absent = pc.filter(outs, pc.invert(pc.is_in(outs, value_set=_flat(output_ids))))
    if len(absent):
        raise DamagedStore(
            f"{where}: ledger names output {absent[0]} that was not written", "the stage's ledger is wrong: report it"
        )
    unnamed = pc.filter(output_ids, pc.invert(pc.is_in(output_ids, value_set=outs)))
    if len(unnamed):
        raise DamagedStore(
            f"{where}: output {unnamed[0]} stands in no ledger row", "the stage's ledger is wrong: report it"
        )
    if len(pc.unique(output_ids)) != len(output_ids):
        raise DamagedStore(f"{where}: an output id occurs twice", "derive output ids with child_id and an ordinal")
    return named


def _numbered(ids: pa.ChunkedArray, others: pa.ChunkedArray | pa.Array | None) -> tuple[int, np.ndarray]:
    """How many different `ids` there are, and the number (int32) of each of `others`: below that count where it is one of them.

    Each is hashed once, for both.
    """
    chunks = [chunk for array in (ids, others) if array is not None for chunk in pa.chunked_array(array).chunks]
    codes = pa.chunked_array([chunk.cast(STR) for chunk in chunks], STR).dictionary_encode("encode")
    numbers = np.concatenate([np.zeros(0, np.int32), *(chunk.indices.to_numpy() for chunk in codes.chunks)])
    return int(numbers[: len(ids)].max(initial=-1)) + 1, numbers[len(ids) :]


def dropped(reasons: Mapping[str, int]) -> int:
    """Rows that were dropped, of counts by reason: those held out for measuring (`train.held_out`) are used, not dropped."""
    return sum(reasons.values()) - held_out(reasons)


def held_out(reasons: Mapping[str, int]) -> int:
    """Rows held out for measuring, of counts by reason."""
    return sum(count for reason, count in reasons.items() if reason.partition(".")[2] in HELD_OUT)


def left_out(reasons: Mapping[str, int]) -> str:
    """Why rows were dropped, the commonest reason first; "" where none was.

    >>> left_out({"chat.tools": 1, "chat.over_context": 1200, "train.held_out": 7})
    '1,200 chat.over_context, 1 chat.tools'
    """
    counts = [(count, reason) for reason, count in reasons.items() if not held_out({reason: count})]
    return ", ".join(f"{count:,} {reason}" for count, reason in sorted(counts, key=lambda one: (-one[0], one[1])))


def _flat(array: pa.ChunkedArray | pa.Array) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


@dataclass(frozen=True)
class Receipt:
    """The proof that a shard (or artefact) is whole: written last. `key` decides whether it still counts."""

    stage: str
    shard: int
    key: str
    content_hash: str
    ledger_hash: str
    rows: int = 0
    bytes: int = 0
    rows_in: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows by language, licence and source, of the output."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else the stage wants the report to know; plain JSON, no text of the corpus."""
    written: bool = True
    """False for a fused step: proven in passing, its bytes not on disk."""
    files: dict[str, str] = field(default_factory=dict)
    """Content hash per file, for an artefact."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of every file this proves, by its name in the store (`shards/00000.arrow`). Empty in older receipts."""
    index_hash: str = ""
    """Hash of the shard's index, where it has one; empty in older receipts."""
    columns_hash: str = ""
    """Hash of the shard's columns as they were written: shards with equal ones have the same. Empty in older receipts."""
    seconds: float = 0.0
    """Wall-clock seconds of the work."""
    cpu_seconds: float = 0.0
    """CPU seconds of the processes that did it."""
    finished: str = ""
    worker: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    taken: dict[str, Any] = field(default_factory=dict)
    """After a takedown (`pipeline.deletion.takedown`): which ones, and the hashes of what lies on disk now. `content_hash` and
    `ledger_hash` stay those of the shard as it was made, by which everything made of it knows it."""

    @property
    def bytes_hash(self) -> str:
        """Hash of the bytes on disk."""
        return self.taken.get("content_hash", self.content_hash)

    @property
    def ledger_bytes_hash(self) -> str:
        """Hash of the ledger's bytes on disk."""
        return self.taken.get("ledger_hash", self.ledger_hash)

    def dumps(self) -> bytes:
        """JSON, with a hash over the rest: a receipt proves itself too."""
        return (json.dumps(with_hash(asdict(self)), ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def loads(cls, data: bytes, where: str = "receipt") -> Receipt:
        """DamagedStore when the bytes are no receipt, or not those that were written."""
        try:
            return cls.of(checked_page(json.loads(data)))
        except (ValueError, TypeError, RecursionError) as fault:
            raise DamagedStore(
                f"{where} is damaged: {fault}", repair_hint(where.rpartition("/receipts/")[0] or where)
            ) from None

    @classmethod
    def of(cls, page: Any) -> Receipt:
        """The receipt whose fields these are; what a later version added is left out. ValueError or TypeError where it is none."""
        if not isinstance(page, dict):
            raise TypeError(f"it is {type(page).__name__}, not a mapping")
        examples = _examples()
        for name, value in page.items():
            if name in examples and not _fits(value, name, examples[name]):
                raise TypeError(f"{name} is {type(value).__name__}")
        receipt = cls(**{name: value for name, value in page.items() if name in examples})
        for name in (*receipt.files, *receipt.sizes):
            if not inside(name):
                raise ValueError(f"it names a file outside the store: {name!r}")
        return receipt


def with_hash(page: dict[str, Any]) -> dict[str, Any]:
    """`page` with `hash`, a hash over all the rest of it."""
    rest = {name: value for name, value in page.items() if name != "hash"}
    return {**rest, "hash": _hash(rest)}


def checked_page(page: Any, sizes: Callable[[dict[str, Any]], bool] = lambda page: "sizes" in page) -> dict[str, Any]:
    """`page` without its `hash`; ValueError where it is no mapping or the hash is not that of the rest.

    Older pages have neither a hash nor sizes (says `sizes`) and are taken as they are.
    """
    if not isinstance(page, dict):
        raise ValueError(f"it is {type(page).__name__}, not a mapping")
    rest = {name: value for name, value in page.items() if name != "hash"}
    if ("hash" in page or sizes(page)) and page.get("hash") != _hash(rest):
        raise ValueError("it is not what was written (its hash differs)")
    return rest


def _hash(page: dict[str, Any]) -> str:
    """Of the page as it reads back: keys that are numbers have become words."""
    text = json.dumps(json.loads(json.dumps(page)), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def inside(name: Any) -> bool:
    """Is this the plain name of a file below a folder: relative, without `..` and without empty parts?"""
    return (
        isinstance(name, str)
        and "\\" not in name
        and "\0" not in name
        and all(part not in ("", ".", "..") for part in name.split("/"))
    )


@cache
def _examples() -> dict[str, Any]:
    """A value of each field of a receipt."""
    return vars(Receipt("", 0, "", "", ""))


def _fits(value: Any, name: str, example: Any) -> bool:
    """Is `value` of the type of the field `name` of a receipt, as `example` is?"""
    if isinstance(example, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, dict) and name in ("files", "sizes", "reasons", "counts", "versions"):
        of = {"files": str, "versions": str, "counts": dict}.get(name, int)
        return all(isinstance(item, of) for item in value.values())
    return type(value) is type(example)
