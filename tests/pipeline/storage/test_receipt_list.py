"""All receipts of a finished step are read at once, and what is read is what stands there, wherever a run was killed."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from pipeline.deletion.lineage import receipts_of
from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import Recipe, RunOptions, Step
from pipeline.engine.stage import Port, ShardStage, Stage, Work, input_shards
from pipeline.engine.tasks import run_tasks
from pipeline.inspection.sections import receipts_of as reported
from pipeline.storage import verify
from pipeline.storage.files import Local
from pipeline.storage.ledger import Ledger
from pipeline.storage.proof import LIST
from pipeline.storage.store import Store

WORKED: list[int] = []


class Longer(ShardStage):
    """Keeps texts of at least `least` characters."""

    least: int = 0

    def work(self, batch: pa.RecordBatch) -> Work:
        WORKED.append(len(batch))
        reason = [None if len(text) >= self.least else "longer.short" for text in batch.column("text").to_pylist()]
        kept = batch.filter(pa.array([word is None for word in reason], pa.bool_()))
        return Work(kept, Ledger.rows(batch.column("id"), reason=reason))


class Passing:
    """One task of `Halve`."""

    def __init__(self, sink: Store, number: int, key: str, source: Store, shard: int):
        self.sink, self.number, self.key, self.source, self.shard = sink, number, key, source, shard
        self.name = f"halve {number}"

    def __call__(self) -> pa.Table:
        return self.source.read(self.shard)


def halved(task: Passing):
    WORKED.append(task.number)
    table = task().slice(0, 2)
    return task.sink.put(task.number, table, Ledger.rows(table["id"]), key=task.key, stage="halve")


def whole(task: Passing):
    table = task()
    return task.sink.put(task.number, table, Ledger.rows(table["id"]), key=task.key, stage="halve")


class Halve(Stage):
    """The first two rows of every shard, by a pass."""

    ports: ClassVar = {"of": Port("DOCUMENT")}
    mark: int = 0

    def run(self, inputs, sink, pool):
        given = list(input_shards(inputs))
        found = sink.sub("passes/two")
        tasks = [Passing(found, one.number, self._key(inputs, one.content), one.store, one.shard) for one in given]
        made = run_tasks(pool, found, halved, tasks, "halve")
        tasks = [Passing(sink, one.shard, self._key(inputs, one.content_hash), found, one.shard) for one in made]
        return run_tasks(pool, sink, whole, tasks, "halve")

    def _key(self, inputs, content: str) -> str:
        return self.key(inputs, content, without=("of",))


def page(root: Path, corpus: Store, least: int = 0, mark: int = 0) -> Recipe:
    steps = (
        Step("longer", "longer", Longer(least=least), {"of": (corpus.path,)}, "DOCUMENT"),
        Step("halve", "halve", Halve(mark=mark), {"of": ("longer",)}, "DOCUMENT"),
    )
    return Recipe("t", str(root), steps, run=RunOptions(pool="inline"))


def do(recipe: Recipe) -> int:
    """Runs it; how many batches and pass shards were worked on."""
    WORKED.clear()
    runs.run(recipe, pool=Inline())
    return len(WORKED)


def parts(root: Path) -> list[Store]:
    return [part for store in verify.stores_at(str(root)) for part in verify.parts_of(store)]


def hold(root: Path) -> None:
    """Every list that counts says what the receipts say."""
    for part in parts(root):
        for name, receipt in part.listed().items():
            assert part.receipt(name) == receipt, f"{part.path}: {name}"


def state(root: Path) -> dict[str, list]:
    """What a root holds, without when and where it was made."""
    return {
        f"{part.path.removeprefix(str(root))}/{name}": [receipt.key, receipt.content_hash, receipt.ledger_hash]
        for part in parts(root)
        for name, receipt in receipts_of(part)
    }


@pytest.fixture
def corpus(tmp_path, make_store):
    return make_store(tmp_path / "corpus", [f"text {'x' * at}" for at in range(12)], shards=4)


@pytest.mark.parametrize("listed", [True, False])
def test_a_finished_steps_receipts_are_so_many_requests_however_many_shards(listed, counted, make_documents):
    """Without a list, as in roots of before, they are one request a shard."""
    found = []
    for shards in (8, 32):
        store = Store(f"counted://{listed}/{shards}")
        for number in range(shards):
            table = make_documents([f"text {number}"])
            store.put(number, table, Ledger.rows(table["id"]), key="k", stage="test")
        store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "k"}, range(shards))
        if not listed:
            store.unlist_receipts()
        counted.requests.clear()
        assert len(store.receipts()) == len(reported(store)) == shards
        assert len(store.files()) == shards and len(store.schema) == len(table.schema)
        assert dict(receipts_of(store)) == store.receipts()
        found.append(counted.requests.total())
    assert (found[0] == found[1]) is listed
    assert listed or found[1] - found[0] >= 3 * 24


def test_a_step_that_is_stale_reads_its_proofs_at_once(counted, make_documents):
    """One shard of the input changed: nothing is asked for each of the others, neither of the step nor of its pass."""
    costs = []
    for shards in (8, 32):
        root = f"counted://stale{shards}"
        store = Store(f"{root}/in")

        def lay(changed: str, store=store, shards=shards) -> None:
            for number in range(shards):
                table = make_documents([f"text {number if number else changed}"])
                if number == 0 or store.receipt(number) is None:
                    store.put(number, table, Ledger.rows(table["id"]), key=changed, stage="test")
            store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": changed}, range(shards))

        lay("a")
        recipe = page(Path("out"), store)
        recipe = Recipe("t", root, recipe.steps, run=recipe.run)
        assert do(recipe) == 2 * shards
        lay("b")
        counted.requests.clear()
        assert do(recipe) == 2
        costs.append(counted.requests.total())
    assert costs[0] == costs[1]


def test_roots_of_before_and_damaged_lists_are_read_one_by_one(tmp_path, corpus, caplog):
    do(page(tmp_path / "root", corpus))
    store = Store(tmp_path / "root/longer")
    expected = store.receipts()
    assert store.listed() and len(expected) == 4
    store.write_manifest({name: value for name, value in store.require().items() if name != "receipts"})
    assert not store.listed() and store.receipts() == expected, "a version of before made the manifest"
    damaged = Store(tmp_path / "root/halve/passes/two")
    expected, data = damaged.receipts(), bytearray(damaged.fs.read(LIST))
    for at in (0, 40, len(data) - 9):
        data[at] ^= 1
        damaged.fs.write(LIST, bytes(data))
        with caplog.at_level(logging.WARNING):
            assert not damaged.listed() and damaged.receipts() == expected
        assert "is damaged" in caplog.text
        (fault,) = verify.verify(str(tmp_path / "root")).faults
        assert fault.file == LIST and fault.kind == "damaged"
        data[at] ^= 1
    verify.repair(str(tmp_path / "root"), verify.verify(str(tmp_path / "root")))
    assert not verify.verify(str(tmp_path / "root")).faults and do(page(tmp_path / "root", corpus)) == 0


def test_a_list_that_tells_of_other_receipts_is_named(tmp_path, corpus):
    do(page(tmp_path / "root", corpus))
    store = Store(tmp_path / "root/halve/passes/two")
    known = list(store.receipts().values())
    store.list_receipts([*known[:2], replace(known[2], rows=7), known[3]])
    (fault,) = verify.verify(str(tmp_path / "root")).faults
    assert fault.file == LIST and "receipts/00002.json" in fault.what


class Killed(BaseException):
    pass


def killed_at(monkeypatch, steps: int, work) -> bool:
    """`work()`, killed before its write or deletion number `steps`; False where it came to its end before."""
    left = [steps]

    def step(real, where, name, *more):
        if not name.startswith("lock"):  # let go of by the system
            if left[0] == 0:
                raise Killed
            left[0] -= 1
        return real(where, name, *more)

    write, delete = Local.write, Local.delete
    with monkeypatch.context() as patch:
        patch.setattr(Local, "write", lambda *given: step(write, *given))
        patch.setattr(Local, "delete", lambda *given: step(delete, *given))
        try:
            work()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_write_lists_are_right_and_either_options_end_as_if_made_at_once(
    stride, tmp_path, corpus, monkeypatch
):
    """At every (slow), or at every ninth, write and deletion of a run under other options."""
    do(page(tmp_path / "first", corpus))
    do(page(tmp_path / "second", corpus, least=9, mark=1))
    expected = {least: state(tmp_path / name) for least, name in ((0, "first"), (9, "second"))}
    assert expected[0] != expected[9]
    steps, going = 0, True
    while going:
        root = tmp_path / "again"
        shutil.copytree(tmp_path / "first", root)
        going = killed_at(monkeypatch, steps, lambda root=root: do(page(root, corpus, least=9, mark=1)))
        hold(root)
        least = 9 if steps % 2 else 0
        do(page(root, corpus, least=least, mark=1 if least else 0))
        hold(root)
        assert state(root) == expected[least], f"killed at step {steps}"
        shutil.rmtree(root)
        steps += stride
    assert steps > 45
