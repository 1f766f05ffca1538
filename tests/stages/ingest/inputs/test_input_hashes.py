"""Hashes of input files: what a run with nothing to do opens, what is hashed in tasks, and that no remembered hash is wrong unseen."""

from __future__ import annotations

import os
import sys
from collections import Counter

import pyarrow as pa
import pytest

from pipeline.engine import run as runs
from pipeline.engine.pool import Inline
from pipeline.engine.recipe import parse
from pipeline.storage import input_hashes, verify
from pipeline.storage.input_hashes import COLUMNS
from pipeline.storage.store import Store
from stages.ingest import sources

FILES = 5
_opened: list[str] = []
_watching: list[bool] = []


def _note(event: str, given: tuple) -> None:
    if event == "open" and _watching and isinstance(given[0], (str, bytes, os.PathLike)):
        _opened.append(os.fsdecode(given[0]))


@pytest.fixture(scope="module", autouse=True)
def watched():
    """Names of opened files, whoever opens them: an audit hook, which stays until the process ends."""
    sys.addaudithook(_note)
    _watching.append(True)
    yield
    _watching.clear()


@pytest.fixture
def settled(monkeypatch):
    """Files written a moment ago are remembered."""
    monkeypatch.setattr(input_hashes, "UNCHANGED_FOR", -(10**12))


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    for number in range(FILES):
        (tmp_path / f"raw/{number}.txt").write_text(f"The mill grinds sack number {number} before the evening bell.\n")
    return tmp_path


class Counting(Inline):
    """The tasks of each function."""

    def __init__(self):
        self.ran: list[tuple[str, int]] = []

    def each(self, fn, tasks, **resources):
        tasks = list(tasks)
        self.ran.append((fn.__name__, len(tasks)))
        return super().each(fn, tasks, **resources)


def made(root, pool=None) -> list[str]:
    """Run `ingest` over raw/; returns the names of the input files that were opened on the way."""
    _opened.clear()
    input_hashes._opened.clear()  # as in a process of its own
    runs.run(
        parse({"name": "r", "root": str(root / "runs"), "steps": [{"ingest": {"from": str(root / "raw")}}]}, "r"),
        pool=pool or Inline(),
    )
    return sorted(os.path.basename(name) for name in _opened if name.startswith(str(root / "raw") + os.sep))


def page(root):
    return root / "runs/ingest" / input_hashes.NAME


def test_a_run_with_nothing_to_do_opens_no_input(root, settled):
    assert set(made(root)) == {f"{number}.txt" for number in range(FILES)}
    key = Store(root / "runs/ingest").require()["key"]
    assert made(root) == [] and Store(root / "runs/ingest").require()["key"] == key
    os.utime(root / "raw/3.txt", ns=(1, 1))
    assert made(root) == ["3.txt"], "another time: hashed again, and found to be the same"
    assert made(root) == [] and Store(root / "runs/ingest").require()["key"] == key


def test_a_run_with_nothing_to_do_asks_once_about_each_file(root, settled, monkeypatch):
    """And one that finds work asks again what it works on, so that what changes meanwhile is seen."""
    looked, look = [], os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **more: looked.append(os.fspath(path)) or look(path, **more))
    made(root)
    first = [path for path in looked if path.endswith(".txt")]
    looked.clear()
    made(root)
    assert sorted(path for path in looked if path.endswith(".txt")) == sorted(set(first)) and len(first) > FILES
    listing, path = sources.listing, root / "raw/1.txt"

    def changed_after(*given):
        found = listing(*given)
        path.write_text("other words\n")
        return found

    monkeypatch.setattr(sources, "listing", changed_after)
    os.utime(root / "raw/3.txt", ns=(1, 1))
    made(root)
    monkeypatch.setattr(sources, "listing", listing)
    made(root)
    assert Store(root / "runs/ingest").read(0)["text"].to_pylist()[1].strip() == "other words"
    assert made(root) == []


def test_a_run_with_nothing_to_do_makes_no_objects_of_its_files(tmp_path, settled):
    """Python's functions are called once for a file more, and compiled ones at most sixteen times."""
    calls = []
    for files in (50, 150):
        for number in range(files):
            path = tmp_path / f"{files}/raw/{number % 10}/{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"The mill grinds sack number {number}.\n")
        made(tmp_path / str(files))
        made(tmp_path / str(files))  # what is imported late is there now
        counted = Counter()
        sys.setprofile(lambda frame, event, given, counted=counted: counted.update([event]))
        try:
            made(tmp_path / str(files))
        finally:
            sys.setprofile(None)
        calls.append(counted)
    assert calls[1]["call"] - calls[0]["call"] <= 100 + 5
    assert calls[1]["c_call"] - calls[0]["c_call"] <= 16 * 100


def test_a_file_that_has_just_changed_is_not_remembered(root):
    made(root)
    assert not page(root).exists()
    assert len(made(root)) == FILES, "each once more, and none twice"


def test_many_files_are_hashed_in_tasks(root, settled, monkeypatch):
    monkeypatch.setattr(input_hashes, "TASK_FILES", 2)
    pool = Counting()
    made(root, pool)
    assert ("hash_all", 3) in pool.ran
    few = Counting()
    (root / "raw/1.txt").write_text("other words\n")
    made(root, few)
    assert "hash_all" not in dict(few.ran), "one task's work starts no pool"
    assert Store(root / "runs/ingest").read(0)["text"].to_pylist()[1].strip() == "other words"


@pytest.mark.parametrize("how", ["same length", "same length and time", "another file under the name", "gone", "new"])
def test_a_change_is_seen(root, settled, how):
    made(root)
    path, before = root / "raw/2.txt", (root / "raw/2.txt").stat()
    text = path.read_text()
    if how == "gone":
        path.unlink()
    elif how == "new":
        (root / "raw/9.txt").write_text(text)
    elif how == "another file under the name":
        (root / "other").write_text(text.replace("mill", "MILL"))
        os.utime(root / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(root / "other", path)
    else:
        path.write_text(text.replace("mill", "MILL"))
        if how == "same length and time":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    made(root)
    texts = Store(root / "runs/ingest").read(0)["text"].to_pylist()
    assert len(texts) == FILES + {"gone": -1, "new": 1}.get(how, 0)
    assert ("MILL" in " ".join(texts)) == (how not in ("gone", "new"))


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-8], lambda data: data[:40] + b"\0" + data[41:], lambda data: b"", lambda data: b"x" * 900],
)
def test_a_damaged_page_is_hashed_anew_and_named(root, settled, damage, caplog):
    made(root)
    whole = page(root).read_bytes()
    page(root).write_bytes(damage(whole))
    (fault,) = verify.verify(str(root / "runs")).faults
    assert fault.file == input_hashes.NAME and fault.kind == "damaged"
    assert len(made(root)) == FILES and "every input file is hashed again" in caplog.text
    assert page(root).read_bytes() == whole and made(root) == []


def test_a_remembered_hash_that_is_not_the_files_is_found_by_verify_and_repaired(root, settled):
    """What no status tells: the disk changed bytes behind the file system's back."""
    made(root)
    known = input_hashes.parsed(page(root).read_bytes())
    hashes = [
        "0" * 32 if path.endswith(b"2.txt") else known
        for path, known in zip(*map(pa.Table.to_pydict(known).get, ("path", "hash")))
    ]
    known = known.set_column(5, COLUMNS.field("hash"), pa.array(hashes, pa.large_string()))
    Store(root / "runs/ingest").fs.write(input_hashes.NAME, input_hashes._page(known))
    path = str(root / "runs")
    found = verify.verify(path)
    (fault,) = found.faults
    assert "2.txt has other bytes" in fault.what and found.damaged
    verify.repair(path, found)
    assert len(made(root)) == FILES and not verify.verify(path).faults


def test_only_what_is_there_is_remembered(root, settled):
    made(root)
    (root / "raw/4.txt").unlink()
    made(root)
    names = [os.path.basename(path) for path in input_hashes.parsed(page(root).read_bytes())["path"].to_pylist()]
    assert names == [f"{number}.txt".encode() for number in range(FILES - 1)]


def test_a_name_that_is_no_utf8_is_remembered(root, settled):
    (root / "raw" / os.fsdecode(b"\xff.txt")).write_text("words of an old disk\n")
    made(root)
    assert made(root) == []
