"""SIGTERM and SIGHUP: one line, the code of the signal, nothing lost, and a rerun goes on. Odd places: one line too."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.inspection.terminal import escaped
from pipeline.storage.store import Store


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_as_ctrl_c_does(repo, tmp_path, name):
    number = getattr(signal, name)
    page, go = tmp_path / "r.yaml", tmp_path / "go"
    script = f"""
import os, signal, sys, time
from pathlib import Path
from pipeline import cli
from pipeline.engine import stage
signal.signal({int(number)}, signal.SIG_DFL)  # tests that run under nohup hand on that it is ignored
began = stage.work_shard
def slow(task):
    if task.shard == 1 and not os.path.exists({str(go)!r}):
        Path({str(tmp_path / "there")!r}).touch()
        time.sleep(600)
    return began(task)
stage.work_shard = slow
cli.main()
"""
    page.write_text(
        f"root: {tmp_path}/root\nrun: {{pool: inline}}\nsteps:\n  - quality: {{of: {tmp_path}/corpus, filters: [word_count]}}\n"
    )
    _corpus(tmp_path / "corpus")
    words = [sys.executable, "-c", script, "run", str(page), "--no-report"]
    process = subprocess.Popen(words, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "there", process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and "Traceback" not in said
    assert [line for line in said.splitlines() if line] == [
        "stopped: finished shards are kept; run the same command to go on"
    ]
    store = Store(tmp_path / "root" / "quality")
    assert list(store.receipts()) == [0] and not (tmp_path / "root" / "lock.json").exists()
    go.touch()
    stamp = (tmp_path / "root/quality/receipts/00000.json").stat().st_mtime_ns
    again = subprocess.run(words, cwd=repo, capture_output=True, text=True)
    assert again.returncode == 0 and store.require()["rows"] == 2, again.stderr
    assert (tmp_path / "root/quality/receipts/00000.json").stat().st_mtime_ns == stamp, (
        "what was finished is not done again"
    )


def _corpus(path: Path) -> None:
    import pyarrow as pa

    from pipeline.schema import DOCUMENT, content_id, doc_id
    from pipeline.storage.ledger import Ledger

    store = Store(path)
    for number in range(2):
        text = f"{number} " + "word " * 200
        row = dict.fromkeys(DOCUMENT.names) | {
            "id": doc_id("t", str(number)),
            "text": text,
            "content_id": content_id(text),
            "source": "t",
        }
        table = pa.Table.from_pylist([row], schema=DOCUMENT)
        store.put(number, table, Ledger.rows(table["id"]), key="k", stage="test")
    store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "k"}, [0, 1])


def test_nohup_stays_nohup(monkeypatch):
    from pipeline.engine import stop

    before = {number: signal.getsignal(number) for number in stop.SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.listen()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and signal.getsignal(signal.SIGTERM) is stop._stop
        with stop.kept():
            signal.signal(signal.SIGTERM, lambda *_: None)
        assert signal.getsignal(signal.SIGTERM) is stop._stop, "a library's handler does not stay"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENAMETOOLONG])
def test_a_root_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, code):
    """Read-only, no room for the lock: one line and a hint, whatever is written first."""
    from pipeline import cli

    (tmp_path / "r.yaml").write_text(
        f"root: {tmp_path}/root\nrun: {{pool: inline}}\nsteps:\n  - quality: {{of: {tmp_path}/corpus}}\n"
    )
    _corpus(tmp_path / "corpus")

    def refuse(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(tmp_path / "root")):
            raise OSError(code, os.strerror(code), str(path))
        return before(path, flags, *rest, **more)

    before = os.open
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(sys, "argv", ["maetdol", "run", str(tmp_path / "r.yaml")])
    with pytest.raises(SystemExit) as leaving:
        cli._obey()
    said = capsys.readouterr().err
    assert leaving.value.code == 1 and "Traceback" not in said
    assert said.startswith("error: ") and "hint: " in said and len(said.strip().splitlines()) == 2


def test_a_folder_where_a_file_should_be_is_one_line(tmp_path, monkeypatch, capsys):
    from pipeline import cli

    (tmp_path / "store" / "manifest.json").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["maetdol", "inspect", str(tmp_path / "store")])
    with pytest.raises(SystemExit) as leaving:
        cli._obey()
    said = capsys.readouterr().err.strip().splitlines()
    assert (
        leaving.value.code == 1
        and len(said) == 2
        and str(tmp_path / "store/manifest.json") in said[0]
        and "hint: " in said[1]
    )


def test_nothing_that_steers_a_terminal_is_shown():
    assert (
        escaped("a\x1b]0;x\x07b\x9bc\u202ed\u2066\u200f\x00\x7f\ud800")
        == r"a\x1b]0;x\x07b\x9bc\u202ed\u2066\u200f\x00\x7f\ud800"
    )
    assert escaped("한국어 日本語 é 👩‍🌾 \t") == "한국어 日本語 é 👩‍🌾 \t"
    assert escaped("one\ntwo\r\n\u2028", lines=True) == "one\ntwo\\x0d\n\\u2028" and escaped("a\nb") == "a\\x0ab"


EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\x08"


def test_inspect_trace_and_errors_show_escapes(tmp_path, make_store, capsys):
    """Titles, addresses and sources of the world, in every cell that is printed."""
    from pipeline import cli
    from pipeline.engine import progress
    from pipeline.inspection import inspect as inspecting
    from pipeline.inspection import selection
    from pipeline.inspection.trace import trace

    store = make_store(
        tmp_path / "root" / "corpus",
        [f"text {EVIL} {i}" for i in range(3)],
        title=[EVIL] * 3,
        url=[f"http://x/{EVIL}"] * 3,
        source=[EVIL] * 3,
        lang=[EVIL] * 3,
    )
    row = store.read(0)["id"][0].as_py()
    for said in (
        inspecting.inspect(store.path),
        inspecting.inspect(store.path, row_id=row),
        *selection.lines(store.path, selection.Selection(grep="text", where="lang IS NOT NULL")),
        *selection.lines(store.path, selection.Selection(sample=True), as_json=True),
        trace(str(tmp_path / "root"), row),
        trace(str(tmp_path / "root"), EVIL),
    ):
        assert said and not [c for c in said if c in EVIL and c not in "[2J]0;owned31m"]
    assert "\\x1b[2J" in inspecting.inspect(store.path)
    with pytest.raises(SystemExit):
        sys.argv = ["maetdol", "inspect", f"{tmp_path}/{EVIL}"]
        cli._obey()
    progress.LogLines().say(f"file {EVIL}")
    said = capsys.readouterr().err
    assert "\x1b" not in said and said.count("\\x1b") == 4


WAITS = """
import os, time
from pathlib import Path
from pipeline.filter import Filter, Verdict


class Waits(Filter):
    folder: str = ""

    def evaluate(self, docs):
        while docs.n and not (Path(self.folder) / "go").exists():
            (Path(self.folder) / "there").touch()
            time.sleep(0.2)
        return Verdict([None] * docs.n)
"""


@pytest.fixture
def on_ray(repo, tmp_path, monkeypatch):
    """Starts a run of two tasks on a local Ray, both of which wait; returns the process once they are under way."""
    own = tmp_path / "own" / "quality" / "filters"
    own.mkdir(parents=True)
    (own / "waits.py").write_text(WAITS)
    monkeypatch.setenv("MAETDOL_PATH", str(tmp_path / "own"))
    _corpus(tmp_path / "corpus")
    filters = f"[{{waits: {{folder: {tmp_path}}}}}]"
    page = f"root: {tmp_path}/root\nrun: {{workers: 2}}\nsteps:\n  - quality: {{of: {tmp_path}/corpus, filters: {filters}}}\n"
    (tmp_path / "r.yaml").write_text(page)
    words = [
        sys.executable,
        "-c",
        "from pipeline.cli import main; main()",
        "run",
        str(tmp_path / "r.yaml"),
        "--no-report",
    ]

    def start() -> subprocess.Popen:
        process = subprocess.Popen(words, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(tmp_path / "there", process)
        return process

    return start


def _goes_on(tmp_path, start) -> None:
    (tmp_path / "go").touch()
    again = start()
    assert again.communicate(timeout=300)[0] and again.returncode == 0
    assert Store(tmp_path / "root" / "quality").require()["rows"] == 2


@pytest.mark.slow
def test_sigterm_ends_a_run_on_ray_too(on_ray, tmp_path):
    process = on_ray()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 143 and "Traceback" not in said, said
    assert "stopped: finished shards are kept; run the same command to go on" in said
    _goes_on(tmp_path, on_ray)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["raylet", "gcs_server"])
def test_the_death_of_the_head_is_one_line_and_a_rerun_goes_on(on_ray, tmp_path, what):
    process = on_ray()
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout
    (pid,) = [int(line.split()[0]) for line in listed.splitlines() if line.split()[1].endswith(f"/{what}")]
    os.kill(pid, signal.SIGKILL)
    out, said = process.communicate(timeout=300)
    assert process.returncode == 1 and "Traceback" not in out + said and "raylet)" not in out + said, said
    (line, hint) = [line for line in said.splitlines() if line.strip()][-2:]
    assert line.startswith("error: Ray is gone while work was under way") and "run the same command again" in hint
    _goes_on(tmp_path, on_ray)
