"""`maetdol plan`: what is measured on a sample, carried over, left out and refused; nothing is left behind."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli import cli
from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.errors import UsageError
from pipeline.estimate import requests
from pipeline.estimate.sample import CostLine, StepMeasure, estimate, not_estimated
from pipeline.storage import artefacts
from stages.ingest import plan, sources
from stages.ingest.sources import File, drawn

WORDS = "the millstone turns slowly and grinds what the farmer brings from his field in the autumn of the year".split()
CHAIN = [{"quality": {"filters": [{"word_count": {"min": 30}}]}}, {"dedup": {}}, {"pii": {}}]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sixteen files of the same bytes but for numbers: 25 documents each, five of them too short."""
    folder = tmp_path_factory.mktemp("raw") / "files"
    folder.mkdir()
    for number in range(16):
        rows = []
        for row in range(25):
            words = [f"{word}{number:02d}{row:02d}{i:03d}" if i % 2 else word for i, word in enumerate(WORDS * 6)]
            rows.append({"text": " ".join(words[:20] if row < 5 else words), "title": f"{number:02d} {row:02d}"})
        (folder / f"{number:02d}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def recipe(folder, root, *steps):
    entries = [{"ingest": {"from": [str(folder)]}}, *(steps or CHAIN)]
    return parse({"name": "whole", "root": str(root), "steps": entries, "run": {"pool": "inline"}})


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_quarter_tells_rows_and_bytes_of_the_whole(files, tmp_path):
    page = recipe(files, tmp_path / "root")
    found = estimate(page, size_of(files) // 4 + 1, workers=4, scratch=str(tmp_path))
    assert found.sample_bytes * 4 == found.whole_bytes == size_of(files)
    assert not (tmp_path / "root").exists()
    run(page)
    for step in found.steps:
        store = page.store(step.step)
        assert step.rows == store.require()["rows"] > 0, step.step
        disk = sum(path.stat().st_size for path in Path(store.path).rglob("*") if path.is_file())
        assert disk * 0.8 < step.disk < disk * 1.35  # receipts and headers do not grow with the rows
    assert found.steps[1].read == pytest.approx(page.store("ingest").require()["bytes"], rel=0.05)
    assert found.steps[0].wall == found.steps[0].cpu / 4


def test_a_sample_of_everything_is_the_measured_run(files, tmp_path):
    found = estimate(recipe(files, tmp_path / "root"), 1 << 30, 1, str(tmp_path))
    assert found.sample_bytes == found.whole_bytes
    assert all(step.cpu == pytest.approx(step.sample_cpu) and step.read == step.sample_bytes for step in found.steps)
    assert all(step.memory is None or step.memory > 10 << 20 for step in found.steps)


def test_work_that_ends_at_a_limit_does_not_grow_beyond_it(files, tmp_path):
    trained = {"tokenizer": {"vocab_size": 400, "sample_mb": 0.01, "probe_mb": 0.01}}
    page = recipe(files, tmp_path / "root", *CHAIN, trained)
    found = {step.step: step for step in estimate(page, size_of(files) // 4 + 1, 8, str(tmp_path)).steps}
    last = found["tokenizer"]
    assert last.read == pytest.approx(4 * last.sample_bytes, rel=0.01)
    assert last.cpu == last.sample_cpu and last.wall == last.cpu
    assert last.disk < 4 * found["pii"].disk and last.rows == 0


def test_steps_that_run_a_model_or_call_a_teacher_are_named_and_so_is_what_needs_them(files, tmp_path):
    endpoint = {"kind": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m"}
    page = recipe(
        files, tmp_path / "root", *CHAIN, {"sft": {"teacher": endpoint}}, {"select": {}}, {"tokenizer": {"vocab_size": 400}},
        {"pack": {"of": "pii", "seq_len": 64}}, {"train": {"name": "base", "objective": "mlm", "tokenizer": "tokenizer"}},
    )  # fmt: skip
    why = not_estimated(page)
    assert [name for name in why if not why[name]] == ["ingest", "quality", "dedup", "pii", "tokenizer", "pack"]
    assert why["sft"].startswith("calls a teacher") and why["select"] == "needs sft" and "train-plan" in why["base"]
    found = estimate(page, 1 << 30, 1, str(tmp_path))
    assert [step.step for step in found.steps] == [step.name for step in page.steps]
    assert [step.step for step in found.steps if step.left_out] == ["sft", "select", "base"]


def test_a_step_over_a_judge_is_not_run_on_the_sample(files, tmp_path):
    judge = {
        "llm_judge": {
            "teacher": {
                "kind": "endpoint",
                "url": "http://127.0.0.1:9/v1",
                "model": "m",
                "journal": str(tmp_path / "j"),
            }
        }
    }
    page = recipe(files, tmp_path / "root", {"quality": {"filters": [judge]}}, {"pii": {}})
    assert not_estimated(page) == {"ingest": "", "quality": "calls a teacher", "pii": "needs quality"}


def test_what_cannot_be_sampled_is_refused(files, tmp_path):
    with pytest.raises(UsageError, match="no step of this recipe reads files"):
        estimate(recipe_of_store(files, tmp_path), 1 << 20, 1, str(tmp_path))
    beside = recipe(
        files, tmp_path / "other", *CHAIN, {"mix": {"of": ["pii", str(tmp_path / "made/ingest")], "by": "source"}}
    )
    with pytest.raises(UsageError, match="of which no sample is taken"):
        estimate(beside, 1000, 1, str(tmp_path))
    assert not list(tmp_path.glob("maetdol-plan-*"))


def recipe_of_store(files, tmp_path):
    made = recipe(files, tmp_path / "made", {"quality": {"filters": []}})
    run(made)
    steps = [{"pii": {"of": str(tmp_path / "made/ingest")}}]
    return parse({"name": "later", "root": str(tmp_path / "later"), "steps": steps, "run": {"pool": "inline"}})


def test_requests_are_those_of_a_run_on_object_storage(files, tmp_path, counted, monkeypatch):
    """Of twice the shards that were counted, and of steps that make one thing of all; what the user fetched before is let be."""
    trained = {"tokenizer": {"vocab_size": 400, "sample_mb": 0.1, "probe_mb": 0.01}}
    page = recipe(files, tmp_path / "root", *CHAIN, trained, {"pack": {"of": "pii", "seq_len": 64}})
    monkeypatch.setattr(requests, "COUNTED", size_of(files) // 2 + 1)
    monkeypatch.setattr(requests, "SHARDS", 6)
    monkeypatch.setattr(plan, "GROUP_BYTES", size_of(files) // 12)
    monkeypatch.setattr(plan, "FILE_BYTES", 0)
    caches, cached = [], artefacts.cached
    monkeypatch.setattr(
        artefacts, "cached", lambda name, fill: caches.append(os.environ["XDG_CACHE_HOME"]) or cached(name, fill)
    )
    before = dict(os.environ)
    found = estimate(page, size_of(files) // 4 + 1, 1, str(tmp_path), requests=True)
    assert caches and all(each.startswith(str(tmp_path)) for each in caches), "no tokenizer stays in the user's cache"
    assert dict(os.environ) == before and not counted.store and not list(tmp_path.iterdir())
    monkeypatch.setattr(artefacts, "cached", cached)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    counted.requests.clear()
    whole = recipe(files, "counted://whole/root", *CHAIN, trained, {"pack": {"of": "pii", "seq_len": 64}})
    run(whole)
    assert len(whole.store("ingest").shards()) >= 8
    for kind, asked in counted.requests.items():
        assert found.requests[kind] == pytest.approx(asked, rel=0.2, abs=10), (kind, found.requests, counted.requests)
    assert all(step.requests["PUT"] for step in found.steps)
    assert not estimate(page, size_of(files) // 4 + 1, 1, str(tmp_path)).requests, "only where they are asked for"


def test_the_input_is_listed_once(files, tmp_path, monkeypatch):
    listed, listing = [], sources.listing
    monkeypatch.setattr(
        sources, "listing", lambda given, *more, **named: listed.append(given) or listing(given, *more, **named)
    )
    trained = {"tokenizer": {"vocab_size": 400, "sample_mb": 0.1, "probe_mb": 0.01}}
    estimate(recipe(files, tmp_path / "root", *CHAIN, trained), size_of(files) // 4 + 1, 1, str(tmp_path))
    assert listed.count([str(files)]) == 1 and len(listed) > 1


def test_requests_of_a_shard_are_told_from_those_of_any_number():
    few, many = (requests.StepRequests(Counter(GET=100 + 8 * n, PUT=5), n, n) for n in (2, 6))
    line = requests.RequestLine.through(few, many)
    assert line.at(6) == {"GET": 148, "PUT": 5} and line.at(100) == {"GET": 900, "PUT": 5}
    assert requests.RequestLine.through(many, many).at(12) == {"GET": 296, "PUT": 10}


def test_files_on_object_storage_are_fetched_in_pieces():
    there = [
        File(f"{at}", f"s3://raw/{at}", size, "") for at, size in enumerate((0, 1, sources.PIECE, sources.PIECE + 1))
    ]
    asked = sources.requests_of(sources.Files([*there, File("here", "/here", 1 << 30, "")]))
    assert asked == {"LIST": 1, "HEAD": 4, "GET": 5}


def test_the_command_says_it_in_lines_and_in_json(files, tmp_path):
    page = {
        "name": "whole",
        "root": str(tmp_path / "root"),
        "steps": [{"ingest": {"from": [str(files)]}}, *CHAIN],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(page), "utf-8")
    flags = [
        "plan",
        str(path),
        "--sample",
        "20kB",
        "--workers",
        "8",
        "--core-hour",
        "36000",
        "--scratch",
        str(tmp_path),
        "-q",
    ]
    said = CliRunner().invoke(cli, flags)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:7]] == ["ingest", "quality", "dedup", "pii", "all"]
    assert "on 8 cores" in lines[0] and lines[-1].startswith("money: ")
    told = json.loads(CliRunner().invoke(cli, [*flags, "--json"]).stdout)
    assert told["whole_bytes"] == size_of(files) and told["money"]["run"] == pytest.approx(told["cpu"] * 10)
    assert told["cpu"] == pytest.approx(sum(step["cpu"] for step in told["steps"]) + 8 * told["start"])
    priced = json.loads(CliRunner().invoke(cli, [*flags, "--million-writes", "1e6", "--json"]).stdout)
    assert priced["money"]["requests"] == priced["requests"]["PUT"] + priced["requests"]["LIST"] > 20
    assert "requests to object storage:" in CliRunner().invoke(cli, [*flags, "--million-reads", "1"]).stdout
    assert CliRunner().invoke(cli, ["plan", str(path), "--sample", "much"]).exception.exit_code == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["recipe.yaml"]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(0, 5000), st.randoms())
def test_files_are_drawn_whatever_their_order_and_within_the_bytes(sizes, most, dice):
    files = [File(f"{number}.txt", f"/{number}", size, "") for number, size in enumerate(sizes)]
    found = drawn(files, most)
    mixed = list(files)
    dice.shuffle(mixed)
    assert set(drawn(mixed, most)) == set(found) <= set(files) and len(set(found)) == len(found) > 0
    held = sum(file.size for file in found)
    fits = [file for file in files if 0 < file.size <= most]
    assert held <= most if fits else len(found) == 1
    assert not fits or all(file in found or file.size > most - held for file in fits)


def taken(read: int, cpu: float) -> StepMeasure:
    return StepMeasure(read, 0, cpu, 0, None, 0)


def test_what_is_fixed_is_told_from_what_grows():
    assert CostLine.through(taken(50, 7.0), taken(100, 12.0)) == pytest.approx((2.0, 0.1))
    assert CostLine.through(taken(50, 5.0), taken(100, 12.0)) == pytest.approx((0.0, 0.12))  # never less than nothing
    assert CostLine.through(taken(50, 12.5), taken(100, 12.0)) == pytest.approx((12.0, 0.0))
    assert CostLine.through(taken(100, 9.0), taken(100, 12.0)) == pytest.approx(
        (0.0, 0.12)
    )  # one file: nothing says what is fixed
    assert CostLine.through(taken(0, 3.0), taken(0, 3.0)) == (3.0, 0.0)
    assert CostLine(2.0, 0.1).at(1000) == pytest.approx(102.0)
