"""Files to tasks, and what two files have in common.

Which files make a group, and the group's number, follow from the names and sizes of files near each other in the order of names,
never from the workers or from a file's place among all. So a file that comes, goes or changes touches its own group, and what it
splits or joins: no other group has other files, another number or other bytes than before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.engine.pool import Inline, Pool
from pipeline.engine.shared import reduced
from pipeline.engine.tasks import collect
from pipeline.options import digest
from pipeline.storage.ledger import Receipt
from pipeline.storage.shards import INDEX, number_of
from pipeline.storage.store import Store
from stages.ingest.sources import File
from stages.ingest.task import PARTS, IngestTask, proven

GROUP_BYTES = 64 << 20
"""Mean bytes of a group of small files (64 MiB): a quarter of a minute of pages on one core."""
FILE_BYTES = 4 << 10
"""What a file costs beside its bytes, in bytes."""
ALONE = 16 << 20
"""Bytes from which on a file is a group of its own: a quarter of the mean, so that no change of a small file redoes a large one."""
MOST_IDS = 8 << 20
"""Ids that one task compares: some 300 MB while it sorts them."""
LEAST, MOST = 10**8, 10**9
"""Numbers of groups: nine digits, so that a file that comes meets another's number once in nine thousand where there are 100,000."""


def groups(files: Iterable[File], mean: int | None = None) -> dict[int, tuple[File, ...]]:
    """Groups of files by number, ascending; `mean`: bytes of one that is not GROUP_BYTES.

    Of the small files in order, one begins a group if the hash of its name says so, and the more likely the larger it is; the others
    join the file before. The number is the hash of the first name; those before the first that begins one are group 0.
    """
    small: list[list[File]] = [[]]
    large: list[list[File]] = []
    for file in files:
        if file.size >= ALONE:
            large.append([file])
        elif _begins(file, mean or GROUP_BYTES):
            small.append([file])
        else:
            small[-1].append(file)
    found = {0: tuple(small[0])} if small[0] else {}
    for group in sorted([*small[1:], *large], key=lambda group: group[0].name):
        number = LEAST + _hash(group[0].name, 1) % (MOST - LEAST)
        while number in found:
            number += 1
        found[number] = tuple(group)
    return dict(sorted(found.items()))


def weight(files: Sequence[File]) -> int:
    """Bytes of files as groups count them."""
    return sum(file.size for file in files) + FILE_BYTES * len(files)


def _begins(file: File, mean: int) -> bool:
    return _hash(file.name, 0) < weight([file]) * 2**64 // mean


def _hash(name: str, seed: int) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"), seed)


def tasks(files: list[File], options: Any, sink: Store, key: str) -> list[IngestTask]:
    """One task per group; its key is the stage's with the names and contents of its files."""
    return [
        IngestTask(
            number, group, options, sink, digest([key, [[file.name, file.digest, file.within] for file in group]])
        )
        for number, group in groups(files, options._group_bytes).items()
    ]


def to_redo(
    sink: Store, pool: Pool, tasks: Mapping[int, IngestTask], done: Mapping[int, list[Receipt]]
) -> dict[int, tuple[int, ...]]:
    """Numbers of the tasks that are to be done again, and what each is then told apart from (`IngestTask.against`): those that gave
    ids which earlier ones gave, and those whose earlier ones are others than they were told apart from, as if they knew none."""
    there = {receipt.shard: receipt for number in sorted(done) for receipt in done[number]}
    found: dict[int, tuple[int, ...]] = {}
    for number, shards in collisions(sink, pool, there.values()).items():
        known = done[number][0].notes.get("against") or ()
        # Ids that are still alike agree in the half that is compared, and no further.
        if not shards <= {*known}:
            found[number] = tuple(sorted({*known, *shards}))
    for number, receipts in done.items():
        if receipts[0].notes.get("against") and not proven(tasks[number], there)[1]:
            found[number] = ()
    return found


def collisions(sink: Store, pool: Pool, receipts: Iterable[Receipt]) -> dict[int, set[int]]:
    """Task number to the earlier tasks' shards that hold ids it gave too. Empty where every id stands once.

    The same archive under two names, or records copied from one to the other, give the same (URI, record) twice. Ids are compared
    range by range of their hashes, in tasks where there are several: each holds `MOST_IDS` of them, however many there are.
    """
    shards = SharedShards(sink, {receipt.shard: receipt.rows for receipt in receipts if receipt.rows})
    count = max(1, -(-sum(shards.rows.values()) // MOST_IDS))
    ranges = [IdRange(shards, number, count) for number in range(count)]
    found: dict[int, set[int]] = defaultdict(set)
    for pairs in collect(pool if count > 1 else Inline(), met, ranges, "ingest ids"):
        for number, shard in pairs:
            found[number].add(shard)
    return found


class SharedShards:
    """A store, and how many ids each of its shards has."""

    def __init__(self, sink: Store, rows: dict[int, int]):
        self.sink, self.rows = sink, rows

    __reduce__ = reduced


class IdRange(NamedTuple):
    """The ids of one task that looks for those given twice: one of `count` equal ranges of their hashes."""

    shards: SharedShards
    number: int
    count: int

    @property
    def name(self) -> str:
        return f"ingest ids, range {self.number + 1} of {self.count}"


def met(task: IdRange) -> list[tuple[int, int]]:
    """(task, shard of an earlier task) that both gave an id of the range; each pair once."""
    low, high = (at * 2**64 // task.count for at in (task.number, task.number + 1))
    marks, owners = [], []
    for shard, rows in task.shards.rows.items():
        marks.append(_hashes(task.shards.sink, shard, rows, low, high))
        owners.append(np.full(len(marks[-1]), shard, dtype=np.int64))
    if not marks:
        return []
    mark, owner = np.concatenate(marks), np.concatenate(owners)
    order = np.argsort(mark, kind="stable")
    repeated = np.flatnonzero(np.diff(mark[order]) == 0)
    order = order[np.union1d(repeated, repeated + 1)]  # what stands once is out of the way
    order = order[np.lexsort((owner[order], mark[order]))]
    mark, owner = mark[order], owner[order]
    found: set[tuple[int, int]] = set()
    apart = 1
    while len(at := np.flatnonzero(mark[apart:] == mark[:-apart])):
        earlier, later = owner[at], owner[at + apart] // PARTS
        other = earlier // PARTS != later
        found.update(zip(later[other].tolist(), earlier[other].tolist()))
        apart += 1
    return sorted(found)


def _hashes(sink: Store, shard: int, rows: int, low: int, high: int) -> np.ndarray:
    """The hashes (uint64, ascending) of a shard's ids from `low` to `high` - 1. Of the index, which is in their order, what is asked for
    is read: they are even, so that it is known within some entries where a range begins and ends."""
    slack = 8 * math.isqrt(rows) + 16
    first, last = max(0, low * rows // 2**64 - slack), min(rows, high * rows // 2**64 + slack)
    if (first, last) == (0, rows):
        found = sink.index(shard)["hash"]
    else:
        size = INDEX.itemsize
        data = sink.fs.read_range(f"index/{number_of(shard)}.ids", first * size, (last - first) * size)
        found = np.frombuffer(data, INDEX)["hash"]
        if not len(found) or (first and found[0] >= low) or (last < rows and found[-1] < high):
            found = sink.index(shard)["hash"]
    found = np.ascontiguousarray(found)
    return found[np.searchsorted(found, np.uint64(low)) : np.searchsorted(found, np.uint64(high - 1), side="right")]
