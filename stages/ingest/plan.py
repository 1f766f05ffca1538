"""Files to tasks, and what two files have in common: grouping follows from the sorted files alone, never from the workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.options import digest
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.ingest.sources import File
from stages.ingest.task import PARTS, IngestTask

GROUP_BYTES = 64 << 20
"""Bytes of small files in one task (64 MiB): a quarter of a minute of pages on one core."""
GROUP_FILES = 4_096
"""Small files in one task."""


def groups(files: Iterable[File]) -> list[tuple[File, ...]]:
    """Files in order, small ones together, one over GROUP_BYTES alone."""
    found: list[tuple[File, ...]] = []
    held: list[File] = []
    size = 0
    for file in files:
        if held and (size + file.size > GROUP_BYTES or len(held) >= GROUP_FILES):
            found.append(tuple(held))
            held, size = [], 0
        held.append(file)
        size += file.size
    return [*found, tuple(held)] if held else found


def tasks(files: list[File], options: Any, sink: Store, key: str) -> list[IngestTask]:
    """One task per group; its key is the stage's with the names and contents of its files."""
    return [
        IngestTask(
            number, group, options, sink, digest([key, [[file.name, file.digest, file.within] for file in group]])
        )
        for number, group in enumerate(groups(files))
    ]


def collisions(sink: Store, receipts: Iterable[Receipt]) -> dict[int, tuple[int, ...]]:
    """Task number to the earlier tasks' shards that hold ids it gave too. Empty where every id stands once.

    The same archive under two names, or records copied from one to the other, give the same (URI, record) twice.
    """
    marks, owners = [], []
    for receipt in receipts:
        index = sink.index(receipt.shard)
        marks.append(index["hash"])
        owners.append(np.full(len(index), receipt.shard, dtype=np.int64))
    if not marks:
        return {}
    mark, owner = np.concatenate(marks), np.concatenate(owners)
    order = np.lexsort((owner, mark))
    mark, owner = mark[order], owner[order]
    again = np.flatnonzero(mark[1:] == mark[:-1]) + 1
    found: dict[int, set[int]] = defaultdict(set)
    for line_number in again:
        first = line_number - 1
        while first >= 0 and mark[first] == mark[line_number]:
            if owner[first] // PARTS != owner[line_number] // PARTS:
                found[int(owner[line_number]) // PARTS].add(int(owner[first]))
            first -= 1
    return {task: tuple(sorted(shards)) for task, shards in sorted(found.items())}
