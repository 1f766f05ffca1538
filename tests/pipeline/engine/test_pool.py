"""Pools: order, isolation of failures, retries of infrastructure faults alone, bounded windows, two nodes."""

import gc
import itertools
import os
import sys
import time
from collections import Counter
from functools import partial

import pytest

from pipeline.engine import on_worker
from pipeline.engine.pool import Failure, Inline, OnRay
from pipeline.errors import HeadLost, InfraError, StoreError, UsageError


def square(n):
    return n * n


def fail_at_three(n):
    if n == 3:
        raise ValueError("three " + "secret " * 200)
    return n


def flaky(path):
    """Fails twice with an infrastructure fault, then works."""
    tries = len(open(path).read()) if os.path.exists(path) else 0
    with open(path, "a") as out:
        out.write("x")
    if tries < 2:
        raise InfraError("storage timed out")
    return tries


def die_once(path):
    """Kills its own worker the first time."""
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), 9)
    return "survived"


def where(seconds):
    time.sleep(seconds)
    import ray

    return ray.get_runtime_context().get_node_id()


def full_disk(_):
    raise StoreError("no room", "free space")


def test_inline_keeps_order_and_isolates_failures():
    results = list(Inline().each(fail_at_three, range(6)))
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 2, 4, 5]
    (failure,) = [r for r in results if isinstance(r, Failure)]
    assert failure.task == "3" and "ValueError" in failure.message and len(failure.message) < 500


def test_cycles_are_searched_seldom_in_a_task_and_as_before_behind_it():
    searched = []

    def make(_):
        gc.callbacks.append(found := lambda phase, _: searched.append(phase))
        rows = [[{"id": n}] for n in range(30_000)]
        gc.callbacks.remove(found)
        return len(rows), gc.get_freeze_count()

    before = gc.get_threshold(), gc.get_freeze_count()
    [(made, frozen)] = Inline().each(make, ["task"])
    assert made == 30_000 and frozen > before[1] + 10_000  # the modules'
    assert 0 < searched.count("start") <= 8
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_inline_retries_infrastructure_faults_only(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.engine.pool.BACKOFF", 0.001)
    assert list(Inline().each(flaky, [str(tmp_path / "a")])) == [2]
    assert isinstance(next(Inline().each(full_disk, [1])).error, StoreError)


@pytest.fixture(scope="module")
def ray_pool():
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    pool = OnRay(workers=2)
    yield pool
    pool.close()


class TestOnRay:
    def test_order_and_failures(self, ray_pool):
        results = list(ray_pool.each(fail_at_three, range(12)))
        assert [r if not isinstance(r, Failure) else "failed" for r in results] == [0, 1, 2, "failed", *range(4, 12)]

    def test_a_dead_worker_is_tried_again(self, ray_pool, tmp_path):
        assert list(ray_pool.each(die_once, [str(tmp_path / "mark")])) == ["survived"]

    def test_infrastructure_faults_are_tried_again(self, ray_pool, tmp_path):
        assert list(ray_pool.each(flaky, [str(tmp_path / "b")])) == [2]

    def test_hardware_that_is_not_there_is_an_error_at_once(self, ray_pool):
        with pytest.raises(UsageError, match="64 GPU a task asked for, no node has more than 0"):
            list(ray_pool.each(square, [1], gpus=64))
        with pytest.raises(UsageError, match="GiB a task"):
            list(ray_pool.each(square, [1], memory=1 << 50))

    def test_at_most_the_window_is_taken_from_the_tasks(self, ray_pool):
        taken = []

        def tasks():
            for n in range(100):
                taken.append(n)
                yield n

        stream = ray_pool.each(square, tasks())
        assert next(stream) == 0
        assert len(taken) <= 4 * ray_pool.window + 1, "tasks must be drawn as room appears"
        assert list(stream) == [n * n for n in range(1, 100)]

    def test_a_worker_that_stays_long_at_a_record_is_heard_by_the_driver(self, ray_pool, monkeypatch):
        from pipeline.engine import progress

        said = []
        monkeypatch.setattr(
            progress, "current", type("Heard", (progress.Quiet,), {"say": lambda self, line: said.append(line)})()
        )
        assert list(ray_pool.each(linger_in_a_task, [1.5])) == [1.5]
        assert 0 < len(said) < 5 and all(line.startswith("1.5: at stage, shard 00003, rows 0..7 for ") for line in said)

    def test_what_a_worker_logs_is_shown_by_the_driver_in_order(self, ray_pool, monkeypatch):
        from pipeline.engine import progress

        said = []
        monkeypatch.setattr(
            progress, "current", type("Heard", (progress.Quiet,), {"say": lambda self, line: said.append(line)})()
        )
        assert list(ray_pool.each(log_lines, [3, 2])) == [3, 2]
        assert sorted(said) == sorted(f"{of}: line {n}" for of in (3, 2) for n in range(of))
        assert [line for line in said if line.startswith("3")] == [f"3: line {n}" for n in range(3)]
        assert list(ray_pool.each(log_lines, [1])) == [1] and len(said) == 6, "each line is shown once"

    def test_a_store_as_a_ray_dataset(self, ray_pool, tmp_path, make_store):
        from pipeline.storage.raydata import dataset

        store = make_store(tmp_path / "corpus", [f"text {i}" for i in range(50)], shards=2)
        rows = dataset(store, ["text"]).take_all()
        assert sorted(r["text"] for r in rows) == sorted(f"text {i}" for i in range(50))


@pytest.mark.slow
def test_a_node_killed_mid_run_loses_nothing():
    """Two raylets; one is taken away while tasks run on it."""
    import ray
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    try:
        pool = OnRay(workers=2, address=cluster.address)
        seen, results = set(), []
        for index, node in enumerate(pool.each(where, [0.5] * 40)):
            results.append(node)
            seen.add(node)
            if index == 6:
                cluster.remove_node(second, allow_graceful=False)
        assert len(results) == 40 and not any(isinstance(r, Failure) for r in results)
        assert len(seen) == 2, "both nodes must have worked before one died"
        pool.close()
    finally:
        cluster.shutdown()


def test_without_a_word_workers_are_the_clusters_cpus_not_the_drivers(fake_ray):
    assert OnRay(address="auto").workers == OnRay(address="ray://head:10001").window == 24
    assert OnRay(5, address="auto").workers == 5 and OnRay().workers == 3 and fake_ray.options["num_cpus"] == 3


@pytest.mark.parametrize(
    "steps, most", [({}, 7), ({"one": {"workers": 2}}, 2), ({"one": {"workers": 9}}, 9), ({"other": {"workers": 2}}, 7)]
)
def test_the_workers_of_a_step_are_obeyed(fake_ray, steps, most):
    from pipeline.engine.recipe import Recipe, RunOptions
    from pipeline.engine.run import LazyPool, _Sized, make_pool

    page = Recipe("t", "root", (), run=RunOptions(address="auto", workers=7, steps=steps))
    lock = type("Held", (), {"still": lambda self: None})()
    pool = _Sized(LazyPool(lambda: make_pool(page), 7), page.hardware("one"), lock)
    assert list(pool.each(square, range(40))) == [n * n for n in range(40)]
    assert fake_ray.most == most


def test_nodes_that_go_away_are_not_counted_as_tries_of_a_task(fake_ray):
    left = [fake_ray.exceptions.NodeDiedError] * 9
    assert list(OnRay(address="auto").each(lambda task: left.pop() if left else task, ["whole"])) == ["whole"]
    (failure,) = OnRay(address="auto").each(lambda _: fake_ray.exceptions.NodeDiedError, ["lost"])
    assert isinstance(failure, Failure) and "NodeDiedError" in failure.message


def test_a_task_that_ran_out_of_memory_is_tried_again_with_more_as_far_as_a_node_has_it(fake_ray, caplog):
    left = [fake_ray.exceptions.OutOfMemoryError] * 3
    pool = OnRay(address="auto", memory=1_500_000_000)
    assert list(pool.each(lambda task: left.pop() if left else task, ["whole"])) == ["whole"]
    assert fake_ray.reserved == [1_500_000_000, 3_000_000_000, 4_000_000_000, 4_000_000_000]
    assert [line for line in caplog.messages if "out of memory" in line] == [
        "whole: out of memory; tried again with 2.8 GiB reserved",
        "whole: out of memory; tried again with 3.7 GiB reserved",
    ]


def test_work_waits_for_no_slow_task_and_results_come_in_order(fake_ray):
    begun = []
    fake_ray.wait = lambda refs, **_: (refs[-1:], refs[:-1])  # the first task is done last
    stream = OnRay(workers=3, address="auto").each(lambda task: begun.append(task) or task, range(50))
    assert next(stream) == 0 and begun == list(range(50))
    assert list(stream) == list(range(1, 50)) and fake_ray.most == 3


def test_a_task_that_waits_for_its_next_try_holds_no_other_up(fake_ray, monkeypatch):
    import types

    clock, begun, left = [0.0], [], [fake_ray.exceptions.NodeDiedError]

    def sleep(seconds):
        assert sorted(begun) == list(range(20)), "slept while there was work"
        clock[0] += seconds

    monkeypatch.setattr(
        "pipeline.engine.pool.time",
        types.SimpleNamespace(monotonic=lambda: clock[0], time_ns=time.time_ns, sleep=sleep),
    )
    monkeypatch.setattr("pipeline.engine.pool.BACKOFF", 8.0)

    def work(task):
        begun.append(task) if task not in begun else None
        return left.pop() if task == 0 and left else task

    assert list(OnRay(workers=3, address="auto").each(work, range(20))) == list(range(20))
    assert clock[0] == 8.0


@pytest.mark.parametrize(
    "nodes, asked, words",
    [
        ([{"CPU": 4, "memory": 12e9}] * 2, {"memory": 20 << 30}, "20.0 GiB a task asked for, no node has more than 11.2 GiB"),
        ([{"CPU": 4, "memory": 8e9, "GPU": 1}, {"CPU": 4, "memory": 64e9}], {"memory": 20 << 30, "gpus": 1}, "no node has a CPU, 1 GPU and 20.0 GiB"),
        ([{"CPU": 4, "GPU": 2}] * 4, {"gpus": 4}, "4 GPU a task asked for, no node has more than 2"),
        ([{"GPU": 1}], {}, "no node of the cluster has a CPU"),
        ([], {}, "no node of the cluster has a CPU"),
    ],
)  # fmt: skip
def test_what_no_single_node_has_is_an_error_at_once(fake_ray, nodes, asked, words):
    fake_ray.there = nodes
    with pytest.raises(UsageError, match=words) as fault:
        list(OnRay(address="auto").each(square, [1], **asked))
    assert "run.wait" in fault.value.hint


def test_hardware_that_an_autoscaler_brings_is_waited_for(fake_ray, monkeypatch):
    monkeypatch.setattr("pipeline.engine.pool.CHECK_EVERY", 0.0)
    monkeypatch.setattr("pipeline.engine.pool.OnRay._head_answers", lambda self: True)
    with pytest.raises(UsageError, match="1 GPU a task asked for, no node has more than 0") as fault:
        list(OnRay(address="auto").each(square, [1], gpus=1))
    assert "run.wait" in fault.value.hint
    fake_ray.gpus, answers = iter([0, 0, 1]), iter([[], [], []])
    usual = fake_ray.wait
    fake_ray.wait = lambda refs, **_: (next(answers), refs) if fake_ray.asked() else usual(refs)
    fake_ray.asked = lambda: answers.__length_hint__() > 0
    assert list(OnRay(address="auto", wait=600).each(square, [7], gpus=1)) == [49]
    fake_ray.gpus, fake_ray.wait = itertools.repeat(0), lambda refs, **_: ([], refs)
    with pytest.raises(UsageError, match="no node has more than 0, after 0.01 seconds of waiting"):
        list(OnRay(address="auto", wait=0.01).each(square, [7], gpus=1))


def test_a_head_that_does_not_answer_is_asked_nothing_more(fake_ray, monkeypatch):
    """A question to it waits until Ray ends this process, without a word of ours."""
    monkeypatch.setattr("pipeline.engine.pool.CHECK_EVERY", 0.0)
    monkeypatch.setattr("pipeline.engine.pool.GONE", 0.05)
    monkeypatch.setattr("pipeline.engine.pool._answers", lambda address: False)
    monkeypatch.setattr("pipeline.engine.pool._dead", list)
    done = []
    monkeypatch.setattr("pipeline.engine.on_worker.show_lines", lambda: done.append("lines"))
    nodes = fake_ray.nodes
    fake_ray.nodes = lambda: done.append("nodes") or nodes()
    fake_ray.wait = lambda refs, **_: done.append("wait") or ([], refs)
    pool = OnRay(address="auto")
    pool._head = "10.0.0.1:6379"
    with pytest.raises(HeadLost, match="its control store at 10.0.0.1:6379 does not answer"):
        list(pool.each(square, [7]))
    assert len(waits := done[done.index("wait") :]) > 2 and set(waits) == {"wait"}


def work_a_batch(name, seconds):
    """A batch of four rows, of which one takes long."""
    import pyarrow as pa

    from pipeline.engine.guard import each_row
    from pipeline.engine.watchdog import watchdog

    def work(batch):
        if "odd" in batch["text"].to_pylist():
            time.sleep(seconds)

    batch = pa.RecordBatch.from_pydict({"id": list("abcd"), "text": ["x", "y", "odd", "z"]})
    rows = partial(each_row, lambda: work, batch, "stage, shard 00003", 10)
    watchdog.at("stage, shard 00003,", "rows 10..14", rows=rows)
    work(batch)
    return name


def linger(seconds):
    from pipeline.engine.watchdog import watchdog

    watchdog.at("stage,", "shard 00003,", "rows 0..7")
    time.sleep(seconds)
    watchdog.at("rows 8..9")
    return seconds


def linger_in_a_task(seconds):
    """In a worker whose watchdog does not wait two minutes."""
    from pipeline.engine import watchdog

    usual, watchdog.LATE = watchdog.LATE, 0.2
    try:
        return on_worker.on_ray(linger, seconds)
    finally:
        watchdog.LATE = usual


def test_the_row_of_a_batch_that_takes_long_is_named(monkeypatch):
    from pipeline.engine import progress

    said = []
    monkeypatch.setattr("pipeline.engine.watchdog.LATE", 0.1)
    heard = type("Heard", (progress.Quiet,), {"say": lambda self, line: said.append(line)})
    monkeypatch.setattr(progress, "current", heard())
    assert list(Inline().each(lambda name: work_a_batch(name, 1.5), ["linger"])) == ["linger"]
    assert any(
        line.startswith("linger: at stage, shard 00003, rows 10..14, stage, shard 00003, row 12 (id c) for ")
        for line in said
    ), said


def log_lines(count):
    import logging

    for n in range(count):
        logging.getLogger("maetdol.test").info("%s: line %s", count, n)
        logging.getLogger("maetdol.test").debug("not shown")
    return count


def test_a_record_that_takes_long_is_named_and_nothing_is_cut_short(monkeypatch):
    from pipeline.engine import progress

    said = []
    monkeypatch.setattr("pipeline.engine.watchdog.LATE", 0.1)
    monkeypatch.setattr(
        progress, "current", type("Heard", (progress.Quiet,), {"say": lambda self, line: said.append(line)})()
    )
    assert list(Inline().each(linger, [0.5])) == [0.5]
    assert (
        said and all(line.startswith("0.5: at stage, shard 00003, rows 0..7 for ") for line in said) and len(said) < 4
    )
    said.clear()
    assert list(Inline().each(linger, [0.0] * 3)) == [0.0] * 3 and not said


def test_rows_bytes_and_drops_of_receipts_are_counted_by_stage(monkeypatch):
    """Rows that are held out for measuring are not dropped; what is no receipt, and what failed, counts nothing."""
    import types

    from pipeline.storage.ledger import Receipt

    total = Counter()

    class Counted:
        def __init__(self, name, description, tag_keys):
            self.name, self.tag_keys = name, tag_keys

        def inc(self, value, tags):
            assert value > 0 and tuple(tags) == self.tag_keys
            total[(self.name, *tags.values())] += value

    monkeypatch.setitem(sys.modules, "ray.util.metrics", types.SimpleNamespace(Counter=Counted))
    on_worker._counters.cache_clear()
    quality = Receipt("quality", 0, "k", "c", "l", rows=10, bytes=900, reasons={"word_count.low": 3})
    train = Receipt("train", -1, "k", "c", "l", reasons={"train.held_out": 2, "chat.tools": 1})
    for made in ([quality, quality], train, Failure("task", "why"), 7, []):
        on_worker.count(made)
    on_worker._counters.cache_clear()
    assert total == {
        ("maetdol_rows", "quality"): 20,
        ("maetdol_bytes", "quality"): 1800,
        ("maetdol_dropped", "quality", "word_count.low"): 6,
        ("maetdol_dropped", "train", "chat.tools"): 1,
    }
