"""What is proven is checked: damage of every kind is found, named and repaired by the command that is printed."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import Recipe, RunOptions, Step
from pipeline.engine.stage import Port, ShardStage, Stage, Work
from pipeline.engine.tasks import collect
from pipeline.errors import DamagedStore
from pipeline.storage import proof
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import ARTEFACT, Store

MADE: list[str] = []


class Shout(ShardStage):
    """Upper case."""

    def work(self, batch):
        MADE.append("shout")
        text = batch.schema.get_field_index("text")
        loud = [t.upper() for t in batch.column("text").to_pylist()]
        import pyarrow as pa

        return Work(
            batch.set_column(text, batch.schema.field(text), pa.array(loud, pa.large_string())),
            Ledger.rows(batch.column("id")),
        )


class PassTask:
    def __init__(self, source, shard, number, sink):
        self.source, self.shard, self.number, self.sink = source, shard, number, sink


def measure(task):
    MADE.append("pass")
    table = task.source.read(task.shard).select(["id", "text"])
    return task.sink.put(task.number, table, Ledger.rows(table["id"]), key="pass", stage="count")


class Count(Stage):
    """A barrier stage: a pass, then an artefact of it."""

    ports = {"of": Port("DOCUMENT")}
    output_shape = "artefact:count"

    def run(self, inputs, sink, pool):
        found = sink.sub("passes/measure")
        (source,) = inputs["of"]
        todo = [PassTask(source, shard, shard, found) for shard in source.shards() if found.receipt(shard) is None]
        collect(pool, measure, todo, "count")
        MADE.append("count")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "sub").mkdir()
            Path(folder, "n.txt").write_text(str(sum(len(found.read(shard)) for shard in found.shards())))
            Path(folder, "sub", "words.txt").write_text("\n".join(found.table(["text"])["text"].to_pylist()))
            ids = found.table(["id"])["id"].to_pylist()
            return [
                sink.put_artefact(
                    Path(folder), Ledger.rows(ids, out=[None] * len(ids)), key=self.key(inputs), stage="count"
                )
            ]


def page(root: Path) -> Recipe:
    steps = (
        Step("shout", "shout", Shout(), {"of": (str(root.parent / "corpus"),)}, "DOCUMENT"),
        Step("count", "count", Count(), {"of": ("shout",)}, "artefact:count"),
    )
    return Recipe("t", str(root), steps, run=RunOptions(pool="inline"))


def do(root: Path) -> list[str]:
    MADE.clear()
    runs.run(page(root), pool=Inline())
    return list(MADE)


def bytes_of(root: Path) -> dict[str, bytes]:
    """What must be equal again after a hint: everything but when and where it was made."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if path.name == proof.LIST:
            continue  # a copy of the receipts, and as they hold when
        if path.suffix == ".json" and "artefact/" not in name:
            told = json.loads(path.read_bytes())
            found[name] = repr(
                [told.get(word) for word in ("key", "content_hash", "ledger_hash", "index_hash", "rows", "files")]
            ).encode()
        else:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, make_store) -> Path:
    """A finished root: three shards, a pass of three, an artefact of two files."""
    home = tmp_path_factory.mktemp("verify")
    make_store(home / "corpus", [f"text {i}" for i in range(60)], shards=3)
    do(home / "root")
    return home


@pytest.fixture
def root(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "home")
    return tmp_path / "home" / "root"


def maetdol(*words: str) -> tuple[int, str]:
    """Exit code and output of a command, in this process."""
    result = CliRunner().invoke(cli, list(words), standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output


KINDS = [
    "shout/shards/00001.arrow",
    "shout/ledger/00001.arrow",
    "shout/index/00001.ids",
    "shout/receipts/00001.json",
    "shout/manifest.json",
    "count/artefact/sub/words.txt",
    "count/ledger/artefact.arrow",
    "count/receipts/artefact.json",
    "count/manifest.json",
    "count/passes/measure/shards/00002.arrow",
    "count/passes/measure/ledger/00002.arrow",
    "count/passes/measure/index/00002.ids",
    "count/passes/measure/receipts/00002.json",
]


def flip(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(bytes(data))


def test_a_sound_root_is_clean(root):
    code, said = maetdol("verify", str(root))
    assert code == 0 and "0 damaged or missing, 0 extra" in said
    code, said = maetdol("verify", "--json", str(root))
    told = json.loads(said)
    on_disk = [p for p in root.rglob("*") if p.is_file() and p.name != "lock.json"]
    assert code == 0 and told["files"] == len(on_disk) and not told["faults"], "every file was held"


@pytest.mark.parametrize("name", KINDS)
def test_one_flipped_byte_is_found_named_and_repaired_by_what_is_printed(root, name):
    before = bytes_of(root)
    flip(root / name)
    code, said = maetdol("verify", str(root))
    assert code == 1 and f"damaged  {root}/{name}" in said and "1 damaged" in said
    hint = next(line for line in said.splitlines() if line.startswith("  hint: ")).removeprefix("  hint: ")
    command, _, then = hint.partition(" and run again what made it")
    assert then and command.split()[0] == "maetdol"
    assert maetdol(*command.split()[1:])[0] == 0
    made = do(root)
    assert made.count("shout") <= 1 and made.count("pass") <= 1, "only what was damaged is redone"
    assert bytes_of(root) == before
    code, said = maetdol("verify", str(root))
    assert code == 0 and "0 damaged or missing, 0 extra" in said


@pytest.mark.parametrize("how", ["cut", "delete"])
@pytest.mark.parametrize("name", [name for name in KINDS if "passes" not in name])
def test_a_run_sees_by_sizes_what_is_cut_or_missing_and_redoes_that_alone(root, name, how):
    before = bytes_of(root)
    path = root / name
    path.unlink() if how == "delete" else path.write_bytes(path.read_bytes()[:-7])
    assert any(status.state != "done" for status in runs.plan(page(root)))
    assert maetdol("verify", str(root))[0] == (0 if name.endswith("manifest.json") and how == "delete" else 1)
    made = do(root)
    assert made.count("shout") <= 1 and "pass" not in made
    assert bytes_of(root) == before
    assert do(root) == [] and maetdol("verify", str(root))[0] == 0


def test_a_damaged_pass_is_made_again_when_its_step_is(root):
    before = bytes_of(root)
    (root / "count/passes/measure/shards/00002.arrow").write_bytes(b"cut")
    (root / "count/receipts/artefact.json").unlink()
    assert do(root) == ["pass", "count"] and bytes_of(root) == before


@pytest.mark.parametrize("name", ["shards/00001.arrow", "ledger/00001.arrow"])
def test_what_is_read_for_work_is_held_against_its_hash(root, name):
    """The length is right, a byte is not: sizes do not see it, whoever reads it does."""
    proof._held.clear()
    flip(root / "shout" / name, 0.4)
    (root / "count/manifest.json").unlink()
    shutil.rmtree(root / "count")
    store = Store(root / "shout")
    with pytest.raises(DamagedStore, match=name) as fault:
        store.ledgers() if "ledger" in name else do(root)
    assert f"maetdol verify --repair {root}/shout" in fault.value.hint
    assert not (root / "count/manifest.json").exists(), "nothing is committed on damage"


def test_an_index_and_an_artefact_are_held_where_they_are_used(root):
    row = Store(root / "shout").read(0)["id"][3].as_py()
    flip(root / "shout/index/00000.ids")
    with pytest.raises(DamagedStore, match="index/00000.ids"):
        Store(root / "shout").find(row)
    proof._held.clear()
    flip(root / "count/artefact/n.txt")
    with pytest.raises(DamagedStore, match="n.txt"):
        Store(root / "count").artefact()


def test_a_file_is_hashed_once_in_a_process(root, monkeypatch):
    proof._held.clear()
    hashed = []
    monkeypatch.setattr(proof, "_xxh3", lambda path, how=proof._xxh3: hashed.append(path) or how(path))
    store = Store(root / "shout")
    for _ in range(3):
        store.read(0), list(store.batches(0))
    assert len(hashed) == 1


def test_sizes_are_compared_by_listings_not_file_by_file(root, monkeypatch):
    def refuse(*_):
        raise AssertionError("a request for one file")

    monkeypatch.setattr("pipeline.storage.files.Local.size", refuse)
    monkeypatch.setattr("pipeline.storage.store.Store.receipt", refuse)
    assert all(runs.complete(page(root), step)[0] for step in page(root).steps)


def test_what_nothing_speaks_of_is_extra_and_no_damage(root):
    (root / "shout/shards/00009.arrow").write_bytes(b"left behind")
    (root / "count/artefact/old.bin").write_bytes(b"x")
    code, said = maetdol("verify", str(root))
    assert code == 0 and said.count("extra    ") == 2
    assert maetdol("verify", "--repair", str(root))[0] == 0
    assert not (root / "shout/shards/00009.arrow").exists() and do(root) == []


def test_receipts_of_before_are_read_and_checked(root):
    """Without sizes, index hash and hash of its own, as they were written before these were recorded."""
    for path in [*root.rglob("receipts/*.json"), *root.glob("*/manifest.json")]:
        told = json.loads(path.read_bytes())
        for word in ("hash", "sizes", "index_hash", "cpu_seconds", "columns_hash", "columns_in", "receipts"):
            told.pop(word, None)
        for entry in [*told.get("shards", []), *([told["artefact"]] if told.get("artefact") else [])]:
            entry.pop("sizes", None)
        path.write_text(json.dumps(told))
    for path in root.rglob(proof.LIST):
        path.unlink()
    assert do(root) == [] and maetdol("verify", str(root))[0] == 0
    for name in ("shout/shards/00001.arrow", "shout/index/00001.ids"):
        saved = (root / name).read_bytes()
        flip(root / name)
        assert f"{root}/{name}" in maetdol("verify", str(root))[1]
        (root / name).write_bytes(saved[:-9])
        if name.endswith(".arrow"):
            assert do(root) == ["shout"]
        (root / name).write_bytes(saved)


class TestPagesThatAreNone:
    """JSON that is no manifest or receipt: one line, and a hint that helps."""

    @pytest.mark.parametrize(
        "text",
        [
            "{}",
            "[]",
            "null",
            "7",
            '"word"',
            "{",
            "\x00",
            '{"format": 1}',
            '{"format": "1", "shards": {}}',
            "[" * 100_000,
        ],
    )
    def test_a_manifest(self, root, text):
        path = root / "shout/manifest.json"
        path.write_text(text)
        with pytest.raises(DamagedStore, match="manifest.json is damaged"):
            Store(root / "shout").shards()
        assert do(root) == [] and Store(root / "shout").require()["rows"] == 60, "it follows from the receipts"

    @pytest.mark.parametrize(
        "change",
        [{"shards": None}, {"shards": [7]}, {"rows": "many"}, {"lineage": {"of": [7]}}, {"shape": 3}, {"artefact": 7}],
    )
    def test_a_manifest_with_wrong_types(self, root, change):
        Store(root / "shout").write_manifest({**Store(root / "shout").require(), **change})
        with pytest.raises(DamagedStore, match="manifest.json is damaged"):
            Store(root / "shout").manifest()
        assert do(root) == []

    @pytest.mark.parametrize("text", ["[]", "null", "{}", "7", '{"stage": 7}', "[" * 100_000])
    def test_a_receipt(self, root, text):
        before = bytes_of(root)
        (root / "shout/receipts/00002.json").write_text(text)
        with pytest.raises(DamagedStore, match="receipts/00002.json is damaged") as fault:
            Store(root / "shout").receipt(2)
        assert "--repair" in fault.value.hint
        assert do(root) == ["shout"] and bytes_of(root) == before

    @pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a//b", "a/../../b", "..", "a\\..\\b", "a\0b", ""])
    @pytest.mark.parametrize("part", ["files", "sizes"])
    def test_names_that_leave_the_store_are_refused(self, root, name, part):
        path = root / "count/receipts/artefact.json"
        told = {word: value for word, value in json.loads(path.read_text()).items() if word not in ("hash", "sizes")}
        from pipeline.storage.ledger import with_hash

        told[part] = {name: "0" * 32} if part == "files" else {name: 3}
        path.write_text(json.dumps(with_hash(told)))
        for use in (
            Store(root / "count").artefact,
            Store(root / "count").ledgers,
            lambda: Store(root / "count").receipt(ARTEFACT),
        ):
            with pytest.raises(DamagedStore, match="outside the store"):
                use()
        assert maetdol("verify", str(root))[0] == 1
        assert do(root) == ["count"]


def test_a_receipt_proves_itself():
    receipt = Receipt(
        "s", 1, "k", "c", "l", notes={"n": {1: 2.5, 10: None}, "nan": float("inf")}, sizes={"shards/00001.arrow": 3}
    )
    data = receipt.dumps()
    assert Receipt.loads(data).sizes == receipt.sizes
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            assert Receipt.loads(bytes(changed)) == Receipt.loads(data), at
        except DamagedStore:
            continue


def test_every_flipped_byte_of_a_manifest_is_seen(root):
    store = Store(root / "shout")
    data, whole = (root / "shout/manifest.json").read_bytes(), store.require()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 7
        try:
            assert proof.manifest_of(bytes(changed), store.path) == whole, at
        except DamagedStore as fault:
            assert "verify --repair" in fault.hint
