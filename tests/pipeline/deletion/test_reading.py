"""What copies rows out of a root beside a takedown: the report and the exports show what was there before it or after, never both."""

import json
import os
import shutil

import pyarrow as pa
import pytest

from pipeline.cli import cli
from pipeline.deletion import forgotten, takedown
from pipeline.errors import RootLocked, WorkError
from pipeline.inspection import report as reports
from pipeline.schema import CHAT
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.export.commands import StoreExport
from stages.forget.commands import Forget
from tests.pipeline.deletion.test_takedown import OTHER, SHOP, commit


@pytest.fixture
def root(tmp_path, make_documents):
    """A store of documents, half of them of a shop, and one of conversations made of them."""
    texts, urls = (
        [f"Grain number {n} for the mill." for n in range(8)],
        [f"{(SHOP, OTHER)[n % 2]}{n}" for n in range(8)],
    )
    table = make_documents(texts, url=urls)
    raw, chat = Store(tmp_path / "root/raw"), Store(tmp_path / "root/chat")
    raw.put(0, table, Ledger.rows(table["id"]), key="r", stage="ingest")
    commit(raw, "ingest", "DOCUMENT", [], [0])
    rows = [
        dict.fromkeys(CHAT.names)
        | {"id": f"{n:032x}", "doc_id": row["id"], "messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": "Yes."}]}
        for n, row in enumerate(table.to_pylist())
    ]  # fmt: skip
    chat.put(
        0,
        pa.Table.from_pylist(rows, CHAT),
        Ledger.rows(table["id"], out=[row["id"] for row in rows]),
        key="c",
        stage="chat",
    )
    commit(chat, "chat", "CHAT", ["raw"], [0])
    return tmp_path / "root"


def forget(root):
    Forget(root=str(root), domain=("shop.example",)).run()


def after(step, done):
    """`step`, with `done` called once when it has ended."""
    left = [done]

    def stepped(*given, **more):
        result = step(*given, **more)
        if left:
            left.pop()()
        return result

    return stepped


def test_a_takedown_during_a_report_leaves_no_page_of_before(root, monkeypatch):
    page = root / "report.html"
    monkeypatch.setattr(reports, "render", after(reports.render, lambda: forget(root)))
    with pytest.raises(WorkError, match=f"a takedown of {root} went by"):
        cli.main(["report", str(root)], standalone_mode=False)
    assert not page.exists() and cli.main(["report", str(root)], standalone_mode=False) == 0 and page.exists()


def test_a_takedown_between_a_page_and_its_file_leaves_none(root, monkeypatch):
    monkeypatch.setattr(reports, "_written", after(reports._written, lambda: forget(root)))
    with pytest.raises(WorkError, match="went by"):
        reports.report(str(root))
    assert not (root / "report.html").exists()


@pytest.mark.parametrize("line", [["report"], ["dpo-export"], ["quality"]], ids=lambda line: line[0])
def test_nothing_is_read_in_the_middle_of_a_takedown(line, root, tmp_path):
    """Neither for a page nor for a file or a store elsewhere."""
    (root / forgotten.PENDING).write_text("{}")
    sources = {"report": [str(root)], "dpo-export": [str(root / "chat")], "quality": [str(root / "raw")]}[line[0]]
    sink = [] if line == ["report"] else [str(tmp_path / "out")]
    with pytest.raises(WorkError, match=f"maetdol forget {root}"):
        cli.main([*line, *sources, *sink], standalone_mode=False)
    assert not (root / "report.html").exists() and not list((tmp_path / "out").rglob("*.jsonl"))
    assert not list((tmp_path / "out").rglob("*.arrow"))


def test_a_takedown_during_an_export_leaves_no_file(root, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "batches", after(Store.batches, lambda: forget(root)))
    line = ["dpo-export", str(root / "chat"), str(tmp_path / "out")]
    with pytest.raises(WorkError, match="went by"):
        cli.main(line, standalone_mode=False)
    assert list((tmp_path / "out").iterdir()) == []
    assert cli.main(line, standalone_mode=False) == 0
    assert len((tmp_path / "out/chat.jsonl").read_text().splitlines()) == 4


def made_again(root):
    """The documents, made anew by another run."""
    raw = Store(root / "raw")
    raw.write_manifest({**raw.require(), "key": "another"})


@pytest.mark.parametrize("change", [forget, made_again], ids=["takedown", "made again"])
@pytest.mark.parametrize("command", ["calibrate", "pii", "dedup", "sft", "teacher"])
def test_what_is_told_of_a_store_is_told_of_one_state_of_it(command, change, root, tmp_path, monkeypatch, capsys):
    """Commands that lock nothing, while what they read changes: no file, nothing said."""
    from stages.dedup import levels
    from stages.pii import commands as pii
    from stages.quality import calibrate
    from stages.sft.teacher import compare, estimate

    raw, out = str(root / "raw"), str(tmp_path / "out/file")
    (tmp_path / "out").mkdir()
    asked = [json.dumps({"kind": "recorded", "recorded": str(tmp_path / f"{n}.yaml")}) for n in "ab"]
    for n in "ab":
        (tmp_path / f"{n}.yaml").write_text(
            "- {url: http://none.example/, task: qa, instruction: Why, answer: Because, lang: en, written_by: hand}\n"
        )
    where, name, line = {
        "calibrate": (calibrate, "measured", ["calibrate", raw, "--out", out]),
        "pii": (pii, "audited", ["pii", "--audit", raw]),
        "dedup": (levels, "decide", ["dedup", raw, str(tmp_path / "sink"), "--plan", out]),
        "sft": (estimate, "estimate", ["sft", raw, str(tmp_path / "sink"), "--teacher", asked[0], "--dry-run"]),
        "teacher": (
            compare,
            "compare",
            [
                "teacher",
                "compare",
                raw,
                "--teachers",
                asked[0],
                "--teachers",
                asked[1],
                "--journals",
                str(tmp_path / "calls"),
            ],
        ),
    }[command]
    monkeypatch.setattr(calibrate, "FEWEST", 1)
    monkeypatch.setattr(where, name, after(getattr(where, name), lambda: change(root)))
    with pytest.raises(WorkError, match="went by" if change is forget else "raw/? was written anew while it was read"):
        cli.main(line, standalone_mode=False)
    said = capsys.readouterr().out
    assert not os.path.exists(out) and not [word for word in ("rows, ", "answered", "calls for") if word in said]
    assert cli.main(line, standalone_mode=False) == (1 if command == "teacher" else 0)


def in_a_child(work) -> int:
    """Fork; `work` in the child, which ends with what it returns."""
    child = os.fork()
    if child:
        return child
    code = 9
    try:
        code = work()
    finally:
        os._exit(code)


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_exports_raced_by_a_takedown_hold_all_or_what_is_left(rounds, root, tmp_path, make_documents):
    """Pairs of processes that start together: the file holds 8 rows, 4, or is not there, and no half of a takedown."""
    seen = []
    for number in range(rounds):
        own, out = tmp_path / f"root{number}", tmp_path / f"out{number}"
        shutil.copytree(root, own)
        ready, go = os.pipe()

        def exported(own=own, out=out, ready=ready) -> int:
            os.read(ready, 1)
            try:
                return StoreExport(store=str(own / "chat"), out=str(out)).run()
            except WorkError:
                return 3

        def forgot(own=own, ready=ready) -> int:
            os.read(ready, 1)
            forget(own)
            return 0

        children = [in_a_child(exported), in_a_child(forgot)]
        os.write(go, b"go")
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        os.close(ready), os.close(go)
        file = out / "chat.jsonl"
        rows = len(file.read_text().splitlines()) if file.exists() else None
        assert codes[1] == 0 and (codes[0], rows) in ((0, 8), (0, 4), (3, None)), (codes, rows)
        assert len(Store(own / "chat").read(0)) == 4
        seen.append((codes[0], rows))
    assert len(seen) == rounds


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_of_two_exports_into_one_folder_one_waits(rounds, root, tmp_path):
    """Either the second is refused, or it comes after the first; the file is whole in both cases."""
    refused = 0
    for number in range(rounds):
        line = ["dpo-export", str(root / "chat"), str(tmp_path / f"out{number}")]

        def exported(line=line) -> int:
            try:
                return cli.main(line, standalone_mode=False)
            except RootLocked:
                return 4

        children = [in_a_child(exported), in_a_child(exported)]
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        assert codes in ([0, 0], [0, 4]), codes
        assert [len(json.loads(row)["messages"]) for row in open(tmp_path / f"out{number}/chat.jsonl")] == [2] * 8
        assert sorted(os.listdir(tmp_path / f"out{number}")) == ["README.md", "chat.jsonl", "export.json"]
        refused += codes[1] == 4
    assert refused or rounds < 200


def test_a_reading_knows_what_is_above(root):
    reading = forgotten.Reading(str(root / "raw"))
    reading.check()
    forgotten.note(filesystem(root), "t", [("domain", forgotten.mark("domain", "x.example"))])
    with pytest.raises(WorkError, match=f"a takedown of {root} went by"):
        reading.check()
    assert takedown.pending(filesystem(root)) is None
