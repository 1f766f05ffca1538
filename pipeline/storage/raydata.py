"""A store as a Ray Data dataset: one read task per shard, batches straight from the mapped file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.schema import fitted
from pipeline.storage.packed_rows import PackedRows
from pipeline.storage.store import Store


def dataset(store: Store, columns: Sequence[str] | None = None) -> Any:
    """`ray.data.Dataset` over the store's shards, in shard order. Ray must run or will be started locally.

    Ray Data has no reader of Arrow files: the store gives it one, so that a shard is a block source and nothing is
    converted on the way.
    """
    os.environ.setdefault("RAY_DATA_USE_DATASOURCE_V2", "0")
    import ray
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    manifest = store.require()
    schema = store.schema
    if columns:
        schema = pa.schema([schema.field(name) for name in columns])

    class ShardSource(Datasource):
        def estimate_inmemory_data_size(self) -> int:
            return int(manifest["bytes"])

        def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
            tasks = []
            for entry in manifest["shards"]:
                metadata = BlockMetadata(
                    num_rows=entry["rows"], size_bytes=entry["bytes"], input_files=None, exec_stats=None
                )
                tasks.append(ReadTask(_reader(store.path, entry["shard"], schema), metadata, schema=schema))
            return tasks

    return ray.data.read_datasource(ShardSource())


def _reader(path: str, shard: int, schema: pa.Schema) -> Any:
    def read() -> Any:
        for batch in Store(path).batches(shard):
            yield fitted(pa.Table.from_batches([batch]), schema)

    return read


def remaining(packed: PackedRows, row: int = 0, last: int | None = None, block: int = 4096) -> Any:
    """`ray.data.Dataset` over the packed rows from number `row` on (`TokenStream.row`, or "row" of its state) up to `last` (the end of
    that epoch), in their order: `block` rows a read task. Ray keeps the order of blocks where
    `DataContext.execution_options.preserve_order` is set, which this does."""
    os.environ.setdefault("RAY_DATA_USE_DATASOURCE_V2", "0")
    import ray
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    ray.data.DataContext.get_current().execution_options.preserve_order = True
    end = last if last is not None else (row // len(packed) + 1) * len(packed)
    schema = packed.store.schema

    class RowSource(Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
            tasks = []
            for at in range(row, end, block):
                size = min(block, end - at)
                metadata = BlockMetadata(num_rows=size, size_bytes=None, input_files=None, exec_stats=None)
                tasks.append(ReadTask(_row_reader(packed, at, at + size, schema), metadata, schema=schema))
            return tasks

    return ray.data.read_datasource(RowSource())


def _row_reader(packed: PackedRows, first: int, last: int, schema: pa.Schema) -> Any:
    def read() -> Any:
        for at in range(first, last, 256):
            yield fitted(packed.table(at, min(at + 256, last)), schema)

    return read
