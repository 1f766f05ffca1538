"""What dedup gives up in a takedown: the signatures of shards that change, and every pass that counts rows by their position."""

from __future__ import annotations

import pyarrow.compute as pc

from pipeline.deletion.lineage import Lost
from pipeline.storage.store import Store
from stages.dedup.passes import signatures_of


def forget(store: Store, lost: Lost) -> list[str]:
    """A signature is a row of numbers at its document's position, and documents behind a lost one move up; so a shard of
    signatures goes whole where its input loses rows, and is made again, alone, when deduplication is next redone."""
    manifest = store.manifest()
    if not store.fs.exists("passes"):
        return []
    signatures = signatures_of(store)
    changed = _changed(store, manifest["lineage"], lost) if manifest else list(signatures.receipts())
    dropped = [number for number in changed if signatures.receipt(number) is not None]
    for number in dropped:
        signatures.drop(number)
    if dropped or not manifest:
        for name in store.fs.sub("passes").folders():
            if name != signatures.name:
                store.fs.delete(f"passes/{name}")
    return [f"{store.name}/passes/{signatures.name}/{number}" for number in dropped]


def _changed(store: Store, lineage: dict, lost: Lost) -> list[int]:
    """Numbers of the parts (shards of `of`, then of `against`) that hold lost rows."""
    root = store.path.rstrip("/").rpartition("/")[0] or "."
    gone = lost.value_set()
    found, number = [], 0
    for port in ("of", "against"):
        for entry in lineage.get(port, []):
            source = Store(entry["store"] if "/" in entry["store"] else f"{root}/{entry['store']}")
            for shard in source.shards():
                there = source.fs.exists(f"shards/{shard:05d}.arrow")
                if not there or pc.any(pc.is_in(source.read(shard)["id"], value_set=gone)).as_py():
                    found.append(number)
                number += 1
    return found
