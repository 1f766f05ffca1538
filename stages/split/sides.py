"""Which side of a split a row falls on: pure functions of what the row is grouped by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.schema import shape_of
from stages.models.holdout import prompt_key


def groups(batch: pa.RecordBatch, by: str) -> list[str]:
    """The group of every row; `prompt` for rows without one, and `document` for rows not made of one, is the row's own id."""
    ids = batch.column("id").to_pylist()
    shape = shape_of(batch.schema)
    if by == "row" or (by == "prompt" and shape not in ("CHAT", "PAIR")):
        return ids
    if by == "prompt":
        return [
            prompt_key(messages) or own
            for messages, own in zip(batch.column("messages" if shape == "CHAT" else "prompt").to_pylist(), ids)
        ]
    if shape == "DOCUMENT":
        return ids
    if shape == "TOKENS":
        raise UsageError(
            "a packed row holds pieces of several documents", "split the documents before pack, or use by: row"
        )
    return [doc or own for doc, own in zip(batch.column("doc_id").to_pylist(), ids)]


def kept(names: Sequence[str], share: float, salt: str = "") -> np.ndarray:
    """bool per group name: is it in the share kept? Independent of the held-out rows of `stages.models.holdout`.

    >>> float(kept([str(n) for n in range(10_000)], 0.3).mean().round(1)), bool((kept(["a"], 0.5) == kept(["a"], 0.5)).all())
    (0.3, True)
    """
    import xxhash

    seed = f"maetdol split 1\0{salt}\0".encode()
    hashes = np.asarray(
        [xxhash.xxh3_64_intdigest(seed + name.encode("utf-8", "surrogatepass")) for name in names], dtype=np.uint64
    )
    return np.ones(len(names), dtype=bool) if share >= 1.0 else hashes < np.uint64(share * 2.0**63) * np.uint64(2)
