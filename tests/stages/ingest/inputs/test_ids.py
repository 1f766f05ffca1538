"""Ids that several tasks gave: found range by range, whatever lies in a shard, with no more ids at once than a range has."""

from __future__ import annotations

import random
from collections import defaultdict

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.schema import DOCUMENT, doc_id
from pipeline.storage.ledger import Ledger
from pipeline.storage.shards import INDEX
from pipeline.storage.store import Store
from stages.ingest import plan
from stages.ingest.task import PARTS


def store(path, shards: dict[int, list[str]]) -> tuple[Store, list]:
    sink, receipts = Store(path), []
    for number, ids in shards.items():
        rows = pa.Table.from_pylist(
            [{**dict.fromkeys(DOCUMENT.names), "id": each, "text": "x"} for each in ids], DOCUMENT
        )
        receipts.append(sink.put(number, rows, Ledger.rows(rows["id"]), key="k", stage="ingest"))
    return sink, receipts


def given_twice(shards: dict[int, list[str]]) -> dict[int, set[int]]:
    """Every pair of shards of different tasks, compared id by id."""
    found = defaultdict(set)
    for later, ids in shards.items():
        for earlier, others in shards.items():
            if earlier // PARTS < later // PARTS and {*ids} & {*others}:
                found[later // PARTS].add(earlier)
    return dict(found)


class TaskCounting(Inline):
    def each(self, fn, tasks, **resources):
        self.tasks = list(tasks)
        return super().each(fn, self.tasks, **resources)


@pytest.mark.parametrize("most", [1 << 20, 700, 40])
def test_ids_given_twice_are_found_whatever_the_ranges(tmp_path, monkeypatch, most):
    dice, shards = random.Random(5), {}
    for task in range(6):
        for part in range(dice.randint(1, 3)):
            shards[task * PARTS + part] = [
                doc_id(f"{task} {part}", str(at)) for at in range(dice.choice((0, 1, 30, 400)))
            ]
    known = [each for ids in shards.values() for each in ids]
    for shard in (2 * PARTS, 4 * PARTS, 5 * PARTS):
        shards[shard] = [*{*shards[shard], *dice.sample(known, 3), known[0]}]
    shards[3 * PARTS + 5] = shards[3 * PARTS][:2] + ["f" * 32, "0" * 32]  # of one task; and the ends of all hashes
    shards[9 * PARTS] = ["f" * 32, "0" * 32]
    sink, receipts = store(tmp_path / "s", shards)
    monkeypatch.setattr(plan, "MOST_IDS", most)
    assert dict(plan.collisions(sink, Inline(), receipts)) == given_twice(shards) != {}


def test_a_task_holds_the_ids_of_its_range_and_an_index_is_read_about_once(tmp_path, monkeypatch):
    shards = {task * PARTS: [doc_id(str(task), str(at)) for at in range(20_000)] for task in range(4)}
    sink, receipts = store(tmp_path / "s", shards)
    monkeypatch.setattr(plan, "MOST_IDS", 10_000)
    held, read, hashes, ranged = defaultdict(int), [0], plan._hashes, type(sink.fs).read_range

    def counted(sink, shard, rows, low, high):
        found = hashes(sink, shard, rows, low, high)
        held[low] += len(found)
        return found

    def reading(self, name, first, size):
        read[0] += size
        return ranged(self, name, first, size)

    monkeypatch.setattr(plan, "_hashes", counted)
    monkeypatch.setattr(type(sink.fs), "read_range", reading)
    monkeypatch.setattr(Store, "index", None)
    pool = TaskCounting()
    assert not plan.collisions(sink, pool, receipts)
    assert len(pool.tasks) == len(held) == 8 and sum(held.values()) == 80_000
    assert max(held.values()) < 1.1 * 10_000
    assert read[0] < 2 * 80_000 * INDEX.itemsize
