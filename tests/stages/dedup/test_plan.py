"""Plans show and do not touch; committing one commits that and no other; caps stop, warnings warn; drop-all leaves no copy."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.engine import progress
from pipeline.errors import MaetdolError, SourceError, UsageError, WorkError
from pipeline.storage.store import Store
from stages.dedup import plan as plans


def said(*words: str) -> str:
    """What the command prints; raises what it raises."""
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False, standalone_mode=False)
    return result.output


@pytest.fixture
def copies(make_store, tmp_path):
    """Twelve rows of one source of which eleven go, twelve of another of which none does."""
    base = " ".join(f"word{n}" for n in range(60))
    texts = [f"{base} tail{min(n, 9)}" for n in range(12)] + [
        " ".join(f"own{n}x{m}" for m in range(30)) for n in range(12)
    ]
    sources = ["farm"] * 12 + ["press"] * 12
    urls = [f"https://{source}.example/{n}" for n, source in enumerate(sources)]
    return make_store(tmp_path / "in", texts, shards=2, source=sources, url=urls)


def test_a_plan_says_what_would_go_and_touches_nothing(copies, dedup, decisions, tmp_path):
    output = said(
        "dedup", str(tmp_path / "in"), str(tmp_path / "out"), "--plan", str(tmp_path / "plan.json"), "--quiet"
    )
    page = json.loads((tmp_path / "plan.json").read_text())
    assert (page["rows"], page["removed"]) == (24, 11)
    assert page["sources"] == {"farm": [12, 11]} == page["over_caps"]
    assert page["rules"] == {"dedup.near": 11}
    assert page["hosts"] == {"farm.example": [12, 11]}
    assert sum(page["similarity"].values()) == 11
    (cluster,) = page["largest"]
    assert (
        cluster["documents"] == 12
        and len(cluster["removed"]) == 3
        and cluster["representative"]["text"].startswith("word0 word1")
    )
    assert cluster["representative"]["id"] not in [removed["id"] for removed in cluster["removed"]]
    assert (
        "11 of 24 rows would go" in output
        and "source farm" in output
        and "host farm.example" in output
        and "stopped" in output
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "plan.json", "plan.json.passes"]


def test_apply_commits_the_plan_and_refuses_others(copies, dedup, decisions, make_store, tmp_path):
    plan = str(tmp_path / "plan.json")
    said(
        "dedup",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "--plan",
        plan,
        "--caps",
        "0.95",
        "--threshold",
        "0.85",
        "--quiet",
    )
    said("dedup", str(tmp_path / "in"), str(tmp_path / "out"), "--apply", plan, "--quiet")
    expected = dedup(tmp_path / "expected", copies, threshold=0.85, caps=0.95)
    assert Store(tmp_path / "out").content_hash == expected.content_hash
    assert not (tmp_path / "out/passes").exists(), "what the plan found out is not found out again"

    with pytest.raises(UsageError, match="other options"):
        dedup(tmp_path / "out2", copies, apply=plan, threshold=0.9)
    changed = make_store(tmp_path / "changed", ["another text"])
    with pytest.raises(UsageError, match="has changed"):
        dedup(tmp_path / "out3", changed, apply=plan)
    page = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "forged.json").write_text(json.dumps(page | {"decisions": "0" * 32}))
    with pytest.raises(UsageError, match="decides otherwise"):
        dedup(tmp_path / "out4", copies, apply=str(tmp_path / "forged.json"))
    (tmp_path / "torn.json").write_text(json.dumps(page)[:-200])
    with pytest.raises(SourceError, match="no plan"):
        dedup(tmp_path / "out5", copies, apply=str(tmp_path / "torn.json"))
    assert not any((tmp_path / f"out{n}/shards").exists() for n in range(2, 6))


def test_a_plan_over_its_caps_is_stopped_and_cannot_be_applied(copies, dedup, tmp_path):
    words = (
        "dedup",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "--plan",
        str(tmp_path / "plan.json"),
        "--caps",
        "0.6",
        "--quiet",
    )
    assert CliRunner().invoke(cli, list(words), standalone_mode=False).return_value == 1
    output = said(*words)
    assert "stopped" in output
    with pytest.raises(UsageError, match="was stopped"):
        dedup(tmp_path / "out", copies, apply=str(tmp_path / "plan.json"))


def test_a_plan_leaves_a_finished_store_as_it_is_and_so_does_a_refused_one(copies, make_store, tmp_path):
    """B stands finished under other options: neither --plan nor a refused --apply takes its manifest away."""
    source, out, plan = str(tmp_path / "in"), str(tmp_path / "out"), str(tmp_path / "plan.json")
    said("dedup", source, out, "--levels", "exact", "--quiet")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    said("dedup", source, out, "--plan", plan, "--caps", "0.95", "--quiet")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    make_store(tmp_path / "in", ["A is", "another now"])
    with pytest.raises(UsageError, match="has changed"):
        said("dedup", source, out, "--apply", plan, "--quiet")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    with pytest.raises(UsageError, match="together"):
        said("dedup", source, out, "--apply", plan, "--plan", plan, "--quiet")


def test_every_source_and_host_that_loses_is_named_small_ones_too(make_store, tmp_path):
    texts = ["the same few words"] * 4 + ["others altogether"]
    urls = [f"https://host{n}.example/" for n in range(5)]
    make_store(tmp_path / "in", texts, source=["a", "a", "b", "b", "b"], url=urls)
    said("dedup", str(tmp_path / "in"), str(tmp_path / "out"), "--plan", str(tmp_path / "deep/plan.json"), "--quiet")
    page = json.loads((tmp_path / "deep/plan.json").read_text())
    assert sum(removed for _, removed in page["sources"].values()) == 3 == len(page["hosts"])
    assert page["over_caps"] == {}, "two copies of one page are no alarm"
    names = plans.largest_losses({f"s{n:04d}": (10, n % 7) for n in range(3000)})
    assert len(names) == plans.NAMED + 1 and sum(removed for _, removed in names.values()) == sum(
        n % 7 for n in range(3000)
    )


def test_a_plan_counts_what_is_cut_and_later_levels_too(make_store, tmp_path):
    menu = "Home products prices about us contact careers press terms privacy cookies"
    texts = [f"{menu}\n" + " ".join(f"own{n}x{m}" for m in range(30)) for n in range(4)]
    urls = ["http://a.example/1", "http://a.example/2", "http://a.example/3", "http://a.example/3/#x"]
    make_store(tmp_path / "in", texts, source=["a", "b", "b", "b"], url=urls)
    words = ["dedup", str(tmp_path / "in"), str(tmp_path / "out")]
    output = said(
        *words, "--plan", str(tmp_path / "plan.json"), "--levels", "exact,near,url", "--spans", "line", "--quiet"
    )
    page = json.loads((tmp_path / "plan.json").read_text())
    assert (
        page["rules"] == {"dedup.url": 1}
        and page["removed"] == 1
        and [cluster["documents"] for cluster in page["largest"]] == [2]
    )
    assert len(page["largest"][0]["removed"]) == 1
    assert sum(rows for rows, _ in page["spans"].values()) == 2, "three stay, one of them with the line"
    assert sum(size for _, size in page["spans"].values()) == 2 * (len(menu) + 1) and "bytes cut in" in output
    said(*words, "--apply", str(tmp_path / "plan.json"), "--quiet")
    before = sum(len(text) for text in texts)
    left = Store(tmp_path / "out").table()["text"].to_pylist()
    assert len(left) == 3 and sum(map(len, left)) == before - len(texts[3]) - 2 * (len(menu) + 1)


def test_recipe_with_caps_stops_and_without_goes_on(copies, tmp_path):
    """The recipe runs from the file of the first step's store; only `caps:` stops it."""
    recipe = tmp_path / "page.yaml"
    recipe.write_text(
        f"name: page\nroot: {tmp_path}/root\nsteps:\n  - dedup: {{of: {tmp_path}/in, caps: 0.5}}\nrun: {{pool: inline}}\n"
    )
    with pytest.raises(WorkError, match="farm 11 of 12"):
        said("run", str(recipe), "--quiet", "--no-report")
    assert Store(tmp_path / "root/dedup").manifest() is None
    said("run", str(recipe), "--quiet", "--no-report", "--set", "dedup.caps=null")
    assert Store(tmp_path / "root/dedup").manifest()["rows"] == 13


class Heard(progress.Quiet):
    def __init__(self):
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_caps_stop_a_run_before_anything_is_written_and_without_them_it_warns(copies, dedup, tmp_path, monkeypatch):
    with pytest.raises(WorkError, match="farm 11 of 12"):
        dedup(tmp_path / "stopped", copies, caps=0.5)
    assert not (tmp_path / "stopped/shards").exists()
    heard = Heard()
    monkeypatch.setattr(progress, "current", heard)
    assert len(dedup(tmp_path / "warned", copies).table()) == 13
    assert [line for line in heard.lines if "farm 11 of 12" in line]


def test_drop_all_keeps_only_what_has_no_copy(copies, dedup, decisions, tmp_path):
    out = dedup(tmp_path / "out", copies, copies="drop-all")
    found = decisions(out)
    assert len(out.table()) == 12 and set(out.table()["source"].to_pylist()) == {"press"}
    head = [key for key, decision in found.items() if decision[0] == "dedup.has_copies"]
    assert len(head) == 1 and found[head[0]][1] is None and found[head[0]][3] == 12
    assert {decision[1] for decision in found.values() if decision[0] in ("dedup.exact", "dedup.near")} == set(head)


def test_no_flags_are_needed(make_store, tmp_path):
    make_store(tmp_path / "a", ["the same few words", "the same few words", "The same, few words!", "others"])
    assert "2 rows, 2 dropped" in said("dedup", str(tmp_path / "a"), str(tmp_path / "b"), "--quiet")
    assert "already up to date" in said("dedup", str(tmp_path / "a"), str(tmp_path / "b"), "--quiet")
    with pytest.raises(MaetdolError, match="threshold"):
        said("dedup", str(tmp_path / "a"), str(tmp_path / "c"), "--threshold", "2", "--quiet")
