"""The whole chain on the project's own site, small: nothing lost, nothing leaked, nothing done twice, the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pyarrow.compute as pc
import pytest

from pipeline.inspection.inspect import stores_of
from pipeline.inspection.report import render
from pipeline.inspection.trace import trace
from pipeline.inspection.words import PageWords
from pipeline.storage.store import ARTEFACT, Store

TEXT_STEPS = "site packages quality dedup pii decontaminate mix tokenizer pack sft sft-unique sft-rows".split()


def hashes(root) -> dict[str, str]:
    return {name: Store(root / name).content_hash for name in TEXT_STEPS}


def ledger_hashes(root) -> dict[str, list[str]]:
    return {name: [e["ledger_hash"] for e in Store(root / name).require()["shards"]] for name in TEXT_STEPS}


def planted(repo) -> set[str]:
    """Every planted value, as written and with its separators taken out."""
    found = set()

    def collect(node):
        if isinstance(node, str):
            found.update({node, node.replace("-", "").replace(" ", "")})
        elif isinstance(node, dict):
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    for entities in json.loads((repo / "configs/site/planted.json").read_text("utf-8")).values():
        collect(entities)
    return {value for value in found if len(value) >= 8}


class TestOneRun:
    def test_every_step_was_made(self, quickstart):
        names = {store.name for store in stores_of(str(quickstart))}
        assert names >= {*TEXT_STEPS, "pretrain", "sft-model", "dpo", "dpo-model", "evaluate"}
        for name in ("pretrain", "sft-model", "dpo-model"):
            assert list(Store(quickstart / name).artefact().glob("*.safetensors"))

    def test_every_ledger_accounts_for_every_input(self, quickstart):
        by_path = {store.name: store for store in stores_of(str(quickstart))}
        checked = 0
        for store in by_path.values():
            manifest, ledger = store.require(), store.ledgers()
            wanted = set()
            for entry in manifest["lineage"].get("of", []):
                source = by_path[entry["store"]]
                wanted |= set(source.table(["id"])["id"].to_pylist())
            lost = wanted - set(ledger["id"].to_pylist())
            assert not lost, f"{store.name} lost {len(lost)} of {len(wanted)}"
            if manifest["shards"]:
                assert set(ledger["out"].drop_null().to_pylist()) == set(store.table(["id"])["id"].to_pylist()), (
                    store.name
                )
            assert not pc.any(pc.and_(pc.is_valid(ledger["reason"]), pc.is_valid(ledger["out"]))).as_py(), store.name
            checked += len(wanted)
        assert checked > 2000

    def test_a_second_run_does_nothing_and_says_so(self, quickstart, maetdol_run):
        before = {p: p.stat().st_mtime_ns for p in quickstart.rglob("*.json") if p.name != "lock.json"}
        again = maetdol_run(quickstart, "run.pool=inline")
        assert again.returncode == 0 and "nothing to do" in again.log, again.log
        assert {p: p.stat().st_mtime_ns for p in before} == before

    def test_one_dedup_option_redoes_dedup_and_what_follows(self, quickstart, maetdol_run):
        plan = maetdol_run(quickstart, "run.pool=inline", "dedup.threshold=0.9", words=("--dry-run",)).log
        states = {line.split()[0]: line.split()[1] for line in plan.splitlines() if line.startswith("  ")}
        assert {name for name, state in states.items() if state == "done"} == {"site", "packages", "quality"}
        assert states["dedup"] == "stale" and "option changed: threshold" in plan
        assert all(
            state == "follows" for name, state in states.items() if name not in ("site", "packages", "quality", "dedup")
        )

    def test_a_dpo_row_is_traced_to_page_span_and_rule(self, quickstart):
        pairs = Store(quickstart / "dpo")
        row = next(
            r
            for s in pairs.shards()
            for r in pairs.read(s).to_pylist()
            if r["span_start"] is not None and ".example" in (r["url"] or "")
        )
        told = trace(str(quickstart), row["id"])
        for step in ("site (ingest)", "quality (quality)", "dedup (dedup)", "pii (pii)", "sft (sft)", "dpo (dpo)"):
            assert step in told, told
        assert row["url"] in told and row["rule"] in told and f"span_start={row['span_start']}" in told
        down = trace(str(quickstart), row["url"])
        assert row["id"] in down, "and from the page down to the pair"

    def test_the_planted_values_are_nowhere_after_pii_and_in_no_ledger(self, quickstart, repo):
        values = [value.encode() for value in planted(repo)]
        before = ("site", "packages", "quality", "dedup")
        raw = (quickstart / "dedup" / "shards").glob("*.arrow")
        assert any(value in path.read_bytes() for path in raw for value in values), (
            "the site's values must reach dedup, or this proves nothing"
        )
        leaks = []
        for path in sorted(p for p in quickstart.rglob("*") if p.is_file()):
            step, inside = path.relative_to(quickstart).parts[0], path.relative_to(quickstart).parts[1:2]
            if step in before and inside not in (("ledger",), ("receipts",), ("manifest.json",)):
                continue
            data = path.read_bytes()
            leaks += [f"{path.relative_to(quickstart)}" for value in values if value in data]
        assert not leaks

    def test_the_disallowed_folders_were_never_requested(self, quickstart):
        asked = [
            json.loads(line)["path"]
            for p in (quickstart / "site").rglob("requests.jsonl")
            for line in p.read_text().splitlines()
        ]
        assert len(asked) > 60 and not [path for path in asked if path.startswith(("/private", "/admin"))]
        refused = Store(quickstart / "site").ledgers()["reason"].to_pylist()
        assert "crawl.robots" in refused

    def test_the_cp949_page_reads_as_korean(self, quickstart):
        rows = Store(quickstart / "site").table(["url", "text", "meta"]).to_pylist()
        (page,) = [row for row in rows if (row["url"] or "").endswith("/old/1998-notice")]
        hangul = sum("가" <= c <= "힣" for c in page["text"])
        assert hangul > 0.5 * sum(c.isalpha() for c in page["text"]) and "\ufffd" not in page["text"]

    def test_the_report_shows_every_part_and_no_value(self, quickstart, repo):
        page = (quickstart / "report.html").read_text("utf-8")
        for title in (
            "Funnel",
            "Why rows were dropped",
            "Duplicates",
            "Personal data",
            "Tokenizer",
            "Instructions",
            "Preference pairs",
            "Training",
            "Evaluation",
            "Recipe and versions",
        ):
            assert f"<h2>{title}</h2>" in page, title
        assert page.count("<script") == 1 and "http://127" not in page
        assert not [value for value in planted(repo) if value in page]

    def test_a_korean_reader_gets_the_report_in_korean(self, quickstart, monkeypatch):
        known, missing = PageWords.__call__, set()

        def noting(words, text, *values):
            missing.update({text} - set(words.known) if words.language == "ko" else ())
            return known(words, text, *values)

        monkeypatch.setattr(PageWords, "__call__", noting)
        page = render(str(quickstart), "ko")
        assert '<html lang="ko">' in page and "<h2>행을 버린 사유</h2>" in page
        assert not missing

    def test_every_model_has_its_card(self, quickstart, repo):
        from huggingface_hub import ModelCard

        report = json.loads((quickstart / "evaluate" / "artefact" / "report.json").read_text("utf-8"))
        for name in ("pretrain", "sft-model", "dpo-model"):
            card = ModelCard.load(quickstart / name / "artefact" / "README.md")
            chain = Store(quickstart / name).receipt(ARTEFACT).content_hash
            (measured,) = [
                m for m in report["models"] if m["chain"] and m["chain"][-1] == chain and m["name"] != "untrained"
            ]
            assert {one.metric_type: one.metric_value for one in card.data.eval_results} == measured["metrics"]
            assert (
                set(card.data.language) == {"en", "ko"}
                and "CC-BY-4.0" in card.text
                and "| site | ingest |" in card.text
            )
            assert not [value for value in planted(repo) if value in card.text]

    def test_the_notebooks_run_on_it(self, quickstart, repo):
        import nbformat
        from nbclient import NotebookClient

        os.environ["MAETDOL_ROOT"] = str(quickstart)
        for path in sorted((repo / "notebooks").glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            NotebookClient(
                notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
            ).execute()
            assert any(cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"), path.name


@pytest.fixture
def text_only(repo, tmp_path, quickstart):
    """A recipe file with the steps before training, reading the recorded crawl."""
    import yaml

    page = yaml.safe_load((repo / "configs/quickstart.yaml").read_text("utf-8"))
    page["steps"] = [
        s for s in page["steps"] if not (isinstance(s, dict) and next(iter(s)) in ("train", "dpo", "evaluate"))
    ]
    page["steps"][0] = {
        "ingest": {"name": "site", "from": f"{next((quickstart / 'site' / 'passes' / 'crawl').glob('*'))}/*/*.warc.gz"}
    }
    path = tmp_path / "text.yaml"
    path.write_text(yaml.safe_dump(page, allow_unicode=True, sort_keys=False), "utf-8")
    return path


TEXT_SMALL = ["packages.packages={max_files: 150, max_bytes: 900000}", "tokenizer.vocab_size=1200", "pack.seq_len=128"]


@pytest.fixture
def run_text(repo, text_only):

    def run(root, *settings: str, wait: bool = True, cwd=repo):
        flags = [word for setting in (*TEXT_SMALL, f"root={root}", *settings) for word in ("--set", setting)]
        command = [
            sys.executable,
            "-c",
            "from pipeline.cli import main; main()",
            "run",
            str(text_only),
            "--no-report",
            *flags,
        ]
        process = subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        if wait:
            process.log = process.communicate()[0]
            assert process.returncode == 0, process.log
        return process

    return run


def test_inline_and_two_workers_give_the_same_bytes(run_text, tmp_path):
    run_text(tmp_path / "inline", "run.pool=inline")
    run_text(tmp_path / "two", "run.workers=2")
    assert hashes(tmp_path / "inline") == hashes(tmp_path / "two")
    assert ledger_hashes(tmp_path / "inline") == ledger_hashes(tmp_path / "two")
    again = run_text(tmp_path / "two", "run.workers=2")
    assert "nothing to do" in again.log, again.log


@pytest.mark.slow
def test_one_worker_on_ray_gives_the_same_bytes_too(run_text, tmp_path):
    run_text(tmp_path / "inline", "run.pool=inline")
    run_text(tmp_path / "one", "run.workers=1")
    assert hashes(tmp_path / "inline") == hashes(tmp_path / "one")
    assert ledger_hashes(tmp_path / "inline") == ledger_hashes(tmp_path / "one")


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_bytes(run_text, tmp_path):
    """Ten kills at random moments of a run; a run that ends between two kills is compared, and another begun."""
    began = time.monotonic()
    run_text(tmp_path / "whole", "run.workers=2")
    lasts = time.monotonic() - began
    rng, kills, roots = random.Random(7), 0, [tmp_path / "killed-0"]
    while kills < 10:
        process = run_text(roots[-1], "run.workers=2", wait=False)
        try:
            process.wait(rng.uniform(0.2, 0.95) * lasts)
            roots.append(tmp_path / f"killed-{len(roots)}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    run_text(roots[-1], "run.workers=2")
    for root in roots:
        assert hashes(tmp_path / "whole") == hashes(root)
        assert ledger_hashes(tmp_path / "whole") == ledger_hashes(root)


def ray_workers(pid: int) -> list[int]:
    """The workers of Ray below a process that are at a task; Ray names them so."""
    said = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    parents, names = {}, {}
    for line in said.splitlines():
        number, parent, *words = line.split(maxsplit=2)
        parents[int(number)], names[int(number)] = int(parent), "".join(words)

    def below(number: int) -> bool:
        return number == pid or (number in parents and below(parents[number]))

    return [number for number, name in names.items() if name.startswith("ray::on_ray") and below(number)]


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_workers_killed_again_and_again_leave_what_a_quiet_run_leaves(run_text, tmp_path):
    """A worker that is at a task is killed every second or so, once something was finished since the last one: what is killed again
    before it can end is a task that ends workers, and is another test's (tests/pipeline/engine/test_process_ended.py)."""
    root, kills, seen = tmp_path / "killed", 0, -1
    process, dice = run_text(root, "run.workers=2", wait=False), random.Random(11)
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)  # a full pipe would stop it
    reading.start()
    while process.poll() is None:
        # os.walk passes over folders that are taken away while it looks; rglob does not.
        done = sum(len(names) for folder, _, names in os.walk(root) if folder.endswith("receipts"))
        if done > seen and (busy := ray_workers(process.pid)):
            try:
                os.kill(dice.choice(busy), signal.SIGKILL)
            except ProcessLookupError:
                continue
            kills, seen = kills + 1, done
            time.sleep(dice.uniform(0.3, 1))
        time.sleep(0.02)
    reading.join()
    assert process.returncode == 0 and "Traceback" not in "".join(lines), "".join(lines)
    run_text(tmp_path / "quiet", "run.pool=inline")
    assert hashes(root) == hashes(tmp_path / "quiet") and ledger_hashes(root) == ledger_hashes(tmp_path / "quiet")
    assert kills >= 8, kills
    print(f"\n  {kills} workers were killed")


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_driver_killed_mid_step_is_followed_by_one_elsewhere(run_text, repo, tmp_path):
    """The driver alone is killed, not its workers; another process in another folder, with another number of workers, goes on."""
    process, dedup = run_text(tmp_path / "moved", "run.workers=2", wait=False), tmp_path / "moved/dedup"
    while not list(dedup.glob("passes/*/receipts/*.json")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL and not (dedup / "manifest.json").exists()
    proven = {path: path.read_bytes() for path in (tmp_path / "moved").glob("*/receipts/*.json")}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/configs").symlink_to(repo / "configs")
    run_text(tmp_path / "moved", "run.workers=1", cwd=tmp_path / "elsewhere")
    run_text(tmp_path / "quiet", "run.pool=inline")
    assert hashes(tmp_path / "moved") == hashes(tmp_path / "quiet")
    assert ledger_hashes(tmp_path / "moved") == ledger_hashes(tmp_path / "quiet")
    assert proven and all(path.read_bytes() == data for path, data in proven.items()), "a proven shard was done again"


def test_killed_once_it_ends_with_the_same_bytes_and_redoes_nothing_proven(run_text, tmp_path):
    run_text(tmp_path / "whole", "run.pool=inline")
    process = run_text(tmp_path / "killed", "run.pool=inline", wait=False)
    while not (tmp_path / "killed" / "dedup" / "manifest.json").exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    proven = {p: p.read_bytes() for p in (tmp_path / "killed").glob("*/receipts/*.json")}
    run_text(tmp_path / "killed", "run.pool=inline")
    assert proven and all(p.read_bytes() == data for p, data in proven.items()), "a proven shard was done again"
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "killed")
    assert Store(tmp_path / "killed" / "tokenizer").receipt(ARTEFACT) is not None


KINDS = {
    "shard": "decontaminate/shards/*.arrow",
    "ledger": "pii/ledger/*.arrow",
    "index": "packages/index/*.ids",
    "receipt": "quality/receipts/*.json",
    "manifest": "mix/manifest.json",
    "artefact": "tokenizer/artefact/tokenizer.model",
    "artefact's receipt": "dpo-model/receipts/artefact.json",
    "artefact's ledger": "evaluate/ledger/artefact.arrow",
    "pass": "dedup/passes/minhash/shards/*.arrow",
    "pass's ledger": "sft/passes/find/ledger/*.arrow",
    "pass's receipt": "sft-unique/passes/exact/receipts/*.json",
}


@pytest.mark.slow
def test_one_flipped_byte_in_each_kind_of_file_is_found_named_and_repaired(quickstart, maetdol_run, repo, tmp_path):
    """What `verify` prints is done as it stands there; then everything is byte for byte as it was."""
    root = shutil.copytree(quickstart, tmp_path / "root")
    assert maetdol(repo, "verify", str(root))[0] == 0
    every = [
        path.relative_to(root)
        for path in root.rglob("*")
        if path.is_file() and path.suffix in (".arrow", ".ids") and "crawl" not in path.parts
    ]
    before, ledgers = {path: (root / path).read_bytes() for path in every}, ledger_hashes(root)
    victims = [sorted(root.glob(pattern))[0] for pattern in KINDS.values()]
    for path in victims:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    code, said = maetdol(repo, "verify", str(root))
    assert code == 1 and f"{len(victims)} damaged or missing, 0 extra" in said, said
    assert all(f"damaged  {path}: " in said for path in victims)
    for line in said.splitlines():
        if line.startswith("  hint: maetdol "):
            words = line.removeprefix("  hint: maetdol ").partition(" and run again what made it")[0].split()
            assert maetdol(repo, *words)[0] == 0
    again = maetdol_run(root, "run.pool=inline")
    assert again.returncode == 0, again.log
    assert maetdol(repo, "verify", str(root))[0] == 0
    # A pass of a step whose rows all stand is made again when it is needed; what is there is what it was.
    assert [path for path in every if not (root / path).exists() and "passes" not in path.parts] == []
    assert all((root / path).read_bytes() == data for path, data in before.items() if (root / path).exists())
    assert ledger_hashes(root) == ledgers


def maetdol(repo, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *words],
        cwd=repo,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr
