"""Records at which worker processes end again and again: the step ends with a ledger row for each, and every other row is whole."""

import json
import os
import sys

import pytest

from pipeline.engine.on_worker import Last
from pipeline.engine.pool import CAREFUL, MOST_FATAL, RETRIES, OnRay, _Try
from pipeline.engine.stage import Inputs, ShardStage, Work
from pipeline.errors import StageFailed
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store


class Odd(ShardStage):
    """Keeps every row, and ends its process at one that says `odd`."""

    def work(self, batch):
        if any("odd" in text for text in batch["text"].to_pylist()):
            os.kill(os.getpid(), 9)
        return Work(batch, Ledger.rows(batch.column("id")))


class Whole(Odd):
    """Ends its process at more than one row, whatever they say."""

    def work(self, batch):
        if len(batch) > 1:
            os.kill(os.getpid(), 9)
        return Work(batch, Ledger.rows(batch.column("id")))


def odd_ingest(task):
    """`run_task` where the shaping of one record and the reading of one file end the process."""
    from stages.ingest import shape
    from stages.ingest import task as tasks

    take, read_file = shape.Shaper.take, tasks.read_file

    def taken(self, raw, row_id, file):
        if "odd" in str(raw.body):
            os.kill(os.getpid(), 9)
        return take(self, raw, row_id, file)

    def read(file, max_bytes):
        for number, raw in enumerate(read_file(file, max_bytes)):
            if number == 2 and file.name == "b.jsonl":
                os.kill(os.getpid(), 9)
            yield raw

    shape.Shaper.take, tasks.read_file = taken, read
    try:
        return tasks.run_task(task)
    finally:
        shape.Shaper.take, tasks.read_file = take, read_file


@pytest.fixture(scope="module")
def pool():
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = OnRay(workers=2)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("pipeline.engine.pool.BACKOFF", 0.01)


def told(store: Store) -> list[tuple[str, str | None]]:
    return [(row["id"], row["reason"]) for n in store.hashes() for row in store.ledger(n).to_pylist()]


def test_rows_at_which_workers_die_are_ledger_rows_and_the_others_are_kept(pool, tmp_path, make_store, caplog):
    source = make_store(tmp_path / "in", ["a", "odd one", "c", "d", "odd two", "f", "g", "h"], shards=2)
    texts = {row["id"]: row["text"] for n in source.shards() for row in source.read(n).to_pylist()}
    for folder in ("out", "again"):
        sink, inputs = Store(tmp_path / folder), Inputs({"of": [source]})
        receipts = Odd().run(inputs, sink, pool)
        sink.commit_manifest(
            {"stage": "odd", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []},
            [receipt.shard for receipt in receipts],
        )
        ledger = told(sink)
        assert sorted(row_id for row_id, _ in ledger) == sorted(texts)
        assert {texts[row_id] for row_id, reason in ledger if reason == "odd.process_ended"} == {"odd one", "odd two"}
        kept = [row["text"] for n in sink.hashes() for row in sink.read(n).to_pylist()]
        assert kept == ["a", "c", "d", "f", "g", "h"]
        said = [line for line in caplog.messages if "it is left out" in line]
        assert len(said) == 2 and all(f"workers ended {RETRIES + 1} times" in line for line in said), said
        assert "shard 00000, row 1 (id " in said[0] + said[1] and "shard 00001, row 0 (id " in said[0] + said[1]
        caplog.clear()
    hashes = [Store(tmp_path / folder).hashes() for folder in ("out", "again")]
    assert hashes[0] == hashes[1], "made anew, the bytes are the same"
    assert [r.key for r in Odd().run(inputs, sink, pool)] == [r.key for r in receipts] and not caplog.messages


def test_where_no_row_alone_is_at_fault_the_task_fails(pool, tmp_path, make_store):
    source = make_store(tmp_path / "in", ["a", "b", "c"])
    with pytest.raises(StageFailed, match=r"given up after 5 tries, the last at .*rows 0\.\.3: "):
        Whole().run(Inputs({"of": [source]}), Store(tmp_path / "out"), pool)


def test_a_record_of_ingest_and_the_rest_of_a_file(pool, tmp_path):
    from stages.ingest import Ingest, plan
    from stages.ingest.sources import File

    rows = {"a.jsonl": ["one", "odd", "three"], "b.jsonl": ["four", "five", "six", "seven"], "c.jsonl": ["eight"]}
    for name, texts in rows.items():
        (tmp_path / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    stage = Ingest.build({"from": str(tmp_path / "*.jsonl")}, "ingest")
    sink = Store(tmp_path / "out")
    files = [File(name, str(tmp_path / name), (tmp_path / name).stat().st_size, name) for name in rows]
    (receipts,) = pool.each(odd_ingest, plan.tasks(files, stage, sink, "key"))
    assert [row["text"] for r in receipts for row in sink.read(r.shard).to_pylist()] == [
        "one",
        "three",
        "four",
        "five",
        "eight",
    ]
    left = [row for r in receipts for row in sink.ledger(r.shard).to_pylist() if row["reason"]]
    assert [(row["reason"], row["source"]) for row in left] == [
        ("ingest.process_ended", "a.jsonl"),
        ("ingest.process_ended", "b.jsonl"),
    ]
    assert left[1]["locator"] == "after:2" and sum(r.rows_in for r in receipts) == 7


def test_a_task_whose_every_record_ends_its_worker_fails_after_a_number_of_them(pool, monkeypatch):
    one, tries = _Try(0, "task", None), 0
    monkeypatch.setattr(
        "pipeline.engine.on_worker.taken_position",
        lambda task: Last(f"record {len(one.fatal)}", record=one.attempt >= CAREFUL),
    )

    def crashed(ref):
        raise pool.ray.exceptions.WorkerCrashedError

    monkeypatch.setattr(pool.ray, "get", crashed)
    while isinstance(one, _Try):
        tries += 1
        one = pool._get(None, one)
    assert tries == RETRIES + 1 + MOST_FATAL * (RETRIES + 1 - CAREFUL)
    assert f"given up after 5 tries, the last at record {MOST_FATAL}: " in one.message
