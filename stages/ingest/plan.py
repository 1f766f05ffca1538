"""Files to tasks, and what two files have in common.

Which files make a group, and the group's number, follow from the names and sizes of files near each other in the order of names,
never from the workers or from a file's place among all. So a file that comes, goes or changes touches its own group, and what it
splits or joins: no other group has other files, another number or other bytes than before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipeline.options import digest
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.ingest.sources import File
from stages.ingest.task import PARTS, IngestTask, proven

GROUP_BYTES = 64 << 20
"""Mean bytes of a group of small files (64 MiB): a quarter of a minute of pages on one core."""
FILE_BYTES = 4 << 10
"""What a file costs beside its bytes, in bytes."""
ALONE = 16 << 20
"""Bytes from which on a file is a group of its own: a quarter of the mean, so that no change of a small file redoes a large one."""
LEAST, MOST = 10**8, 10**9
"""Numbers of groups: nine digits, so that a file that comes meets another's number once in nine thousand where there are 100,000."""


def groups(files: Iterable[File]) -> dict[int, tuple[File, ...]]:
    """Groups of files by number, ascending.

    Of the small files in order, one begins a group if the hash of its name says so, and the more likely the larger it is; the others
    join the file before. The number is the hash of the first name; those before the first that begins one are group 0.
    """
    small: list[list[File]] = [[]]
    large: list[list[File]] = []
    for file in files:
        if file.size >= ALONE:
            large.append([file])
        elif _begins(file):
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


def _begins(file: File) -> bool:
    return _hash(file.name, 0) < (file.size + FILE_BYTES) * 2**64 // GROUP_BYTES


def _hash(name: str, seed: int) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"), seed)


def tasks(files: list[File], options: Any, sink: Store, key: str) -> list[IngestTask]:
    """One task per group; its key is the stage's with the names and contents of its files."""
    return [
        IngestTask(
            number, group, options, sink, digest([key, [[file.name, file.digest, file.within] for file in group]])
        )
        for number, group in groups(files).items()
    ]


def to_redo(
    sink: Store, tasks: Mapping[int, IngestTask], done: Mapping[int, list[Receipt]]
) -> dict[int, tuple[int, ...]]:
    """Numbers of the tasks that are to be done again, and what each is then told apart from (`IngestTask.against`): those that gave
    ids which earlier ones gave, and those whose earlier ones are others than they were told apart from, as if they knew none."""
    there = {receipt.shard: receipt for number in sorted(done) for receipt in done[number]}
    found: dict[int, tuple[int, ...]] = {}
    for number, shards in collisions(sink, there.values()).items():
        known = done[number][0].notes.get("against") or ()
        # Ids that are still alike agree in the half that is compared, and no further.
        if not shards <= {*known}:
            found[number] = tuple(sorted({*known, *shards}))
    for number, receipts in done.items():
        if receipts[0].notes.get("against") and not proven(tasks[number], there)[1]:
            found[number] = ()
    return found


def collisions(sink: Store, receipts: Iterable[Receipt]) -> dict[int, set[int]]:
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
    return found
