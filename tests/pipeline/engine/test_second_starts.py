"""Tasks that take far longer than the others are started a second time, and what two writers of a shard leave is what one leaves."""

import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from pipeline.engine.pool import OnRay
from pipeline.errors import DamagedStore
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store


class Shard(NamedTuple):
    """A task that may be under way twice."""

    name: str
    second: bool = False

    def beside(self):
        return self._replace(second=True)


def beat(task):
    """Writes on and on into the file that the task names; a second start is done once there is something."""
    while not task.second and "/" in task.name:
        with open(task.name, "a") as out:
            out.write("x")
        time.sleep(0.02)
    return task.second


@pytest.fixture
def ticking(fake_ray, monkeypatch):
    """Time that goes on by 5 seconds at each look, to 2,000; tasks of which "hangs" comes are done when they are cancelled."""
    clock, fake_ray.ended = [0.0], []
    seconds = SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda seconds: None)
    monkeypatch.setattr("pipeline.engine.pool.time", seconds)
    monkeypatch.setattr("pipeline.engine.pool.OnRay._head_answers", lambda self: True)

    def wait(refs, num_returns=1, timeout=None):
        clock[0] += 5.0
        if clock[0] > 2_000:
            raise EOFError("nothing was done in all that time")
        made = dict(fake_ray.flying)
        over = [ref for ref in refs if made[ref] != "hangs" or ref in fake_ray.ended]
        over.sort(key=lambda ref: not isinstance(made[ref], type))  # faults come first
        return over[:num_returns], [ref for ref in refs if ref not in over[:num_returns]]

    fake_ray.wait = wait
    fake_ray.cancel = lambda ref, force: fake_ray.ended.append(ref)
    return clock


def test_a_task_far_slower_than_the_others_is_started_again_and_the_first_start_is_ended(fake_ray, ticking):
    tasks = [*map(Shard, map(str, range(20))), Shard("slow")]
    stream = OnRay(4, address="auto").each(lambda task: "hangs" if task == Shard("slow") else task, tasks)
    assert list(stream) == [*tasks[:20], Shard("slow", second=True)]
    assert [dict(fake_ray.flying)[ref] for ref in fake_ray.ended] == ["hangs"] and ticking[0] >= 60.0


def test_a_second_start_whose_node_dies_is_no_try_of_the_task(fake_ray, ticking):
    """The first one goes on, and is done then: the task is not begun a third time."""
    begun = []

    def work(task):
        if task.name != "slow":
            return task
        begun.append(task)
        if not task.second:
            return "hangs"
        fake_ray.flying[:] = [(ref, Shard("slow") if made == "hangs" else made) for ref, made in fake_ray.flying]
        return fake_ray.exceptions.NodeDiedError

    tasks = [*map(Shard, map(str, range(20))), Shard("slow")]
    assert list(OnRay(4, address="auto").each(work, tasks)) == tasks
    assert begun == [Shard("slow"), Shard("slow", second=True)] and not fake_ray.ended


@pytest.mark.parametrize("slow", [["slow"], [Shard("slow")] * 5], ids=["says no way", "a fifth of all"])
def test_what_is_not_started_a_second_time(fake_ray, ticking, slow):
    begun = []
    stream = OnRay(8, address="auto").each(lambda task: begun.append(task) or ("hangs" if task in slow else task), [*range(20), *slow])  # fmt: skip
    assert [next(stream) for _ in range(20)] == list(range(20))
    with pytest.raises(EOFError):
        next(stream)
    assert begun == [*range(20), *slow]


def test_of_two_starts_the_one_that_is_not_done_has_ended(tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr("pipeline.engine.pool.SLOW", 0.5)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    pool = OnRay(workers=2)
    try:
        tasks = [*(Shard(str(n)) for n in range(10)), Shard(str(tmp_path / "beats"))]
        assert list(pool.each(beat, tasks)) == [False] * 10 + [True]
        beats = (tmp_path / "beats").stat().st_size
        time.sleep(1)
        assert (tmp_path / "beats").stat().st_size == beats > 0
    finally:
        pool.close()


# -- the shard that both write -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_is_done", [True, False])
def test_two_writers_of_a_shard_leave_what_one_leaves(tmp_path, make_documents, first_is_done):
    """They take turns; one is done, and the other is killed before its receipt. No proof is missing for a moment after that."""
    rows = make_documents([f"text {n}" for n in range(50)])
    alone = Store(tmp_path / "alone").put(0, rows, Ledger.rows(rows["id"]), key="k", input_ids=rows["id"])
    store = Store(tmp_path / "both")
    writers = [store.writer(0, stage="", key="k", beside=second) for second in (False, True)]
    for writer in writers:
        writer.__enter__()
    for batch in (rows.slice(0, 20), rows.slice(20)):
        for writer in writers:
            writer.write(batch.combine_chunks().to_batches()[0])
    done, killed = writers if first_is_done else writers[::-1]
    done.record(Ledger.rows(rows["id"]))
    done.commit(input_ids=rows["id"])
    receipt = store.receipt(0)
    assert (receipt.content_hash, receipt.ledger_hash) == (alone.content_hash, alone.ledger_hash)
    killed.__exit__(None, None, None)
    store.writer(0, stage="", key="k", beside=True).__enter__()
    assert store.read(0).equals(rows) and store.receipt(0) == receipt
    store.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [0], {0: receipt})
    assert store.fs.names("shards") == ["00000.arrow"]


def test_a_proof_that_is_gone_by_the_end_of_a_step_is_missed(make_store, tmp_path):
    store = make_store(tmp_path / "store", ["one", "two"], shards=2)
    known = store.receipts()
    store.fs.delete("receipts/00001.json")
    with pytest.raises(DamagedStore, match=r"shards \[1\] have no receipt"):
        store.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [0, 1], known)


def test_shards_of_stages_whose_rows_may_be_worked_on_twice_are_started_again(make_store, tmp_path):
    """A second start of `quality` that fails at once leaves the proof of the first."""
    from pipeline.engine.stage import Inputs, Link, ShardTask, work_shard
    from stages.quality import Quality

    source, sink = make_store(tmp_path / "in", ["one two three", "four"]), Store(tmp_path / "out")
    stage = Quality.build({"filters": [{"word_count": {"min": 2}}]}, "quality")
    link = Link(stage, Inputs({"of": [source]}), sink, True)
    task = ShardTask(source, 0, (link,), 0, "key")
    (receipt,) = work_shard(task)
    second = task.beside()
    assert second == replace(task, second=True) and second.name == task.name
    (tmp_path / "in/shards/00000.arrow").unlink()
    with pytest.raises(DamagedStore):
        work_shard(second)
    assert sink.receipt(0) == receipt and receipt.rows == 1
    once = SimpleNamespace(repeatable=lambda: False)
    assert replace(task, links=(link, link._replace(stage=once))).beside() is None
