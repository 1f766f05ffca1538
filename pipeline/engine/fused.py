"""Rows of a step that was run fused with the next: proven, not written, and made again when someone asks for them."""

from __future__ import annotations

import pyarrow as pa

from pipeline.engine import catalog
from pipeline.engine.stage import Inputs, numbered_as
from pipeline.storage.store import Store


def rows_of(store: Store, shard: int, root: str) -> pa.Table:
    """A shard's rows; for a fused step, whose rows were proven but not written, made again from its input."""
    receipt = store.receipt(shard)
    if receipt is None or receipt.written:
        return store.read(shard)
    manifest = store.require()
    stage = catalog.stage(manifest["stage"]).build(manifest["options"], manifest["stage"])
    lineage = {
        port: [Store(_absolute(e["store"], root)) for e in entries] for port, entries in manifest["lineage"].items()
    }
    source, number = next(
        (each.store, each.shard) for each in numbered_as(store.shards(), Inputs(lineage)) if each.number == shard
    )
    table = rows_of(source, number, root)
    work = stage.worker(Inputs(lineage, manifest["seed"]), number)  # type: ignore[attr-defined]
    pieces = [work(batch).kept for batch in table.to_batches(1024)] or [
        work(pa.RecordBatch.from_pylist([], table.schema)).kept
    ]
    return pa.Table.from_batches([batch for piece in pieces for batch in _batches(piece)], pieces[0].schema)


def _absolute(path: str, root: str) -> str:
    return path if "/" in path else f"{root.rstrip('/')}/{path}"


def _batches(kept: pa.RecordBatch | pa.Table) -> list[pa.RecordBatch]:
    return kept.to_batches() if isinstance(kept, pa.Table) else [kept]
