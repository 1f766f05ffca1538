"""Tasks: where shards end, what a killed task does again, repeated ids, and files that tell nothing of workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import DiskFull, InfraError, WorkError
from pipeline.schema import doc_id
from stages.ingest import plan
from stages.ingest import task as tasks


def jsonl(path, rows) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def hashes(store):
    return store.hashes()


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(tasks, "BATCH_ROWS", 4)
    monkeypatch.setattr(tasks, "SHARD_ROWS", 8)


def test_a_large_file_becomes_several_shards(ingest, rows, small_shards, tmp_path):
    jsonl(tmp_path / "in.jsonl", [{"text": f"row {n}"} for n in range(30)])
    store = ingest(tmp_path / "in.jsonl")
    assert store.shards() == [0, 1, 2, 3] and [len(store.read(s)) for s in store.shards()] == [8, 8, 8, 6]
    assert [row["text"] for row in rows(store)] == [f"row {n}" for n in range(30)]
    assert [store.receipt(s).notes["last"] for s in store.shards()] == [False, False, False, True]


@pytest.mark.parametrize("lost", [[3], [2, 3], [0], [1], [0, 1, 2, 3]])
def test_a_killed_task_ends_with_the_same_bytes(ingest, small_shards, tmp_path, monkeypatch, lost):
    jsonl(tmp_path / "in.jsonl", [{"id": n % 20, "text": f"row {n}"} if n % 5 else {"id": n} for n in range(40)])
    first = ingest(tmp_path / "in.jsonl")
    before = {
        s: (first.receipt(s).content_hash, first.receipt(s).ledger_hash, first.receipt(s).finished)
        for s in first.shards()
    }
    read = [0, *(first.receipt(s).notes["read"] for s in first.shards())]
    for shard in lost:
        first.fs.delete(f"receipts/{shard:05d}.json")
    worked = []
    take = tasks.Shaper.take
    monkeypatch.setattr(
        tasks.Shaper, "take", lambda self, raw, row_id, file: worked.append(row_id) or take(self, raw, row_id, file)
    )
    again = ingest(tmp_path / "in.jsonl")
    assert {s: (again.receipt(s).content_hash, again.receipt(s).ledger_hash) for s in again.shards()} == {
        s: v[:2] for s, v in before.items()
    }
    assert len(worked) == 40 - read[min(lost)]


def test_nothing_is_done_twice(ingest, tmp_path, monkeypatch):
    jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    ingest(tmp_path / "in.jsonl")
    monkeypatch.setattr(tasks, "run_task", None)
    monkeypatch.setattr(tasks.Shaper, "take", None)
    ingest(tmp_path / "in.jsonl")


def test_a_task_asks_for_as_many_receipts_as_there_are_and_one(ingest, small_shards, tmp_path, monkeypatch):
    jsonl(tmp_path / "in.jsonl", [{"text": f"row {n}"} for n in range(30)])
    asked = []
    receipts_of = tasks.receipts_of

    def counted(task):
        receipt = type(task.sink).receipt
        with monkeypatch.context() as patch:
            patch.setattr(type(task.sink), "receipt", lambda self, shard: asked.append(shard) or receipt(self, shard))
            return receipts_of(task)

    monkeypatch.setattr(tasks, "receipts_of", counted)
    first = ingest(tmp_path / "in.jsonl")
    assert asked == [0]
    asked.clear()
    first.fs.delete("receipts/00002.json")
    ingest(tmp_path / "in.jsonl")
    assert asked == [0, 1, 2]


def test_one_changed_file_redoes_its_own_task(ingest, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "ALONE", 1)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        jsonl(folder / f"{name}.jsonl", [{"text": name}])
    first = ingest(folder)
    finished = {s: first.receipt(s).key for s in first.shards()}
    jsonl(folder / "b.jsonl", [{"text": "other"}])
    second = {s: r.key for s, r in ingest(folder).receipts().items()}
    (changed,) = [s for s in second if second[s] != finished[s]]
    assert first.read(changed)["source"].to_pylist() == ["b.jsonl"]


def test_repeated_ids_in_a_file_get_an_ordinal_and_a_note(ingest, rows, tmp_path):
    jsonl(
        tmp_path / "in.jsonl",
        [
            {"id": "x", "text": "first"},
            {"id": "y", "text": "other"},
            {"id": "x", "text": "again"},
            {"id": "x", "text": None},
        ],
    )
    store = ingest(tmp_path / "in.jsonl")
    assert [row["id"] for row in rows(store)] == [
        doc_id("in.jsonl", "id:x"),
        doc_id("in.jsonl", "id:y"),
        doc_id("in.jsonl", "id:x", 1),
    ]
    ledger = store.ledgers().to_pylist()
    assert [row["note"] for row in ledger] == [None, None, "repeat 1 of an id", "repeat 2 of an id"]
    assert ledger[3]["id"] == doc_id("in.jsonl", "id:x", 2) and ledger[3]["reason"] == "ingest.null_text"


WARC = "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://x.example/{0}\r\nWARC-Record-ID: <urn:uuid:{0}>\r\nContent-Length: {1}\r\n\r\n{2}\r\n\r\n"


def warc(path, numbers) -> None:
    path.write_text("".join(WARC.format(n, len(f"words {n}"), f"words {n}") for n in numbers), newline="")


def test_ids_of_archives_do_not_depend_on_how_records_lie_in_files(ingest, rows, tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    warc(tmp_path / "one/all.warc", range(6))
    warc(tmp_path / "two/a.warc", range(3))
    warc(tmp_path / "two/b.warc", range(3, 6))
    assert {r["id"]: r["text"] for r in rows(ingest(tmp_path / "one", "o1"))} == {
        r["id"]: r["text"] for r in rows(ingest(tmp_path / "two", "o2"))
    }


def test_the_same_records_in_two_tasks_are_told_apart(ingest, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "ALONE", 1)
    folder = tmp_path / "in"
    folder.mkdir()
    for name, numbers in (("a", range(4)), ("b", range(4, 6)), ("c", range(2, 5)), ("d", range(3, 4))):
        warc(folder / f"{name}.warc", numbers)
    store = ingest(folder)
    ids = [row["id"] for row in rows(store)]
    assert len(ids) == 10 == len(set(ids))
    assert doc_id("http://x.example/3", "urn:uuid:3", 1) in ids and doc_id("http://x.example/3", "urn:uuid:3", 2) in ids
    for shard in store.shards():
        assert set(store.receipt(shard).notes["against"]) < {other for other in store.shards() if other <= shard}
    before = hashes(store)
    monkeypatch.setattr(tasks.Shaper, "take", None)
    assert hashes(ingest(folder)) == before


def test_ids_that_agree_in_the_half_that_is_compared_are_left_as_they_are(ingest, tmp_path, monkeypatch):
    """Once a task knows the shards that hold its ids, what is still alike are hashes and no ids: it is done again once, not for ever."""
    monkeypatch.setattr(plan, "ALONE", 1)
    (tmp_path / "in").mkdir()
    for name in "ab":
        jsonl(tmp_path / f"in/{name}.jsonl", [{"text": name}])
    asked = []

    def alike(sink, pool, receipts):
        asked.append(sorted(receipt.shard for receipt in receipts))
        assert len(asked) < 5
        first, second = asked[0]
        return {second // tasks.PARTS: {first}}

    monkeypatch.setattr(plan, "collisions", alike)
    store = ingest(tmp_path / "in")
    assert len(asked) == 2 and [store.receipt(shard).notes["against"] for shard in asked[0]] == [[], asked[0][:1]]


def test_a_store_without_rows_has_its_columns(ingest, tmp_path):
    (tmp_path / "in.jsonl").write_text("not json\n")
    store = ingest(tmp_path / "in.jsonl")
    assert (
        store.shards() == [0]
        and len(store.read(0)) == 0
        and store.read(0).schema.names[:3] == ["id", "content_id", "text"]
    )


def test_a_record_that_no_reader_foresaw_is_a_row(ingest, rows, tmp_path, monkeypatch):
    """Its neighbours and the other files go on; the note names the kind of fault and quotes nothing."""
    (tmp_path / "in").mkdir()
    for name in "ab":
        jsonl(tmp_path / f"in/{name}.jsonl", [{"text": f"{name}{n}"} for n in range(4)])
    take = tasks.Shaper.take

    def odd(self, raw, row_id, file):
        if raw.body["text"] == "a2":
            raise KeyError(raw.body["text"])
        return take(self, raw, row_id, file)

    monkeypatch.setattr(tasks.Shaper, "take", odd)
    store = ingest(tmp_path / "in")
    assert [row["text"] for row in rows(store)] == ["a0", "a1", "a3", "b0", "b1", "b2", "b3"]
    assert [(r["reason"], r["note"]) for r in store.ledgers().to_pylist() if r["reason"]] == [
        ("ingest.failed", "unforeseen KeyError")
    ]


def test_a_broken_file_among_many_is_named(ingest, tmp_path):
    """Where a record that gave no row stands is in its ledger row, and `trace` finds it by the file's name."""
    from pipeline.inspection.trace import trace

    (tmp_path / "in/sub").mkdir(parents=True)
    for number in range(60):
        jsonl(tmp_path / f"in/{number}.jsonl", [{"text": f"row {number}"}])
    (tmp_path / "in/sub/깨진.jsonl").write_text('{"text": "a"}\n{"text": \n')
    warc(tmp_path / "in/a.warc", [1])
    (tmp_path / "in/a.warc").open("a").write("junk")
    store = ingest(tmp_path / "in")
    dropped = [row for row in store.ledgers().to_pylist() if row["reason"]]
    assert [(row["reason"], row["source"], row["locator"]) for row in dropped] == [
        ("ingest.broken_record", "a.warc", "record:1"), ("ingest.broken_record", "sub/깨진.jsonl", "line:2"),
    ]  # fmt: skip
    assert all(
        row["source"] is None and row["locator"] is None for row in store.ledgers().to_pylist() if not row["reason"]
    )
    told = trace(str(tmp_path), "깨진.jsonl")
    assert "dropped: ingest.broken_record" in told and "from sub/깨진.jsonl line:2" in told
    assert dropped[0]["id"] in trace(str(tmp_path), "a.warc")


NAMED = {
    "kim.minsu@example.org.pdf": b"%PDF-1.7\n", "이력서 010-1234-5678.jsonl": b'{"text": 1}\n', "대구광역시 수성구 동대구로 23길 12.bin": b"\x00\x01\x02" * 99,
    "sub/hong@example.com/x.jsonl": b"{\n", "notes.park@example.net": b"\x00\x01\x02" * 99,
}  # fmt: skip
VALUES = ("kim.minsu", "1234-5678", "23길 12", "hong@", "park@", "lee@", "choi@")


def test_no_ledger_holds_the_personal_data_of_a_name(ingest, tmp_path):
    """Names of files, ids that rows bring, keys and headers that notes would quote: masked by pii's rules, and found all the same."""
    from pipeline.inspection.trace import trace

    for name, data in NAMED.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    jsonl(tmp_path / "in/rows.jsonl", [{"id": "lee@example.org", "choi@example.org": 1}])
    head = (
        "WARC/1.0\r\nWARC-Type: lee@example.org\r\nWARC-Record-ID: <urn:uuid:1>\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n"
    )
    (tmp_path / "in/odd.warc").write_text(head)
    store = ingest(tmp_path / "in")
    dropped = [row for row in store.ledgers().to_pylist() if row["reason"]]
    assert len(dropped) == len(NAMED) + 2 and all(row["source"] for row in dropped)
    said = json.dumps(dropped, ensure_ascii=False)
    assert not [value for value in VALUES if value in said], said
    for name in NAMED:
        told = trace(str(tmp_path), name)
        assert "dropped: ingest." in told and not [value for value in VALUES if value in told]


PLAIN = ("CC-MAIN-20240102030405-20240102060708-00012.warc.gz", "2024-01-02/page.html", "record:12345678", "batch:12:row:1234567", "urn:uuid:01234567-0123-4567-8901-234567890123", "a.html", "자료.txt")  # fmt: skip


def test_names_that_hold_nothing_are_not_looked_at(monkeypatch):
    """The rules of pii cost seconds to load: most ledgers do without."""
    from pipeline.inspection import masks

    monkeypatch.setattr(masks, "mask", lambda texts: pytest.fail(f"looked at {texts}"))
    assert masks.masked([*PLAIN, None, ""]) == [*PLAIN, None, ""]


def test_an_answer_that_waited_in_vain_is_named(ingest, tmp_path):
    jsonl(
        tmp_path / "in.jsonl",
        [
            {"prompt": "a", "completion": "b", "label": True},
            {"prompt": "c", "completion": "d", "label": True},
            {"prompt": "c", "completion": "e", "label": False},
        ],
    )
    ledger = ingest(tmp_path / "in.jsonl", **{"as": "pair"}).ledgers().to_pylist()
    assert [(row["reason"], row["locator"]) for row in ledger if row["reason"]] == [("ingest.unpaired", "line:1")]


def test_a_reader_that_fails_costs_the_rest_of_its_file(ingest, rows, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "ab":
        jsonl(tmp_path / f"in/{name}.jsonl", [{"text": f"{name}{n}"} for n in range(4)])
    whole = tasks.read_file

    def broken(file, max_bytes):
        for number, raw in enumerate(whole(file, max_bytes)):
            if file.name == "a.jsonl" and number == 2:
                raise ZeroDivisionError("text of the corpus")
            yield raw

    monkeypatch.setattr(tasks, "read_file", broken)
    store = ingest(tmp_path / "in")
    assert [row["text"] for row in rows(store)] == ["a0", "a1", "b0", "b1", "b2", "b3"]
    assert [(r["reason"], r["note"]) for r in store.ledgers().to_pylist() if r["reason"]] == [
        ("ingest.failed", "unforeseen ZeroDivisionError")
    ]


def test_a_row_the_columns_cannot_hold_is_a_fault_of_its_own(ingest, rows, tmp_path, monkeypatch):
    jsonl(tmp_path / "in.jsonl", [{"text": f"row {n}"} for n in range(5)])
    take = tasks.Shaper.take

    def odd(self, raw, row_id, file):
        title = 2**70 if raw.body["text"] == "row 3" else None
        return [outcome._replace(values=outcome.values | {"title": title}) for outcome in take(self, raw, row_id, file)]

    monkeypatch.setattr(tasks.Shaper, "take", odd)
    store = ingest(tmp_path / "in.jsonl")
    assert [row["text"] for row in rows(store)] == ["row 0", "row 1", "row 2", "row 4"]
    assert [r["reason"] for r in store.ledgers().to_pylist()] == [None, None, None, "ingest.failed", None]


@pytest.mark.parametrize(
    "fault", [InfraError("gone", ""), DiskFull("full", ""), ImportError("no brotli"), MemoryError()]
)
def test_what_is_no_records_fault_stops_the_task(ingest, tmp_path, monkeypatch, fault):
    jsonl(tmp_path / "in.jsonl", [{"text": "row"}])

    def stop(self, raw, row_id, file):
        raise fault

    monkeypatch.setattr(tasks.Shaper, "take", stop)
    with pytest.raises((type(fault), WorkError)):
        ingest(tmp_path / "in.jsonl")


MEASURED = """
import re, sys
from pathlib import Path
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.ingest import Ingest
stage = Ingest.build({"from": sys.argv[1]}, "ingest")
receipts = stage.run(Inputs(), Store(sys.argv[2]), Inline())
print(sum(r.rows for r in receipts), int(re.search("VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
"""Its peak as Linux keeps it for the program; getrusage would say what the test run had when it forked, if that was more."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of the process as Linux tells it")
def test_a_packed_file_larger_than_memory_allows_is_streamed(repo, tmp_path):
    """600 MB of JSON Lines in gzip, one line of 200 MB among them, in under 500 MB of memory."""
    import gzip
    import os
    import subprocess
    import sys

    line = json.dumps({"text": "맷돌이 돈다. " * 1500}, ensure_ascii=False).encode() + b"\n"
    with gzip.open(tmp_path / "in.jsonl.gz", "wb", compresslevel=1) as out:
        for number in range(400 * 1024 * 1024 // len(line)):
            out.write(line)
            if number == 1000:
                out.write(b'{"text": "')
                for _ in range(200):
                    out.write(b"x" * (1 << 20))
                out.write(b'"}\n')
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "in.jsonl.gz"), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    rows, megabytes = map(int, run.stdout.split())
    assert rows == 400 * 1024 * 1024 // len(line) and megabytes < 500
    from pipeline.storage.store import Store

    store = Store(tmp_path / "out")
    assert len(store.shards()) == 2 and store.ledgers()["reason"].drop_null().to_pylist() == ["ingest.too_large"]
