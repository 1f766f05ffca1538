"""Prompts that resemble each other, over every row of the input: one name for all of a cluster."""

from __future__ import annotations

from functools import lru_cache

from pipeline.errors import UsageError
from pipeline.schema import shape_of
from pipeline.storage.store import Store
from stages.split.sides import groups


@lru_cache(maxsize=4)
def clusters_of(stores: tuple[tuple[str, str], ...], similarity: float) -> dict[str, str]:
    """Group name of every prompt (or row without one) -> the name of its cluster; `stores` are (path, content hash).

    The name is the least of the cluster's, so that it depends on which prompts there are and not on their order. Made once a process.
    """
    from stages.text.minhash.clusters import clusters

    questions: dict[str, str] = {}
    for path, _ in stores:
        store = Store(path)
        for shard in store.shards():
            if not store.fs.exists(f"shards/{shard:05d}.arrow"):
                raise UsageError(
                    f"split by cluster looks at all rows, and those of {store.name} are not written",
                    "set run.fuse to false",
                )
            for batch in store.batches(shard):
                questions |= dict(zip(groups(batch, "prompt"), _questions(batch), strict=True))
    names = sorted(questions)
    leaders = clusters([questions[name] for name in names], similarity)
    return {name: names[leader] for name, leader in zip(names, leaders.tolist())}


def _questions(batch) -> list[str]:
    shape = shape_of(batch.schema)
    if shape not in ("CHAT", "PAIR"):
        raise UsageError(f"rows of shape {shape} have no prompt to be alike by", "use by: document or by: row")
    column = batch.column("messages" if shape == "CHAT" else "prompt").to_pylist()
    return [next((m["content"] or "" for m in messages or [] if m["role"] == "user"), "") for messages in column]
