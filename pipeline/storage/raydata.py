"""A store as a Ray Data dataset: one read task per shard, batches straight from the mapped file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.schema import fitted
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
