"""What dedup gives up in a takedown: the signatures of shards that change, and every pass that counts rows by their position."""

from __future__ import annotations

import pyarrow.compute as pc

from pipeline.deletion.lineage import Lost
from pipeline.engine.stage import Inputs, numbered_as
from pipeline.storage.store import Store
from stages.dedup.corpus import PORTS
from stages.dedup.passes import signatures_of


def forget(store: Store, lost: Lost) -> list[str]:
    """A signature is a row of numbers at its document's position, and documents behind a lost one move up; so a shard of
    signatures goes whole where its input loses rows, and is made again, alone, when deduplication is next redone."""
    manifest = store.manifest()
    if not store.fs.exists("passes"):
        return []
    signatures = signatures_of(store)
    known = list(signatures.receipts())
    changed = _changed(store, known, manifest["lineage"], lost) if manifest else known
    dropped = [number for number in changed if signatures.receipt(number) is not None]
    for number in dropped:
        signatures.drop(number)
    if dropped or not manifest:
        for name in store.fs.sub("passes").folders():
            if name != signatures.name:
                store.fs.delete(f"passes/{name}")
    return [f"{store.name}/passes/{signatures.name}/{number}" for number in dropped]


def _changed(store: Store, known: list[int], lineage: dict, lost: Lost) -> list[int]:
    """Numbers of the parts that hold lost rows; `known`: those that have signatures."""
    root = store.path.rstrip("/").rpartition("/")[0] or "."
    gone = lost.value_set()
    stores = {
        port: [
            Store(each["store"] if "/" in each["store"] else f"{root}/{each['store']}")
            for each in lineage.get(port, [])
        ]
        for port in PORTS
    }
    found = []
    for number, source, shard, _ in numbered_as(known, Inputs(stores), PORTS):
        there = source.fs.exists(f"shards/{shard:05d}.arrow")
        if not there or pc.any(pc.is_in(source.read(shard)["id"], value_set=gone)).as_py():
            found.append(number)
    return found
