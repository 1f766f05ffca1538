"""A takedown over small stores: who goes, what stays byte for byte, what is listed, and that a kill at any moment is made good."""

import json
import shutil

import hypothesis
import hypothesis.strategies
import pyarrow as pa
import pytest

from pipeline.cli import cli
from pipeline.deletion import forgotten, lineage, takedown
from pipeline.engine import catalog
from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.errors import RootLocked, SourceError, UsageError, WorkError
from pipeline.inspection.sections import StepTotals
from pipeline.schema import CHAT, TOKENS, child_id
from pipeline.storage import verify
from pipeline.storage.files import Local, filesystem
from pipeline.storage.ledger import Ledger
from pipeline.storage.lock import RootLock
from pipeline.storage.store import Store
from stages.forget.commands import Forget

SHOP, OTHER = "http://shop.example/", "http://other.example/"


def commit(store, stage, shape, lineage, shards):
    store.commit_manifest(
        {
            "stage": stage,
            "shape": shape,
            "key": "k",
            "options": {},
            "lineage": {"of": [{"store": name} for name in lineage]},
            "schema": [],
        },
        shards,
    )
    return store


@pytest.fixture
def root(tmp_path, make_documents):
    """raw (2 shards) -> unique (a copy removed in favour of a page of the shop) -> chat, and pack."""
    folder = tmp_path / "root"
    texts = [f"Text number {n} about grain and stones." for n in range(6)]
    urls = [SHOP + "0", OTHER + "1", SHOP + "2", OTHER + "3", OTHER + "4", OTHER + "5"]
    table = make_documents(texts, url=urls, licence=["CC0", "MIT", "CC0", "MIT", "MIT", "MIT"])
    ids = table["id"].to_pylist()
    raw, unique = Store(folder / "raw"), Store(folder / "unique")
    for number, rows in enumerate((table.slice(0, 4), table.slice(4))):
        raw.put(number, rows, Ledger.rows(rows["id"]), key=f"raw{number}", stage="ingest")
    commit(raw, "ingest", "DOCUMENT", [], [0, 1])
    copies = Ledger.rows(ids[:4], reason=[None, "dedup.near", None, None], duplicate_of=[None, ids[0], None, None])
    unique.put(0, table.take([0, 2, 3]), copies, key="u0", stage="unknown")
    unique.put(1, table.slice(4), Ledger.rows(ids[4:]), key="u1", stage="unknown")
    commit(unique, "unknown", "DOCUMENT", ["raw"], [0, 1])
    chat = Store(folder / "chat")
    out = [child_id(i, "sft", "faq", 0) for i in ids]
    rows = [
        dict.fromkeys(CHAT.names)
        | {"id": out[n], "doc_id": ids[n], "messages": [{"role": "user", "content": texts[n]}]}
        for n in (0, 3)
    ]
    chat.put(
        0,
        pa.Table.from_pylist(rows, CHAT),
        Ledger.rows([ids[0], ids[2], ids[3]], out=[out[0], None, out[3]], reason=[None, "sft.none", None]),
        key="c0",
        stage="chat",
    )
    commit(chat, "chat", "CHAT", ["unique"], [0])
    chat.sub("passes/numbers").put(0, pa.table({"place": [1, 2, 3]}), Ledger.rows([]), key="n0", stage="chat")
    pack = Store(folder / "pack")
    packed = [
        {
            "id": "a" * 32,
            "input_ids": [5, 6, 7, 8, 9],
            "docs": [
                {"id": ids[0], "start": 0, "end": 3, "offset": 0},
                {"id": ids[3], "start": 3, "end": 5, "offset": 0},
            ],
        },
        {"id": "b" * 32, "input_ids": [5, 6], "docs": [{"id": ids[2], "start": 0, "end": 2, "offset": 0}]},
        {"id": "c" * 32, "input_ids": [7, 8, 9], "docs": [{"id": ids[3], "start": 0, "end": 3, "offset": 2}]},
    ]
    ledger = Ledger.rows([ids[0], ids[3], ids[2], ids[3]], out=["a" * 32, "a" * 32, "b" * 32, "c" * 32])
    pack.put(0, pa.Table.from_pylist(packed, TOKENS), ledger, key="p0", stage="pack")
    commit(pack, "pack", "TOKENS", ["unique"], [0])
    model = Store(folder / "model")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/weights").write_bytes(b"w")
    model.put_artefact(tmp_path / "files", Ledger.rows(["a" * 32, "c" * 32], out=[None, None]), key="m", stage="train")
    commit(model, "train", "artefact:model", ["pack"], [])
    words = Store(folder / "words")
    left_out = Ledger.rows(ids[2:], out=[None] * 4, reason=["tokenizer.budget"] * 3 + ["tokenizer.empty"])
    counted = words.put_ledger("left-out-00000", left_out, key="l", stage="tokenizer").reasons
    gathered = Ledger.rows(ids[:2], out=[None] * 2, reason=["tokenizer.budget", None])
    words.put_artefact(tmp_path / "files", gathered, key="w", stage="tokenizer", left_out=counted)
    commit(words, "tokenizer", "artefact:tokenizer", ["raw"], [])
    return folder


def forget(root, kind="domain", value="shop.example"):
    marks = [(kind, forgotten.mark(kind, value))]
    found = takedown.find(str(root), marks)
    takedown.begin(filesystem(root), found, marks)
    takedown.carry_out(str(root), found.lost)
    takedown.end(filesystem(root))
    return found


def snapshot(root):
    """Rows and ledgers of every store, and their receipts without times."""
    told = {}
    for store in lineage.stores_of(str(root)):
        for name, part in lineage.parts_of(store):
            for number, receipt in lineage.receipts_of(part):
                rows, ledger = lineage.rows_of(part, number, receipt), lineage.ledger_of(part, number)
                facts = (
                    receipt.key,
                    receipt.content_hash,
                    receipt.rows,
                    receipt.taken,
                    receipt.reasons,
                    receipt.rows_in,
                )
                told[name, number] = (rows and rows.to_pylist(), ledger and ledger.to_pylist(), facts)
        told[store.name] = json.loads(store.fs.read("manifest.json"))
    return told


def test_everything_made_of_it_goes_and_the_rest_stays_byte_for_byte(root):
    before = snapshot(root)
    hashes = {path: path.read_bytes() for path in root.rglob("*.arrow")}
    gone = {row["id"] for row in before["raw", 0][0] if row["url"].startswith(SHOP)}
    found = forget(root)
    after = snapshot(root)
    assert found.lost.ids == gone | {row["id"] for row in before["chat", 0][0] if row["doc_id"] in gone}
    for name in ("raw", "unique", "chat"):
        assert after[name, 0][0] == [row for row in before[name, 0][0] if row["id"] not in found.lost.ids]
        assert after[name]["rows"] == sum(after[name, n][2][2] for n in range(len(after[name]["shards"])))
    for name in ("raw", "unique"):
        for kind in ("shards", "ledger"):
            path = root / name / kind / "00001.arrow"
            assert path.read_bytes() == hashes[path]
    everything = b"".join(
        path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / "raw/ledger")
    )
    assert not [i for i in found.lost.ids if i.encode() in everything] and b"shop.example" not in everything


def test_packed_rows_are_masked_and_keep_their_length(root):
    forget(root)
    rows = Store(root / "pack").read(0).to_pylist()
    assert [row["input_ids"] for row in rows] == [[0, 0, 0, 8, 9], [7, 8, 9]]
    assert [[doc["start"] for doc in row["docs"]] for row in rows] == [[3], [0]]
    assert Store(root / "pack").ledger(0)["out"].to_pylist() == ["a" * 32, "c" * 32]


def test_keys_stand_so_nothing_is_stale_and_receipts_name_the_takedown(root):
    before = snapshot(root)
    found = forget(root)
    after = snapshot(root)
    for name in ("raw", "unique", "chat", "pack"):
        assert after[name]["shards"][0]["content_hash"] == before[name]["shards"][0]["content_hash"]
        assert after[name, 0][2][3]["by"] == [found.lost.takedown] and after[name]["takedowns"] == [found.lost.takedown]
        assert after[name, 0][2][0] == before[name, 0][2][0]
    assert Store(root / "raw").receipt(1).taken == {}


@pytest.mark.parametrize(
    ("gone", "rows_in", "reasons"),
    [
        ([0], 5, {"tokenizer.budget": 3, "tokenizer.empty": 1}),
        ([4], 5, {"tokenizer.budget": 3, "tokenizer.empty": 1}),
        ([0, 4], 4, {"tokenizer.budget": 2, "tokenizer.empty": 1}),
        ([2, 3, 4, 5], 2, {"tokenizer.budget": 1}),
        ([1], 5, {"tokenizer.budget": 4, "tokenizer.empty": 1}),
    ],
)
def test_a_tokenizer_counts_the_documents_that_are_left_gathered_or_not(root, gone, rows_in, reasons):
    """Its receipt counts those of its other ledgers too: it had lost them, or went on counting the forgotten."""
    ids = Store(root / "words").ledgers()["id"].to_pylist()
    for n in gone:
        forget(root, "id", ids[n])
    totals = StepTotals(Store(root / "words"))
    assert (totals.rows_in, dict(totals.reasons)) == (rows_in, reasons)
    assert not verify.verify(str(root)).faults


def test_models_and_copies_are_listed_and_the_copy_stays_out(root):
    found = forget(root)
    assert found.saw == {"model": 1}
    [copy] = found.copies
    assert (copy["store"], copy["reason"], copy["url"]) == ("unique", "dedup.near", OTHER + "1")
    row = next(row for row in Store(root / "unique").ledger(0).to_pylist() if row["id"] == copy["id"])
    assert row["reason"] == "dedup.near" and row["duplicate_of"] is None and row["note"] == takedown.LOST_REPRESENTATIVE


def test_input_outside_the_root_leaves_its_id_and_the_reason_and_no_more(root):
    found = forget(root)
    rows = [row for row in Store(root / "raw").ledger(0).to_pylist() if row["id"] in found.lost.ids]
    assert [row["reason"] for row in rows] == ["ingest.forgotten"] * 2 and {row["out"] for row in rows} == {None}


def test_passes_of_mere_numbers_are_dropped_where_positions_moved(root):
    forget(root, "licence", "cc0")
    assert not (root / "chat/passes/numbers").exists()


def test_by_licence_and_by_id(root):
    ids = takedown.find(str(root), [("licence", forgotten.mark("licence", "CC0"))]).lost.ids
    assert ids == takedown.find(str(root), [("domain", forgotten.mark("domain", "shop.example"))]).lost.ids
    last = Store(root / "raw").row(1, 1)["id"]
    assert takedown.find(str(root), [("id", last)]).lost.ids == {last}


def test_a_derived_id_is_refused_with_the_document_it_is_made_of(root):
    row = Store(root / "chat").row(0, 0)
    with pytest.raises(UsageError, match=row["doc_id"]):
        takedown.find(str(root), [("id", row["id"])])
    with pytest.raises(SourceError, match="knows no document"):
        takedown.find(str(root), [("id", "f" * 32)])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_write_it_is_finished_by_the_next_call(stride, root, tmp_path, monkeypatch):
    """At every (slow), or at every seventh, write and deletion."""
    whole = tmp_path / "whole"
    shutil.copytree(root, whole)
    forget(whole)
    expected = snapshot(whole)
    marks = [("domain", forgotten.mark("domain", "shop.example"))]
    real_write, real_delete = Local.write, Local.delete
    steps = 0
    while True:
        again, left = tmp_path / f"again{steps}", [steps]
        shutil.copytree(root, again)

        def step(real, *given, left=left):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*given)

        found = takedown.find(str(again), marks)
        monkeypatch.setattr(Local, "write", lambda *given: step(real_write, *given))
        monkeypatch.setattr(Local, "delete", lambda *given: step(real_delete, *given))
        try:
            takedown.begin(filesystem(again), found, marks)
            takedown.carry_out(str(again), found.lost)
            takedown.end(filesystem(again))
            finished = True
        except Killed:
            finished = False
        monkeypatch.undo()
        for name, part in (each for store in lineage.stores_of(str(again)) for each in lineage.parts_of(store)):
            told = part.listed()
            assert told == {shard: part.receipt(shard) for shard in told}, f"{name}, killed at step {steps}"
        under_way = takedown.pending(filesystem(again))
        if under_way is not None:
            takedown.carry_out(str(again), under_way[0])
            takedown.end(filesystem(again))
        if (again / forgotten.NAME).exists():
            assert snapshot(again) == expected, f"killed at step {steps}"
        if finished:
            break
        steps += stride
    assert steps > 40


def test_no_run_begins_while_one_is_unfinished(root):
    (root / forgotten.PENDING).write_text("{}")
    recipe = parse({"root": str(root), "steps": [{"ingest": {"from": str(root)}}], "run": {"pool": "inline"}})
    with pytest.raises(WorkError, match="forget"):
        run(recipe)


@hypothesis.given(
    hypothesis.strategies.lists(
        hypothesis.strategies.lists(
            hypothesis.strategies.tuples(hypothesis.strategies.integers(0, 5), hypothesis.strategies.integers(1, 4)),
            max_size=4,
        ),
        max_size=6,
    ),
    hypothesis.strategies.sets(hypothesis.strategies.integers(0, 5)),
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_masks_are_those_of_a_plain_loop(rows, gone):
    """Rows of (document, tokens) one behind the other, with two tokens of nobody at the end."""

    def name(doc):
        return f"{doc:032x}"

    made, expected = [], []
    for number, parts in enumerate(rows):
        at, docs, tokens, now = 0, [], [], []
        for doc, size in parts:
            docs.append({"id": name(doc), "start": at, "end": at + size, "offset": 7 * number})
            tokens += range(100 + at, 100 + at + size)
            now += [0] * size if doc in gone else range(100 + at, 100 + at + size)
            at += size
        made.append({"id": f"{number + 99:032x}", "input_ids": [*tokens, 1, 2], "docs": docs})
        left = [doc for doc in docs if doc["id"] not in map(name, gone)]
        if left or not docs:
            expected.append({"id": f"{number + 99:032x}", "input_ids": [*now, 1, 2], "docs": left})
    table = pa.Table.from_pylist(made, TOKENS)
    assert takedown.masked(table, pa.array(sorted(map(name, gone)), pa.large_string())).to_pylist() == expected


def dummy(folder, shape):
    """A finished store of that shape with one row."""
    store, rows = Store(folder), pa.table({"id": pa.array(["a" * 32], pa.large_string())})
    store.put(0, rows, Ledger.rows(rows["id"]), key="k", stage="other")
    store.commit_manifest({"stage": "other", "shape": shape, "key": "k"}, [0])
    return str(folder)


def command_of(name, inputs):
    """The shortest command line of a stage, without its sink: a dummy store for each input that it must have."""
    words = [name]
    for port, declared in catalog.stage(name).ports.items():
        if port == "of" or not declared.optional:
            words += ([] if port == "of" else [f"--{port.replace('_', '-')}"]) + [
                dummy(inputs / f"{name}-{port}", declared.shape.partition("|")[0])
            ]
    return words if len(words) > 1 else [name, dummy(inputs / name, "DOCUMENT")]


NEEDS = {"decontaminate": ["--against", "kobest.jsonl"]}
"""Options without which a stage's command line is refused for another reason."""


def verbs_that_write():
    return sorted(words for words, verb in catalog.verbs().items() if hasattr(verb.load(), "writes"))


def verb_line(words, folder, sink):
    """A verb's command line with every field it must have; no file stands where they say."""
    cls = catalog.verbs()[words].load()
    given = {name: "name" if name == "name" else str(folder / name) for name in cls.model_fields}
    given |= {"over": "learning_rate=1e-3", "of": str(folder / "of"), cls.writes: sink}
    line = [given[name] for name in cls.arguments]
    for name, field in cls.model_fields.items():
        if (field.is_required() or name == cls.writes) and name not in cls.arguments:
            line += (
                2 * [f"--{name.replace('_', '-')}", given[name]]
                if name == "of"
                else [f"--{name.replace('_', '-')}", given[name]]
            )
    return [*words.split(), *line]


@pytest.mark.parametrize("name", [*catalog.stage_names(), *verbs_that_write()])
def test_no_command_writes_below_a_root_that_is_locked_or_in_the_middle_of_a_takedown(name, tmp_path):
    """`forget` beside every command that makes a store: refused, and nothing is made."""
    root = tmp_path / "root"
    root.mkdir()
    sink = str(root / "deep/sink")
    line = (
        verb_line(name, tmp_path, sink)
        if name in verbs_that_write()
        else [*command_of(name, tmp_path / "in"), sink, "-q", *NEEDS.get(name, [])]
    )
    with RootLock(filesystem(root)), pytest.raises(RootLocked, match="root is in use"):
        cli.main(line, standalone_mode=False)
    (root / forgotten.PENDING).write_text("{}")
    with pytest.raises(WorkError, match=f"a takedown of {root} was not finished.*\n.*maetdol forget {root}"):
        cli.main(line, standalone_mode=False)
    assert [path.name for path in root.iterdir()] == [forgotten.PENDING]


def test_forget_waits_for_a_command_that_writes_below(root):
    with RootLock(filesystem(root / "unique")), pytest.raises(RootLocked, match="unique is in use"):
        Forget(root=str(root), domain=("shop.example",)).run()
    assert not (root / forgotten.PENDING).exists() and not (root / forgotten.NAME).exists()


def test_a_repair_waits_for_a_takedown_to_be_finished(root):
    (root / forgotten.PENDING).write_text("{}")
    (root / "raw/shards/00009.arrow").write_bytes(b"left over")
    with pytest.raises(WorkError, match="forget"):
        verify.repair(str(root / "raw"), verify.verify(str(root / "raw")))
    assert (root / "raw/shards/00009.arrow").exists()
