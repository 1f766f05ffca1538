"""The resume loop: what a receipt proves is not made again; what is damaged, under another key or not asked for is."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.tasks import drop_others, run_tasks, valid_receipts
from pipeline.errors import StageFailed, WorkError
from pipeline.storage.ledger import COLUMNS, Receipt
from pipeline.storage.store import ARTEFACT, Store

MADE: list[int] = []


class Task(NamedTuple):
    sink: Store
    number: int | str
    key: str
    bad: bool = False

    @property
    def name(self) -> str:
        return f"task {self.number}"


def make(task: Task) -> Receipt:
    if task.bad:
        raise WorkError("no such thing", "name another")
    MADE.append(task.number)
    return task.sink.put(task.number, pa.table({"n": [task.number]}), COLUMNS.empty_table(), key=task.key, stage="test")


@pytest.fixture
def sink(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def run(sink):
    """`run({number: key}, bad=())` -> (numbers of the receipts returned, numbers that were made)."""

    def go(keys: dict, bad: tuple = ()) -> tuple[list, list]:
        MADE.clear()
        tasks = [Task(sink, number, key, number in bad) for number, key in keys.items()]
        return [receipt.shard for receipt in run_tasks(Inline(), sink, make, tasks, "test")], list(MADE)

    return go


def test_a_second_run_makes_nothing(run):
    assert run({0: "a", 1: "b", 2: "c"}) == ([0, 1, 2], [0, 1, 2])
    assert run({0: "a", 1: "b", 2: "c"}) == ([0, 1, 2], [])


def test_another_key_and_a_new_shard_are_made_and_results_keep_the_order_of_the_tasks(run):
    run({0: "a", 1: "b", 2: "c"})
    assert run({3: "d", 2: "c", 1: "other", 0: "a"}) == ([3, 2, 1, 0], [3, 1])


@pytest.mark.parametrize("name", ["shards/00001.arrow", "ledger/00001.arrow", "receipts/00001.json"])
@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_what_is_damaged_is_made_again(run, sink, name, damage):
    run({0: "a", 1: "b"})
    if damage == "gone":
        sink.fs.delete(name)
    else:
        sink.fs.write(name, sink.fs.read(name)[:-9])
    assert run({0: "a", 1: "b"}) == ([0, 1], [1])
    assert sink.read(1)["n"].to_pylist() == [1]


def test_shards_that_no_task_makes_are_removed(run, sink):
    run({0: "a", 1: "b", 2: "c"})
    sink.fs.write("receipts/00002.json", b"{")
    assert run({1: "b"}) == ([1], [])
    assert sink.fs.names("shards") == ["00001.arrow"]
    assert run({}) == ([], [])
    assert sink.fs.names("shards") == sink.fs.names("receipts") == []


def test_failed_tasks_are_listed_and_the_others_done(run):
    with pytest.raises(StageFailed, match=r"2 of 3 tasks failed\n  task 0: no such thing\n.*\n  task 2"):
        run({0: "a", 1: "b", 2: "c"}, bad=(0, 2))
    assert run({0: "a", 1: "b", 2: "c"}) == ([0, 1, 2], [0, 2])


def test_the_task_of_an_artefact_fails_with_its_own_error(run):
    with pytest.raises(WorkError, match="no such thing"):
        run({ARTEFACT: "a"}, bad=(ARTEFACT,))


def test_an_artefact_is_valid_while_its_files_are_whole(sink, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/model.bin").write_bytes(b"weights")
    sink.put_artefact(tmp_path / "made", COLUMNS.empty_table(), key="k", stage="test")
    assert list(valid_receipts(sink, {ARTEFACT: "k"})) == [ARTEFACT]
    assert not valid_receipts(sink, {ARTEFACT: "other"})
    drop_others(sink, ())
    assert list(valid_receipts(sink, {ARTEFACT: "k"})) == [ARTEFACT]
    sink.fs.write("artefact/model.bin", b"weight")
    assert not valid_receipts(sink, {ARTEFACT: "k"})
