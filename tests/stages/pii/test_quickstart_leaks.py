"""The quickstart after `pii`: nothing personal in any store, the planted values nowhere, the raw text deleted when asked.

Every check is a function, and is shown a run with the fault in it first.
"""

import json
import shutil

import pyarrow as pa
import pytest

from pipeline.pool import Inline
from pipeline.stage import Inputs
from pipeline.store import Store
from stages.pii import Pii
from stages.pii.commands import Audit, behind_pii

pytestmark = pytest.mark.slow

BEFORE = ("site", "packages", "quality", "dedup")


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
        if not everywhere and parts[0] in BEFORE and not ({"ledger", "receipts", "manifest.json"} & set(parts) or path.suffix in (".log", ".jsonl", ".json")):
            continue
        data = path.read_bytes()
        if any(value in data for value in values):
            found.add("/".join(parts))
    return found


def copied(quickstart, tmp_path):
    shutil.copytree(quickstart, tmp_path / "run")
    return tmp_path / "run"


def test_the_values_reach_the_steps_before_pii(quickstart, planted):
    """Or nothing below would prove anything."""
    data = b"".join(path.read_bytes() for path in (quickstart / "dedup" / "shards").glob("*.arrow"))
    assert sum(value in data for value in planted) >= 20


def test_the_planted_values_are_nowhere_after_pii_nor_in_a_ledger_or_log_before(quickstart, planted):
    assert leaking(quickstart, planted) == set()


@pytest.mark.parametrize("place", ["site/ledger/00000.arrow", "quality/receipts/00000.json", "dedup/manifest.json", "pii/shards/00000.arrow", "pii/ledger/00000.arrow", "sft/shards/00000.arrow",
                                   "report.html", "terminal.log", "tokenizer/artefact/tokenizer.json", "pretrain/artefact/log.jsonl"])  # fmt: skip
def test_a_value_put_anywhere_is_noticed(quickstart, planted, tmp_path, place):
    target = tmp_path / place
    target.parent.mkdir(parents=True)
    if (quickstart / place).exists():
        shutil.copy(quickstart / place, target)
    with target.open("ab") as file:
        file.write(b"x" + planted[0] + b"x")
    assert leaking(tmp_path, planted) == {place}


def test_audit_finds_nothing_in_any_store_of_the_run(quickstart, capsys):
    names = {store.name for store in behind_pii(str(quickstart))}
    assert names >= {"pii", "decontaminate", "mix", "sft", "sft-unique", "sft-rows", "dpo"} and not names & set(BEFORE)
    assert Audit(stores=(str(quickstart),)).run() == 0, capsys.readouterr().out
    assert Audit(stores=(str(quickstart / "dedup"),)).run() == 1


def test_audit_fails_when_one_row_of_one_store_leaks(quickstart, tmp_path, planted, capsys):
    root = copied(quickstart, tmp_path)
    store = Store(root / "mix")
    shard = store.shards()[0]
    rows = store.read(shard).to_pylist()
    rows[len(rows) // 2]["text"] = rows[len(rows) // 2]["text"] + " 문의 010-7241-5508로"
    manifest, ledger = store.require(), store.ledger(shard)
    store.put(shard, pa.Table.from_pylist(rows, store.schema), ledger, key=store.receipt(shard).key, stage="mix", input_ids=None)
    store.seal(manifest, store.shards())
    assert Audit(stores=(str(root),)).run() == 1
    shown = capsys.readouterr().out
    assert "phone in text: 1" in shown and "7241" not in shown


def test_a_second_pass_changes_no_byte(quickstart, tmp_path):
    source, sink = Store(quickstart / "pii"), Store(tmp_path / "again")
    Pii().run(Inputs({"of": [source]}), sink, Inline())
    for shard in source.shards():
        name = f"shards/{shard:05d}.arrow"
        assert (quickstart / "pii" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    raw = Store(tmp_path / "first")
    Pii().run(Inputs({"of": [Store(quickstart / "dedup")]}), raw, Inline())
    assert raw.read(0).num_rows == source.read(0).num_rows
    assert raw.read(0)["text"] != Store(quickstart / "dedup").read(0)["text"], "the first pass does change bytes"


def test_a_second_run_of_the_recipe_changes_no_byte(quickstart, tmp_path, maetdol_run):
    root = copied(quickstart, tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.parts[-2] != "run"}
    again = maetdol_run(root, "run.pool=inline")
    assert again.returncode == 0 and "nothing to do" in again.log, again.log
    assert {path: path.read_bytes() for path in before} == before


def test_drop_raw_deletes_the_text_before_pii_and_the_proofs_stay(quickstart, tmp_path, maetdol_run, planted):
    root = copied(quickstart, tmp_path)
    kept = {path: path.read_bytes() for name in BEFORE for folder in ("ledger", "receipts") for path in (root / name / folder).glob("*")}
    done = maetdol_run(root, "run.pool=inline", "run.drop_raw=true")
    assert done.returncode == 0, done.log
    for name in BEFORE:
        assert not list((root / name).glob("shards/*")) and Store(root / name).require()["dropped_text"] is True
        assert Store(root / name).ledgers().num_rows and Store(root / name).receipts()
    assert {path: path.read_bytes() for path in kept} == kept
    assert leaking(root, planted, everywhere=True) == set(), "not one value is left under the root"
    again = maetdol_run(root, "run.pool=inline", "run.drop_raw=true", words=("--dry-run",))
    assert again.returncode == 0 and "stale" not in again.log and "follows" not in again.log, again.log


def test_nothing_is_deleted_before_pii_is_proven(quickstart, tmp_path, maetdol_run):
    root = copied(quickstart, tmp_path)
    failed = maetdol_run(root, "run.pool=inline", "run.drop_raw=true", "pii.hash=[email]", "pii.key_env=NO_SUCH_KEY_IN_THIS_ENVIRONMENT")
    assert failed.returncode != 0 and "NO_SUCH_KEY" in failed.log
    for name in BEFORE:
        assert list((root / name).glob("shards/*.arrow")) and not Store(root / name).require().get("dropped_text")
