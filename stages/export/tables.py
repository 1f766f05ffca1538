"""Rows as tables: Parquet, JSON lines under zstandard, CSV, folders of `datasets`, tar files of WebDataset."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.options import digest
from pipeline.schema import STR
from stages.export import files
from stages.export.columns import Columns
from stages.export.files import FileTask

SIZE = 512_000_000
"""Bytes of the store that go into a file where none are asked for."""
ROW_GROUP = 64 << 20
"""Bytes in memory of a row group of Parquet."""


class TableRows(NamedTuple):
    """Some rows: their ids in the store, and the columns that go out."""

    ids: pa.Array
    table: pa.Table


class TablePlan(NamedTuple):
    """What holds for all files of a table."""

    columns: Columns
    shape: str | None


class TableForm(NamedTuple):
    """A format of rows."""

    ending: str
    write: Callable[[Any, Iterator[TableRows], TablePlan], None]
    load: Callable[[str, list[str]], str]
    """(folder, names of files) -> the line that opens it."""
    beside: Callable[[dict[str, Any], TablePlan, list[str]], dict[str, bytes]] | None = None
    """(receipt of all, plan, names of files) -> files that describe the others."""
    folder: str = "data/"

    def name(self, store: str, number: int, total: int) -> str:
        """Of one file, without its ending."""
        return f"{self.folder}{'data' if not self.folder else store}-{number:05d}-of-{total:05d}"


def write_table(task: FileTask) -> dict[str, Any]:
    """One file of rows."""
    form, counts = FORMS[task.order.to], {"rows": 0, "left_out": {}}
    proofs: dict[str, Any] = {}
    with files.create(task.order.out, task.name + form.ending, proofs) as sink:
        form.write(sink, _rows(task, counts), task.plan)
    return {"files": proofs, **counts}


def _rows(task: FileTask, counts: dict[str, Any]) -> Iterator[TableRows]:
    """The rows of a file; those of the other part are counted."""
    plan, order = task.plan, task.order
    for batch in files.batches(task.store(), task.parts):
        if order.part != "all":
            held = files.held_rows(batch, plan.shape, order.holdout)
            wanted = held if order.part == "heldout" else ~held
            why = "export.held_out" if order.part == "train" else "export.not_held_out"
            if not wanted.all():
                counts["left_out"][why] = counts["left_out"].get(why, 0) + int((~wanted).sum())
            batch = batch.filter(pa.array(wanted))
        counts["rows"] += len(batch)
        if len(batch):
            yield TableRows(batch.column("id"), plan.columns.table(batch))


# -- formats -----------------------------------------------------------------------------------------------------------------


def parquet(sink: Any, rows: Iterator[TableRows], plan: TablePlan) -> None:
    """zstandard; pages cut by content, so that storage that keeps equal pieces once (the hub's) keeps what two exports share."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(sink, plan.columns.schema, compression="zstd", use_content_defined_chunking=True) as writer:
        held: list[pa.Table] = []
        for part in rows:
            held.append(part.table)
            if sum(table.nbytes for table in held) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(held))
                held = []
        if held:
            writer.write_table(pa.concat_tables(held))


def jsonl(sink: Any, rows: Iterator[TableRows], plan: TablePlan) -> None:
    """A row a line, every column in it, null too."""
    import polars as pl
    import zstandard

    with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(sink, closefd=False) as packed:
        for part in rows:
            lines = io.BytesIO()
            pl.from_arrow(part.table).write_ndjson(lines)  # type: ignore[union-attr]
            packed.write(lines.getbuffer())


def csv(sink: Any, rows: Iterator[TableRows], plan: TablePlan) -> None:
    """RFC 4180 with a head line; null is an empty field, the empty text `""`; lists and records are JSON text."""
    from pyarrow import csv as writing

    flat = pa.schema([pa.field(f.name, STR if pa.types.is_nested(f.type) else f.type) for f in plan.columns.schema])
    with writing.CSVWriter(sink, flat) as writer:
        for part in rows:
            columns = [_json(c) if pa.types.is_nested(c.type) else c for c in part.table.columns]
            writer.write_table(pa.table(columns, schema=flat))


def _json(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [None if value is None else json.dumps(value, ensure_ascii=False) for value in column.to_pylist()], STR
    )


def arrow(sink: Any, rows: Iterator[TableRows], plan: TablePlan) -> None:
    """An Arrow stream, which `datasets` maps."""
    with pa.ipc.new_stream(sink, plan.columns.schema) as writer:
        for part in rows:
            # Rebuilt: a slice carries its parent's offsets, and those would reach the bytes.
            writer.write_table(part.table.take(np.arange(len(part.table))).combine_chunks())


def datasets_beside(page: dict[str, Any], plan: TablePlan, names: list[str]) -> dict[str, bytes]:
    """What `datasets.load_from_disk` reads first: columns and the list of files."""
    from dataclasses import asdict

    from datasets import DatasetInfo, Features

    info = asdict(DatasetInfo(features=Features.from_arrow_schema(plan.columns.schema)))
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": digest(page["key"])[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    # The columns keep their order: sorting keys would change it.
    return {
        "dataset_info.json": json.dumps({name: info[name] for name in sorted(info)}, indent=2).encode(),
        "state.json": json.dumps(state, indent=2, sort_keys=True).encode(),
    }


def webdataset(sink: Any, rows: Iterator[TableRows], plan: TablePlan) -> None:
    """A sample a row: `KEY.json` with its columns and, where the main text of a document goes out, that as `KEY.txt`."""
    main = next((c.name for c in plan.columns.columns if c.path == "text" and plan.shape == "DOCUMENT"), None)
    with tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for part in rows:
            for row_id, row in zip(part.ids.to_pylist(), part.table.to_pylist()):
                key = row_id if _KEY.fullmatch(row_id) else blake2b(row_id.encode(), digest_size=16).hexdigest()
                text = row.pop(main) if main else None
                _member(tar, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
                if text is not None:
                    _member(tar, f"{key}.txt", text.encode())


_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""Ids that are names in a tar file as they are: a point ends a key there."""


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # owner, time and mode are constants
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _loaded(builder: str, ending: str) -> Callable[[str, list[str]], str]:
    return lambda out, _: f'datasets.load_dataset("{builder}", data_files="{out}/data/*{ending}", split="train")'


def _tar_load(out: str, names: list[str]) -> str:
    first, last = names[0], names[-1]
    number = f"-{0:05d}-"
    where = first if first == last else first.replace(number, f"-{{00000..{len(names) - 1:05d}}}-")
    return f'webdataset.WebDataset("{out}/{where}", shardshuffle=False).decode()'


FORMS: dict[str, TableForm] = {
    "parquet": TableForm(".parquet", parquet, _loaded("parquet", ".parquet")),
    "jsonl.zst": TableForm(".jsonl.zst", jsonl, _loaded("json", ".jsonl.zst")),
    "csv": TableForm(".csv", csv, _loaded("csv", ".csv")),
    "datasets": TableForm(
        ".arrow", arrow, lambda out, _: f'datasets.load_from_disk("{out}")', datasets_beside, folder=""
    ),
    "webdataset": TableForm(".tar", webdataset, _tar_load),
}


def metas(store: Any) -> Iterator[pa.ChunkedArray]:
    """The column `meta` of every batch."""
    for shard in store.shards():
        for batch in store.batches(shard):
            yield pa.chunked_array([batch.column("meta")])


def total(counts: list[dict[str, int]]) -> dict[str, int]:
    """Counts by word, added up."""
    found: dict[str, int] = {}
    for some in counts:
        for name, number in some.items():
            found[name] = found.get(name, 0) + number
    return dict(sorted(found.items()))
