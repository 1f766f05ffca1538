"""Packed token ids in the layouts of trainers: Megatron, MosaicML's MDS, litdata, and datatrove's `.ds` that nanotron reads.

Layouts as their makers write them: Megatron-LM `core/datasets/indexed_dataset.py`, streaming `base/format/mds/writer.py`
(encodings `str` and `ndarray`), litdata `streaming/writer.py` with its TokensLoader, datatrove `pipeline/tokens/tokenizer.py`.
All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.storage.packed_rows import GREATEST_ID
from pipeline.storage.store import Store
from stages.export import files
from stages.export.files import FileTask

SMALL = 65_500
"""Ids below this are written in 16 bits, as Megatron decides it (`optimal_dtype`)."""
MOST = (1 << 32) - 1
"""Bytes a file of MDS or litdata can have: its offsets are of 32 bits."""


class Sequences(NamedTuple):
    """Some sequences of a file."""

    ids: list[str]
    tokens: np.ndarray
    """int32, end to end."""
    sizes: np.ndarray
    """int64 per sequence."""


class TokenPlan(NamedTuple):
    """What holds for all files."""

    dtype: str
    """`uint16` or `int32`."""
    tokenizer: str
    """Name of the tokenizer's store, for formats that note it."""

    @property
    def width(self) -> int:
        return np.dtype(self.dtype).itemsize


class TokenForm(NamedTuple):
    """A layout."""

    write: Callable[[FileTask, Iterator[Sequences], dict[str, Any]], dict[str, Any]]
    """Writes a file's sequences, its proofs into the mapping; returns what the index of all needs to know of it."""
    name: Callable[[str, int, int], str]
    """(store, number, number of files) -> name without endings."""
    size: int
    """Bytes of the store that go into a file where none are asked for: what the format's own writer does, or its makers advise."""
    load: Callable[[str, list[str], TokenPlan], str]
    index: Callable[[list[dict[str, Any]], TokenPlan], dict[str, bytes]] | None = None
    """Facts of all files -> the files that list them."""


def planned(source: Store, order: Any) -> TokenPlan:
    """The width of ids: that of the greatest there is, or the one asked for. UsageError where it does not fit."""
    lineage = source.require().get("lineage", {})
    name = next((entry["store"] for entry in lineage.get("tokenizer", []) if "store" in entry), "unknown tokenizer")
    if order.dtype == "int32":
        return TokenPlan("int32", name)
    greatest = max((_greatest(source, shard) for shard in source.shards()), default=0)
    if order.dtype == "uint16" and greatest > 0xFFFF:
        raise UsageError(f"id {greatest:,} does not fit into 16 bits", "leave --dtype out, or give int32")
    return TokenPlan("uint16" if order.dtype == "uint16" or greatest < SMALL else "int32", name)


def _greatest(source: Store, shard: int) -> int:
    """The greatest id of a shard: as its receipt has it, else (rows that an earlier `pack` made) read. UsageError for ids below 0."""
    noted = source.require_receipt(shard).notes.get(GREATEST_ID)
    if isinstance(noted, int):
        return noted
    greatest = 0
    for batch in source.batches(shard):
        found = pc.min_max(batch.column("input_ids").flatten()).as_py()
        if (found["min"] or 0) < 0:
            raise UsageError(f"{source.path} has ids below 0", "pack it again")
        greatest = max(greatest, found["max"] or 0)
    return greatest


def write_tokens(task: FileTask) -> dict[str, Any]:
    """One file of sequences; none where no sequence is in it."""
    counts: dict[str, Any] = {"rows": 0, "left_out": {}}
    proofs: dict[str, Any] = {}
    sequences = _counted(_sequences(task, counts), counts)
    first = next(sequences, None)
    facts = FORMS[task.order.to].write(task, _from(first, sequences), proofs) if first is not None else {}
    return {"files": proofs, "facts": facts, **counts}


def _from(first: Sequences, rest: Iterator[Sequences]) -> Iterator[Sequences]:
    yield first
    yield from rest


def _counted(sequences: Iterator[Sequences], counts: dict[str, Any]) -> Iterator[Sequences]:
    """Those that are not empty: no layout has room for an empty one."""
    for some in sequences:
        empty = int((some.sizes == 0).sum())
        if empty:
            counts["left_out"]["export.empty"] = counts["left_out"].get("export.empty", 0) + empty
            some = Sequences(
                [i for i, size in zip(some.ids, some.sizes.tolist()) if size], some.tokens, some.sizes[some.sizes > 0]
            )
        counts["rows"] += len(some.ids)
        if some.ids:
            yield some


def _sequences(task: FileTask, counts: dict[str, Any]) -> Iterator[Sequences]:
    """The rows of a file, or the documents in them."""
    part = task.order.part
    for shard in task.parts:
        waiting = []
        for batch in files.batches(task.store(), [shard]):
            if part != "all":
                held = files.held_rows(batch, "TOKENS", 0)
                wanted = held if part == "heldout" else ~held
                why = "export.held_out" if part == "train" else "export.not_held_out"
                if not wanted.all():
                    counts["left_out"][why] = counts["left_out"].get(why, 0) + int((~wanted).sum())
                batch = batch.filter(pa.array(wanted))
            if task.order.unit == "rows":
                column = batch.column("input_ids")
                sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
                yield Sequences(batch.column("id").to_pylist(), column.flatten().to_numpy(zero_copy_only=False), sizes)
            else:
                waiting.append(batch)
        if waiting:
            yield documents(pa.Table.from_batches(waiting))


def documents(rows: pa.Table) -> Sequences:
    """The documents of whole rows, their pieces put together again, in the order in which they are met first."""
    ids_column, docs = rows["input_ids"].combine_chunks(), rows["docs"].combine_chunks()
    flat = docs.flatten()
    names, start, end, offset = (
        flat.field(name).to_numpy(zero_copy_only=False) for name in ("id", "start", "end", "offset")
    )
    tokens = ids_column.flatten().to_numpy(zero_copy_only=False)
    sizes = pc.fill_null(pc.list_value_length(ids_column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    at = (np.cumsum(sizes) - sizes)[pc.list_parent_indices(docs).to_numpy(zero_copy_only=False)] + start
    number: dict[str, int] = {}
    whose = np.array([number.setdefault(name, len(number)) for name in names.tolist()], np.int64)
    order = np.lexsort((offset, whose))
    lengths = (end - start).astype(np.int64)[order]
    ends = np.cumsum(lengths)
    index = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(at[order] - (ends - lengths), lengths)
    return Sequences(list(number), tokens[index], np.bincount(whose[order], lengths, len(number)).astype(np.int64))


# -- Megatron ----------------------------------------------------------------------------------------------------------------


def megatron(task: FileTask, sequences: Iterator[Sequences], proofs: dict[str, Any]) -> dict[str, Any]:
    """NAME.bin: the ids end to end. NAME.idx: lengths (int32), byte offsets (int64), and where each document begins (int64)."""
    sizes = []
    with files.create(task.order.out, f"{task.name}.bin", proofs) as data:
        for some in sequences:
            data.write(some.tokens.astype(task.plan.dtype))
            sizes.append(some.sizes)
    lengths = np.concatenate(sizes)
    with files.create(task.order.out, f"{task.name}.idx", proofs) as index:
        index.write(b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, {"uint16": 8, "int32": 4}[task.plan.dtype]))
        index.write(struct.pack("<QQ", len(lengths), len(lengths) + 1))
        index.write(lengths.astype("<i4"))
        index.write(((np.cumsum(lengths) - lengths) * task.plan.width).astype("<i8"))
        index.write(np.arange(len(lengths) + 1, dtype="<i8"))
    return {"tokens": int(lengths.sum()), "prefix": task.name}


def megatron_index(facts: list[dict[str, Any]], plan: TokenPlan) -> dict[str, bytes]:
    """`--data-args-path`: weight (tokens) and prefix of every file."""
    return {"data-args.txt": " ".join(f"{one['tokens']} {one['prefix']}" for one in facts).encode() + b"\n"}


# -- datatrove and nanotron ----------------------------------------------------------------------------------------------------


def datatrove(task: FileTask, sequences: Iterator[Sequences], proofs: dict[str, Any]) -> dict[str, Any]:
    """NAME.ds: the ids end to end, 2 or 4 bytes each. NAME.ds.index: where each document ends, in tokens (uint64).
    NAME.ds.metadata: tokenizer|bytes of an id, tokens, and tokens for people."""
    ends, total = [], 0
    with files.create(task.order.out, f"{task.name}.ds", proofs) as data:
        for some in sequences:
            data.write(some.tokens.astype("<u2" if task.plan.width == 2 else "<u4"))
            ends.append(total + np.cumsum(some.sizes))
            total += int(some.sizes.sum())
    with files.create(task.order.out, f"{task.name}.ds.index", proofs) as index:
        index.write(np.concatenate(ends).astype("<u8"))
    with files.create(task.order.out, f"{task.name}.ds.metadata", proofs) as note:
        note.write(f"{task.plan.tokenizer}|{task.plan.width}\n{total}\n{_short(total)}T".encode())
    return {"tokens": total}


def _short(count: int) -> str:
    """Three digits and a prefix, as `humanize.metric` has it.

    >>> _short(999), _short(12_345), _short(7_000_000)
    ('999 ', '12.3 k', '7.00 M')
    """
    size, mark = next(((10**n, m) for n, m in ((12, "T"), (9, "G"), (6, "M"), (3, "k")) if count >= 10**n), (1, ""))
    digits = 2 - (len(str(count // size)) - 1)
    return f"{count / size:.{digits}f} {mark}"


# -- MDS -----------------------------------------------------------------------------------------------------------------------


def mds_columns(plan: TokenPlan) -> dict[str, Any]:
    return {
        "column_encodings": ["str", f"ndarray:{plan.dtype}"],
        "column_names": ["id", "tokens"],
        "column_sizes": [None, None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": None,
        "version": 2,
    }


def mds(task: FileTask, sequences: Iterator[Sequences], proofs: dict[str, Any]) -> dict[str, Any]:
    """Samples `{id: str, tokens: ndarray}`: number of samples, offsets (uint32), the columns as JSON, the samples, each with the
    length of both values before them."""
    samples: list[bytes] = []
    for some in sequences:
        tokens, ends = some.tokens.astype(task.plan.dtype), np.cumsum(some.sizes)
        for row_id, size, end in zip(some.ids, some.sizes.tolist(), ends.tolist()):
            name, values = row_id.encode(), _shape(size) + tokens[end - size : end].tobytes()
            samples.append(struct.pack("<II", len(name), len(values)) + name + values)
    head = json.dumps(mds_columns(task.plan), sort_keys=True).encode()
    name = f"{task.name}.mds"
    with files.create(task.order.out, name, proofs) as data:
        data.write(struct.pack("<I", len(samples)))
        data.write(_offsets(samples, 4 + 4 * (len(samples) + 1) + len(head)))
        data.write(head)
        for sample in samples:
            data.write(sample)
    raw = {"basename": name, "bytes": proofs[name]["bytes"], "hashes": {}}
    return {"samples": len(samples), "raw_data": raw, "zip_data": None}


def _shape(size: int) -> bytes:
    """One axis (1 << 2), the width of its length, the length."""
    return (
        struct.pack("<BB", 4, size)
        if size < 1 << 8
        else struct.pack("<BH", 5, size)
        if size < 1 << 16
        else struct.pack("<BI", 6, size)
    )


def _offsets(samples: list[bytes], first: int) -> np.ndarray:
    ends = np.cumsum([first, *map(len, samples)], dtype=np.int64)
    if int(ends[-1]) > MOST:
        raise UsageError("a file of this format cannot be longer than 4 GiB", "give a smaller --size")
    return ends.astype("<u4")


def mds_index(facts: list[dict[str, Any]], plan: TokenPlan) -> dict[str, bytes]:
    shards = [{**one, **mds_columns(plan)} for one in facts]
    return {"index.json": json.dumps({"shards": shards, "version": 2}, sort_keys=True).encode()}


# -- litdata -------------------------------------------------------------------------------------------------------------------


def litdata(task: FileTask, sequences: Iterator[Sequences], proofs: dict[str, Any]) -> dict[str, Any]:
    """A chunk for TokensLoader: number of items, offsets (uint32), then the ids of all end to end."""
    parts, sizes = [], []
    for some in sequences:
        parts.append(some.tokens.astype(task.plan.dtype))
        sizes.append(some.sizes)
    lengths = np.concatenate(sizes) * task.plan.width
    name = f"{task.name}.bin"
    ends = np.cumsum(np.concatenate([[8 + 4 * len(lengths)], lengths]))
    if int(ends[-1]) > MOST:
        raise UsageError("a file of this format cannot be longer than 4 GiB", "give a smaller --size")
    with files.create(task.order.out, name, proofs) as data:
        data.write(struct.pack("<I", len(lengths)))
        data.write(ends.astype("<u4"))
        for part in parts:
            data.write(part)
    return {
        "chunk_bytes": proofs[name]["bytes"],
        "chunk_size": len(lengths),
        "dim": int(lengths.sum()) // task.plan.width,
        "filename": name,
    }


def litdata_index(facts: list[dict[str, Any]], plan: TokenPlan) -> dict[str, bytes]:
    config = {
        "chunk_bytes": max(one["chunk_bytes"] for one in facts),
        "chunk_size": None,
        "compression": None,
        "data_format": [f"no_header_tensor:{({'uint16': 20, 'int32': 16})[plan.dtype]}"],
        "data_spec": '[1, {"type": null, "context": null, "children_spec": []}]',
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    return {"index.json": json.dumps({"chunks": facts, "config": config}, sort_keys=True).encode()}


def _numbered(store: str, number: int, total: int) -> str:
    return f"{store}-{number:05d}-of-{total:05d}"


FORMS: dict[str, TokenForm] = {
    "megatron": TokenForm(
        megatron,
        _numbered,
        4 << 30,
        lambda out, names, plan: (
            f"--data-path {out}/{names[0].removesuffix('.bin')}"
            if len(names) == 2
            else f"--data-args-path {out}/data-args.txt  # run in {out}, or put the folder before each prefix"
        ),
        megatron_index,
    ),
    "mds": TokenForm(
        mds,
        lambda store, number, total: f"shard.{number:05d}",
        64 << 20,
        lambda out, names, plan: f'streaming.StreamingDataset(local="{out}", shuffle=False, batch_size=1)',
        mds_index,
    ),
    "litdata": TokenForm(
        litdata,
        lambda store, number, total: f"chunk-0-{number}",
        64 << 20,
        lambda out, names, plan: (
            f'litdata.StreamingDataset("{out}", item_loader=litdata.TokensLoader(block_size=SEQ_LEN))'
        ),
        litdata_index,
    ),
    "nanotron": TokenForm(
        datatrove,
        _numbered,
        4 << 30,
        lambda out, names, plan: (
            f'datatrove.utils.dataset.DatatroveFolderDataset("{out}", seq_len=SEQ_LEN, token_size={plan.width})'
        ),
    ),
}
