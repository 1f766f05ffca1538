"""One of twenty inputs comes, goes, is renamed or changes: exactly the shards it touches are redone, in ingest and in the steps behind
it, no other id changes, and the result is byte for byte that of a run that never knew another state."""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import parse
from pipeline.schema import doc_id
from pipeline.storage.files import filesystem
from pipeline.storage.store import Store
from stages.ingest import plan
from stages.ingest.sources import File
from stages.ingest.task import PARTS

FILES = 20
PER_SHARD = ("quality", "decontaminate", "pii", "compute_part")
"""Steps, and the pass of signatures, that work on one shard alone."""
STEPS = ("ingest", "quality", "decontaminate", "dedup", "pii")
WORDS = "mill river sack barley evening bell miller wheel stone bridge village flood winter harvest road".split()
SETTINGS = {"one a shard": {"ALONE": 1}, "several a shard": {"FILE_BYTES": 30_000, "GROUP_BYTES": 120_000}}
"""Of `plan`: every file alone, or some four together."""


@pytest.fixture(scope="module", params=["one a shard", pytest.param("several a shard", marks=pytest.mark.slow)])
def grouped(request):
    """The name of a setting, which holds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS[request.param].items():
            patch.setattr(plan, name, value)
        yield request.param


@pytest.fixture(scope="module")
def base(grouped, tmp_path_factory):
    """A root of all inputs, made; nothing is left to do."""
    root = str(tmp_path_factory.mktemp("base") / "root")
    laid(root, inputs())
    first = made(root)
    assert all(sorted(first[step]) == sorted(sources(root)) for step in PER_SHARD)
    assert made(root) == {}
    assert len(sources(root)) == FILES if grouped == "one a shard" else 3 <= len(sources(root)) <= 12
    return root


def page(seed: int) -> bytes:
    """Some pages of prose, one a line; every fourth has an address, and one stands in every file."""
    draw = random.Random(seed)
    lines = [" ".join(draw.choice(WORDS) for _ in range(90)) + f" number {seed} {n}" for n in range(8)]
    lines[3] += f" write to miller{seed}@example.org"
    lines[5] = "The same words stand in every file of this test. " * 12
    return "".join(f'{{"text": "{line}"}}\n' for line in lines).encode()


def inputs(count=FILES) -> dict[str, bytes]:
    return {f"{number:02d}.jsonl": page(number) for number in range(1, count + 1)}


def laid(root: str, files: dict[str, bytes]) -> None:
    """raw/ holds these files and no others; those that are the same are not touched."""
    raw = filesystem(f"{root}/raw")
    for name in set(raw.names("")) - set(files):
        raw.delete(name)
    for name, data in files.items():
        if not raw.exists(name) or raw.read(name) != data:
            raw.write(name, data)


class Counted(Inline):
    """The numbers of the shards that were made, by step or, within dedup and ingest, by the function that makes them."""

    def __init__(self):
        self.made: dict[str, list[int]] = {}

    def each(self, fn, tasks, **resources):
        for task in tasks:
            step = task.name.split(" ")[0] if fn.__name__ == "work_shard" else fn.__name__
            self.made.setdefault(step, []).append(task.number)
            yield self._one(fn, task)


def recipe(root: str):
    steps = [
        {"ingest": {"from": f"{root}/raw"}},
        {"quality": {"filters": [{"word_count": {"min": 20}}]}},
        {"decontaminate": {"against": [str(Path(__file__).with_name("against.jsonl"))]}},
        {"dedup": {}},
        {"pii": {}},
    ]
    return parse({"name": "r", "root": f"{root}/runs", "steps": steps, "run": {"pool": "inline", "fuse": False}}, "r")


def made(root: str) -> dict[str, list[int]]:
    """Run the recipe; returns what was made."""
    pool = Counted()
    runs.run(recipe(root), pool=pool)
    return pool.made


def proofs(root: str, step: str) -> dict[int, tuple[str, ...]]:
    """Of every shard what its bytes, ledger and index hash to, and its key."""
    receipts = Store(f"{root}/runs/{step}").receipts()
    return {n: (r.content_hash, r.ledger_hash, r.index_hash, r.key) for n, r in receipts.items()}


def sources(root: str, step: str = "ingest") -> dict[int, set[str]]:
    """File names of the rows of each shard."""
    store = Store(f"{root}/runs/{step}")
    return {shard: set(store.read(shard)["source"].to_pylist()) for shard in store.shards()}


def ids(root: str) -> dict[tuple[str, str], str]:
    rows = (
        row
        for shard in Store(f"{root}/runs/ingest").shards()
        for row in Store(f"{root}/runs/ingest").read(shard).to_pylist()
    )
    return {(row["source"], row["text"]): row["id"] for row in rows}


def swapped(files):
    return {**files, "04.jsonl": files["15.jsonl"], "15.jsonl": files["04.jsonl"]}


CHANGES = {
    "first added": (lambda files: {"00.jsonl": page(0), **files}, {"00.jsonl"}),
    "one in the middle added": (lambda files: {**files, "09b.jsonl": page(99)}, {"09b.jsonl"}),
    "last added": (lambda files: {**files, "99.jsonl": page(99)}, {"99.jsonl"}),
    "first removed": (lambda files: {name: data for name, data in files.items() if name != "01.jsonl"}, {"01.jsonl"}),
    "one in the middle removed": (
        lambda files: {n: data for n, data in files.items() if n != "10.jsonl"},
        {"10.jsonl"},
    ),
    "one renamed": (
        lambda files: {("55.jsonl" if name == "07.jsonl" else name): data for name, data in files.items()},
        {"07.jsonl", "55.jsonl"},
    ),
    "two swapped": (swapped, {"04.jsonl", "15.jsonl"}),
    "one changed in place": (lambda files: {**files, "12.jsonl": page(1212)}, {"12.jsonl"}),
    "one grown": (lambda files: {**files, "12.jsonl": files["12.jsonl"] + page(1212)}, {"12.jsonl"}),
}


def held(root: str, change: str, fresh: str) -> None:
    """Change a made root and hold it to what must hold; `fresh` is then made at once in the new state."""
    how, names = CHANGES[change]
    before, known, deduplicated = sources(root), ids(root), proofs(root, "dedup")
    laid(root, how(inputs()))
    again, after = made(root), sources(root)
    touched = sorted(shard for shard in after if after[shard] != before.get(shard) or after[shard] & names)
    assert sorted(again.get("run_task", [])) == [shard // PARTS for shard in touched]
    for step in ("quality", "decontaminate", "compute_part"):
        assert sorted(again.get(step, [])) == touched, step
    changed = {n for n, proof in proofs(root, "dedup").items() if proof[0] != deduplicated.get(n, [""])[0]}
    assert set(again.get("pii", [])) == changed and len(changed - {*touched}) <= 2, (
        "who stays of the page that stands in every file"
    )
    kept = {key: value for key, value in known.items() if key[0] not in names}
    assert kept.items() <= ids(root).items()
    alone = {"first removed": 0, "one in the middle removed": 0, "two swapped": 2}.get(change, 1)
    assert len(touched) == alone if len(before) == FILES else len(touched) <= alone + 2
    laid(fresh, how(inputs()))
    made(fresh)
    same(root, fresh)


def same(root: str, other: str) -> None:
    for step in STEPS:
        assert proofs(root, step) == proofs(other, step), step
        assert Store(f"{root}/runs/{step}").content_hash == Store(f"{other}/runs/{step}").content_hash


QUICK = ("first added", "one in the middle removed", "one renamed", "two swapped")
"""The others take as long and tell the same in a slow run."""


@pytest.mark.parametrize(
    "change", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in CHANGES]
)
def test_a_change_redoes_what_it_touches(base, tmp_path, change):
    shutil.copytree(base, tmp_path / "root")
    held(str(tmp_path / "root"), change, str(tmp_path / "at-once"))


@pytest.mark.slow
@pytest.mark.parametrize("change", ["first added", "one in the middle removed", "one changed in place"])
def test_a_change_on_object_storage_redoes_what_it_touches(repo, grouped, change):
    """Files are known by the ETags of the listing; root and inputs lie in one bucket of a moto server."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    spec = importlib.util.spec_from_file_location("count_requests", repo / "tests/bench/engine/count_requests.py")
    bench = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    with bench.server():
        root = f"s3://{bench.BUCKET}/root"
        laid(root, inputs())
        made(root)
        assert made(root) == {}
        held(root, change, f"s3://{bench.BUCKET}/at-once")


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from pipeline.storage.shards import ShardWriter
from stages.ingest import plan
from stages.ingest.sources import File
import test_shards

for name, value in {setting!r}.items():
    setattr(plan, name, value)
commit, left = ShardWriter.commit, [{after}]

def last(self, **given):
    made = commit(self, **given)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return made

ShardWriter.commit = last
test_shards.made({root!r})
"""


@pytest.mark.parametrize(
    "after", [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.slow)]
)
def test_a_run_killed_after_a_change_ends_as_one_that_was_not(base, grouped, repo, tmp_path, after):
    """Killed when so many shards had their receipts: in ingest, in the steps behind it, in dedup."""
    root, fresh = str(tmp_path / "root"), str(tmp_path / "at-once")
    shutil.copytree(base, root)
    for folder in (root, fresh):
        laid(folder, swapped(inputs()))
    paths = [str(repo), str(Path(__file__).parent)]
    code = KILLED.format(paths=paths, setting=SETTINGS[grouped], after=after, root=root)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    again = made(root)
    assert len(again.get("run_task", [])) == max(0, 2 - after), "what has a receipt is not done again"
    made(fresh)
    same(root, fresh)


RECORD = (
    "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://x.example/{0}\r\nWARC-Record-ID: <urn:uuid:{0}>\r\n"
    "Content-Type: text/plain\r\nContent-Length: {1}\r\n\r\n{2}\r\n\r\n"
)


def archive(*numbers: int) -> bytes:
    return "".join(RECORD.format(n, len(f"words {n}"), f"words {n}") for n in numbers).encode()


def test_a_record_of_several_archives_gets_the_same_ids_whatever_came_first(grouped, tmp_path):
    """The one case in which the id of another row changes with a file that comes or goes: their own ids are the same."""
    held = (1, 2), (2, 3), (3,), (1, 2, 3), (2,), (2,)
    names = [
        group[0].name for group in plan.groups([File(f"{each}.warc", "", plan.ALONE, "") for each in "abcdef"]).values()
    ]
    every, proven = {name: archive(*numbers) for name, numbers in zip(names, held)}, []
    for at, order in enumerate((names, names[::-1], [*names[1:3], names[0], *names[3:]], [])):
        root = str(tmp_path / str(at))
        states = [order[:count] for count in range(1, len(order))] + [names]
        for state in (*states, names[1:], [names[0], names[3]], names) if at == 2 else states:
            laid(root, {name: every[name] for name in state})
            page = {"name": "r", "root": f"{root}/runs", "steps": [{"ingest": {"from": f"{root}/raw"}}]}
            runs.run(parse(page, "r"), pool=Inline())
            store = Store(f"{root}/runs/ingest")
            found = [row for shard in store.shards() for row in store.read(shard)["id"].to_pylist()]
            records = sum(every[name].count(b"WARC/1.0") for name in state)
            assert len(found) == len(set(found)) == records
            texts = [row for shard in store.shards() for row in store.read(shard)["text"].to_pylist()]
            for text in set(texts):
                assert doc_id(f"http://x.example/{text[-1]}", f"urn:uuid:{text[-1]}") in found
        proven.append(proofs(root, "ingest"))
    assert proven[0] == proven[1] == proven[2] == proven[3]
