"""Walking a recipe: what is proven is not done again, what changed is, and only that."""

from typing import Annotated, ClassVar

import pyarrow as pa
import pytest

from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import Recipe, RunOptions, Step
from pipeline.engine.stage import Port, ShardStage, Stage, Work, stage_name
from pipeline.errors import RootLocked, StageFailed, WorkError
from pipeline.options import CONTENT, UNKEYED
from pipeline.schema import DOCUMENT
from pipeline.storage.ledger import Ledger
from pipeline.storage.lock import RootLock
from pipeline.storage.store import Store

DONE: list[str] = []


class Shout(ShardStage):
    """Upper-cases, and drops rows with a forbidden word."""

    drop: str = "nothing"
    note: Annotated[str, UNKEYED] = ""
    words: Annotated[str | None, CONTENT] = None

    def work(self, batch: pa.RecordBatch) -> Work:
        if len(batch):
            DONE.append(stage_name(type(self)))
        texts = batch.column("text").to_pylist()
        if "boom" in texts:
            raise ValueError("it said boom")
        reason = ["shout.forbidden" if self.drop in t else None for t in texts]
        upper = batch.set_column(2, DOCUMENT.field("text"), pa.array([t.upper() for t in texts], pa.large_string()))
        kept = upper.filter(pa.array([r is None for r in reason], pa.bool_()))
        return Work(
            kept, Ledger.rows(batch.column("id"), reason=reason, metrics={"shout.length": [len(t) for t in texts]})
        )


class Whisper(Shout):
    """The same under another name."""


class Masking(Whisper):
    redacts = True


class Count(Stage):
    """A barrier: one artefact over everything."""

    output_shape: ClassVar = "artefact:count"
    ports: ClassVar = {"of": Port("DOCUMENT", many=True)}

    def run(self, inputs, sink, pool):
        import tempfile
        from pathlib import Path

        DONE.append("count")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "n.txt").write_text(str(sum(s.require()["rows"] for s in inputs["of"])))
            ids = [i for s in inputs["of"] for i in s.table(["id"])["id"].to_pylist()]
            return [
                sink.put_artefact(
                    Path(folder), Ledger.rows(ids, out=[None] * len(ids)), key=self.key(inputs), stage="count"
                )
            ]


@pytest.fixture
def corpus(tmp_path, make_store):
    return make_store(tmp_path / "corpus", [f"text {i}" for i in range(90)], shards=3)


def recipe(tmp_path, corpus, drop="text 7", fuse=False, **options) -> Recipe:
    steps = (
        Step("shout", "shout", Shout(drop=drop, **options), {"of": (corpus.path,)}, "DOCUMENT"),
        Step("whisper", "whisper", Whisper(drop="TEXT 8"), {"of": ("shout",)}, "DOCUMENT"),
        Step("count", "count", Count(), {"of": ("whisper",)}, "artefact:count"),
    )
    return Recipe("t", str(tmp_path / "root"), steps, run=RunOptions(pool="inline", fuse=fuse))


def do(page) -> list[str]:
    DONE.clear()
    runs.run(page, pool=Inline())
    return list(DONE)


def test_a_second_run_does_nothing(tmp_path, corpus):
    page = recipe(tmp_path, corpus)
    assert do(page) == ["shout"] * 3 + ["whisper"] * 3 + ["count"]
    assert do(page) == []
    assert all(status.state == "done" for status in runs.plan(page))
    assert (page.store("count").artefact() / "n.txt").read_text() == "68"


def test_one_option_redoes_what_depends_on_it_and_says_why(tmp_path, corpus):
    do(recipe(tmp_path, corpus))
    changed = recipe(tmp_path, corpus, drop="text 33")
    plan = {status.step: status for status in runs.plan(changed)}
    assert plan["shout"].state == "stale" and "drop" in plan["shout"].why and plan["shout"].shards == "3 of 3 shards"
    assert plan["whisper"].state == plan["count"].state == "follows"
    # Shards whose rows come out the same end the cascade there: 1 and 3 lost their "text 7x" rows, shard 2 changed too.
    assert do(changed) == ["shout"] * 3 + ["whisper"] * 3 + ["count"]


def test_the_cascade_ends_where_bytes_are_the_same(tmp_path, corpus):
    do(recipe(tmp_path, corpus, drop="text 75"))
    # text 76 stands in the third shard like text 75: the first two come out as before.
    assert do(recipe(tmp_path, corpus, drop="text 76")) == ["shout"] * 3 + ["whisper"] + ["count"]


def test_operational_options_and_the_path_of_a_file_do_not_count(tmp_path, corpus):
    (tmp_path / "a.txt").write_text("words")
    do(recipe(tmp_path, corpus, words=str(tmp_path / "a.txt")))
    (tmp_path / "b.txt").write_text("words")
    assert do(recipe(tmp_path, corpus, words=str(tmp_path / "b.txt"), note="other")) == []
    (tmp_path / "b.txt").write_text("other words")
    assert "shout" in do(recipe(tmp_path, corpus, words=str(tmp_path / "b.txt")))


def test_a_lost_shard_alone_is_redone(tmp_path, corpus):
    page = recipe(tmp_path, corpus)
    do(page)
    page.store("shout").fs.delete("receipts/00001.json")
    assert do(page) == ["shout"], "whisper's input is byte for byte what it was"


def test_fused_and_unfused_agree(tmp_path, corpus):
    plain, together = recipe(tmp_path / "a", corpus), recipe(tmp_path / "b", corpus, fuse=True)
    do(plain), do(together)
    for name in ("shout", "whisper", "count"):
        one, two = plain.store(name).require(), together.store(name).require()
        assert [e["content_hash"] for e in one["shards"]] == [e["content_hash"] for e in two["shards"]]
        assert [e["key"] for e in one["shards"]] == [e["key"] for e in two["shards"]] and one["key"] == two["key"]
        assert plain.store(name).ledgers().equals(together.store(name).ledgers())
    assert not together.store("shout").fs.exists("shards/00000.arrow")
    assert do(together) == []
    together = recipe(tmp_path / "b", corpus, fuse=False)
    assert do(together) == ["shout"] * 3, "rows that were only proven are written once they are needed"


def test_a_failing_shard_is_named_and_the_others_are_kept(tmp_path, make_store):
    texts = [f"text {i}" for i in range(60)]
    texts[25] = "boom"
    bad = make_store(tmp_path / "bad", texts, shards=3)
    page = recipe(tmp_path, bad)
    with pytest.raises(StageFailed, match=r"1 of 3 tasks failed\n.*shard 00001, row 5 ") as fault:
        do(page)
    assert "it said boom" not in str(fault.value), "a message may quote the corpus"
    assert sorted(page.store("shout").receipts()) == [0, 2]


def test_one_driver_per_root(tmp_path, corpus):
    page = recipe(tmp_path, corpus)
    lock = RootLock(Store(page.root).fs)
    lock.me |= {"pid": 1, "started": __import__("pipeline.storage.lock", fromlist=["_started"])._started(1)}
    lock.refresh()
    with pytest.raises(RootLocked, match="process 1"):
        do(page)
    lock.me |= {"pid": 999_999_999}
    lock.refresh()
    assert do(page), "a dead holder's lock is taken over"
    assert not Store(page.root).fs.exists("lock.json")


def test_from_redoes_that_step(tmp_path, corpus):
    page = recipe(tmp_path, corpus)
    do(page)
    DONE.clear()
    runs.run(page, start="whisper", pool=Inline())
    assert DONE == ["whisper"] * 3, "count's input did not change"


def test_dropped_text_keeps_its_proofs(tmp_path, corpus):
    page = recipe(tmp_path, corpus)
    do(page)
    runs.drop_raw(page, page.step("count"))
    assert not page.store("shout").fs.names("shards") and page.store("shout").ledgers().num_rows == 90
    assert do(page) == []
    with pytest.raises(WorkError, match="deleted"):
        changed = recipe(tmp_path, corpus)
        object.__setattr__(changed.steps[1].stage, "drop", "TEXT 9")
        do(changed)


def test_ledgers_account_for_every_document(tmp_path, corpus):
    page = recipe(tmp_path, corpus)
    do(page)
    ledger = page.store("shout").ledgers()
    assert ledger.num_rows == 90 and ledger["reason"].null_count == 79
    assert page.store("shout").require()["reasons"] == {"shout.forbidden": 11}
    assert set(ledger["id"].to_pylist()) == set(corpus.table(["id"])["id"].to_pylist())


def dropping(tmp_path, corpus, last="whisper", of="shout"):
    """shout -> a step that masks, and a later one that reads shout too; the text before the mask is dropped."""
    steps = (
        Step("shout", "shout", Shout(drop="text 7"), {"of": (corpus.path,)}, "DOCUMENT"),
        Step("masked", "masking", Masking(drop="TEXT 8"), {"of": ("shout",)}, "DOCUMENT"),
        Step(last, "whisper", Whisper(drop="TEXT 2"), {"of": (of,)}, "DOCUMENT"),
    )
    return Recipe("t", str(tmp_path / "root"), steps, run=RunOptions(pool="inline", drop_raw=True))


def test_text_is_dropped_after_its_last_reader(tmp_path, corpus):
    page = dropping(tmp_path, corpus)
    assert do(page) == ["shout"] * 3 + ["masking"] * 3 + ["whisper"] * 3, "the step behind it still reads the text"
    assert not page.store("shout").fs.names("shards") and page.store("masked").fs.names("shards")
    assert do(page) == [] and corpus.fs.names("shards"), "a store of another root is not dropped"


@pytest.mark.parametrize("name", ["ledger/00001.arrow", "receipts/00001.json"])
def test_what_stays_of_dropped_text_is_held_against_its_size(tmp_path, corpus, name):
    page = dropping(tmp_path, corpus)
    do(page)
    path = tmp_path / "root/shout" / name
    path.write_bytes(path.read_bytes()[:-1])
    done, why = runs.complete(page, page.step("shout"))
    assert not done and f"{name} has" in why
    assert do(page).count("shout") >= 1, "made again from the corpus, which is there"
    assert runs.complete(page, page.step("shout"))[0] and not page.store("shout").fs.names("shards")


def test_a_step_that_needs_dropped_text_is_refused_before_anything_runs(tmp_path, corpus):
    do(dropping(tmp_path, corpus, of="masked"))
    added = dropping(tmp_path, corpus, last="later")
    other = Step("first", "shout", Shout(drop="none"), {"of": (corpus.path,)}, "DOCUMENT")
    added = Recipe("t", added.root, (other, *added.steps), run=added.run)
    with pytest.raises(WorkError, match="'later' must be redone.*deleted.*\n.*--from shout"):
        do(added)
    assert not added.store("first").fs.exists("receipts")
    runs.run(added, start="shout", pool=Inline())
    assert added.store("later").manifest() and not added.store("shout").fs.names("shards")


def test_a_store_that_is_a_link_out_of_the_root_is_not_dropped(tmp_path, corpus):
    page = dropping(tmp_path, corpus)
    (tmp_path / "elsewhere").mkdir(), (tmp_path / "root").mkdir()
    (tmp_path / "root/shout").symlink_to(tmp_path / "elsewhere")
    do(page)
    assert len(list((tmp_path / "elsewhere/shards").glob("*.arrow"))) == 3


class Counting(Shout):
    """Whose worker remembers how many batches it saw: rows that are tried alone must not be among them."""

    def worker(self, inputs, shard):
        seen = []

        def work(batch):
            seen.append(len(batch))
            return self.work(batch)._replace(notes={"batches": len(seen)})

        return work


def test_rows_are_tried_alone_without_a_trace(corpus, tmp_path, monkeypatch):
    """As at a task where a worker died: every row is told of before, then the batch, and the shards are the same."""
    from pipeline.engine.stage import Inputs
    from pipeline.engine.watchdog import watchdog

    told, made = [], []
    for number, careful in enumerate((None, lambda words, record: told.append(words))):
        monkeypatch.setattr(watchdog, "careful", careful)
        made.append(
            [
                (r.content_hash, r.notes)
                for r in Counting().run(Inputs({"of": [corpus]}, 1), Store(tmp_path / str(number)), Inline())
            ]
        )
    assert made[0] == made[1] and len(told) == 93
    ids = corpus.table(["id"])["id"].to_pylist()
    assert [word.partition("(id ")[2].rstrip(")") for word in told if "(id " in word] == ids
    assert told[30].endswith("shard 00000, rows 0..30") and told[0].endswith(f"shard 00000, row 0 (id {ids[0]})")

    monkeypatch.setattr(Counting, "repeatable", lambda self: False)
    told.clear()
    Counting().run(Inputs({"of": [corpus]}, 1), Store(tmp_path / "2"), Inline())
    assert [word.rpartition("rows ")[2] for word in told] == ["0..30"] * 3
