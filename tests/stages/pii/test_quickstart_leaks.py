"""The quickstart after `pii`: nothing personal in any store, the planted values nowhere, the raw text deleted when asked.

Run on its steps that make text, from the crawl to the instructions, and as a slow test on the whole of it, models and
preferences included. Every check is shown a run with the fault in it, too.
"""

import json
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.pii import Pii
from stages.pii.commands import Audit, behind_pii

TEXT = ("site", "packages", "quality", "dedup", "pii", "decontaminate", "mix", "sft", "sft-unique", "sft-rows")
BEFORE = ("site", "packages", "quality", "dedup")


class Run:
    """A finished run and how to run it again, elsewhere or with other settings."""

    def __init__(self, root, repo, recipe, stores, settings):
        self.root, self.repo, self.recipe, self.stores, self.settings = root, repo, recipe, stores, settings

    def again(self, root, *settings, words=()):
        flags = [
            word for one in (*self.settings, f"root={root}", "run.pool=inline", *settings) for word in ("--set", one)
        ]
        command = [
            sys.executable,
            "-c",
            "from pipeline.cli import main; main()",
            "run",
            str(self.recipe),
            *flags,
            *words,
        ]
        done = subprocess.run(command, cwd=self.repo, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def texts(repo, tmp_path_factory):
    """The quickstart's steps that make text, run once."""
    import yaml

    page = yaml.safe_load((repo / "configs/quickstart.yaml").read_text("utf-8"))
    name = lambda step: step if isinstance(step, str) else next(o.get("name", word) for word, o in step.items())  # noqa: E731
    page["steps"] = [step for step in page["steps"] if name(step) in TEXT]
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts.yaml").write_text(yaml.safe_dump(page, allow_unicode=True, sort_keys=False), "utf-8")
    made = Run(
        folder / "run",
        repo,
        folder / "texts.yaml",
        set(TEXT) - set(BEFORE),
        ["packages.packages={max_files: 150, max_bytes: 900000}"],
    )
    code, log = made.again(made.root)
    assert code == 0, log
    (made.root / "terminal.log").write_text(log)
    return made


@pytest.fixture(params=["texts", pytest.param("quickstart", marks=pytest.mark.slow)])
def run(request, repo):
    if request.param == "texts":
        return request.getfixturevalue("texts")
    from tests.conftest import SMALL

    root = request.getfixturevalue("quickstart")
    return Run(root, repo, "configs/quickstart.yaml", {*TEXT, "dpo"} - set(BEFORE), SMALL)


@pytest.fixture(scope="module")
def planted(repo):
    """Every planted value, as written and without its separators."""
    found = set()

    def collect(node):
        if isinstance(node, str):
            found.update({node, node.replace("-", "").replace(" ", "")})
        else:
            for value in node.values() if isinstance(node, dict) else node:
                collect(value)

    collect(list(json.loads((repo / "configs/site/planted.json").read_text("utf-8")).values()))
    return sorted(value.encode() for value in found if len(value) >= 8)


def leaking(root, values, everywhere=False):
    """Files with a planted value; the rows of the steps before pii may hold them unless `everywhere`."""
    found = set()
    for path in (p for p in root.rglob("*") if p.is_file()):
        parts = path.relative_to(root).parts
        if (
            not everywhere
            and parts[0] in BEFORE
            and not ({"ledger", "receipts", "manifest.json"} & set(parts) or path.suffix in (".log", ".jsonl", ".json"))
        ):
            continue
        data = path.read_bytes()
        if any(value in data for value in values):
            found.add("/".join(parts))
    return found


def copied(run, tmp_path):
    shutil.copytree(run.root, tmp_path / "run")
    return tmp_path / "run"


def test_the_values_reach_the_steps_before_pii(run, planted):
    """Or nothing below would prove anything."""
    data = b"".join(path.read_bytes() for path in (run.root / "dedup" / "shards").glob("*.arrow"))
    assert sum(value in data for value in planted) >= 20


def test_the_planted_values_are_nowhere_after_pii_nor_in_a_ledger_or_log_before(run, planted):
    assert leaking(run.root, planted) == set()


@pytest.mark.parametrize("where", ["site/ledger/00000.arrow", "quality/receipts/00000.json", "dedup/manifest.json", "pii/shards/00000.arrow", "pii/ledger/00000.arrow", "sft/shards/00000.arrow",
                                   "report.html", "terminal.log", "tokenizer/artefact/tokenizer.json", "pretrain/artefact/log.jsonl"])  # fmt: skip
def test_a_value_put_anywhere_is_noticed(run, planted, tmp_path, where):
    target = tmp_path / where
    target.parent.mkdir(parents=True, exist_ok=True)
    if (run.root / where).exists():
        shutil.copy(run.root / where, target)
    with target.open("ab") as file:
        file.write(b"x" + planted[0] + b"x")
    assert leaking(tmp_path, planted) == {where}


def test_audit_finds_nothing_in_any_store_of_the_run(run, capsys):
    names = {store.name for store in behind_pii(str(run.root))}
    assert names == run.stores
    assert Audit(stores=(str(run.root),)).run() == 0, capsys.readouterr().out
    assert Audit(stores=(str(run.root / "dedup"),)).run() == 1


def test_audit_fails_when_one_row_of_one_store_leaks(run, tmp_path, planted, capsys):
    root = copied(run, tmp_path)
    store = Store(root / "mix")
    shard = store.shards()[0]
    rows = store.read(shard).to_pylist()
    rows[len(rows) // 2]["text"] = rows[len(rows) // 2]["text"] + " 문의 010-7241-5508로"
    manifest, ledger = store.require(), store.ledger(shard)
    store.put(
        shard,
        pa.Table.from_pylist(rows, store.schema),
        ledger,
        key=store.receipt(shard).key,
        stage="mix",
        input_ids=None,
    )
    store.commit_manifest(manifest, store.shards())
    assert Audit(stores=(str(root),)).run() == 1
    shown = capsys.readouterr().out
    assert "phone in text: 1" in shown and "7241" not in shown


def test_a_second_pass_changes_no_byte(run, tmp_path):
    source, sink = Store(run.root / "pii"), Store(tmp_path / "again")
    Pii().run(Inputs({"of": [source]}), sink, Inline())
    for shard in source.shards():
        name = f"shards/{shard:05d}.arrow"
        assert (run.root / "pii" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    raw = Store(tmp_path / "first")
    Pii().run(Inputs({"of": [Store(run.root / "dedup")]}), raw, Inline())
    assert raw.read(0).num_rows == source.read(0).num_rows
    assert raw.read(0)["text"] != Store(run.root / "dedup").read(0)["text"], "the first pass does change bytes"


def test_a_second_run_of_the_recipe_changes_no_byte(run, tmp_path):
    root = copied(run, tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    code, log = run.again(root)
    assert code == 0 and "nothing to do" in log, log
    assert {path: path.read_bytes() for path in before} == before


def test_drop_raw_deletes_the_text_before_pii_and_the_proofs_stay(run, tmp_path, planted):
    root = copied(run, tmp_path)
    kept = {
        path: path.read_bytes()
        for name in BEFORE
        for folder in ("ledger", "receipts")
        for path in (root / name / folder).glob("*")
    }
    code, log = run.again(root, "run.drop_raw=true")
    assert code == 0, log
    for name in BEFORE:
        assert not list((root / name).glob("shards/*")) and Store(root / name).require()["dropped_text"] is True
        assert Store(root / name).ledgers().num_rows and Store(root / name).receipts()
    assert {path: path.read_bytes() for path in kept} == kept
    assert leaking(root, planted, everywhere=True) == set(), "not one value is left under the root"
    code, log = run.again(root, "run.drop_raw=true", words=("--dry-run",))
    assert code == 0 and "done" in log and "stale" not in log and "follows" not in log, log


def test_nothing_is_deleted_before_pii_is_proven(run, tmp_path):
    root = copied(run, tmp_path)
    code, log = run.again(root, "run.drop_raw=true", "pii.hash=[email]", "pii.key_env=NO_SUCH_KEY_IN_THIS_ENVIRONMENT")
    assert code != 0 and "NO_SUCH_KEY" in log, log
    for name in BEFORE:
        assert list((root / name).glob("shards/*.arrow")) and not Store(root / name).require().get("dropped_text")
