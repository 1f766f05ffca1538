"""Machine code kept by content: who compiles, who need not, and what an edit means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from stages.text import compiled

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_list(monkeypatch):
    """Kernels of these tests, some of which cannot be compiled, are none of the house's."""
    monkeypatch.setattr(compiled, "kernels", list(compiled.kernels))


CALL = """
import json, sys
sys.stdin.readline()
from pipeline.engine import progress
progress.listen("-q" in sys.argv)
from stages.probe import scan
found = scan.total(4)
print(json.dumps([found, sum(scan.total.stats.cache_misses.values()), sum(scan.total.stats.cache_hits.values())]))
"""
SCAN = """
from stages.probe.weights import weight
from stages.text.compiled import int64, kernel


@kernel(int64)
def total(values):
    found = 0
    for value in range(values):
        found += weight(value)
    return found
"""
WEIGHTS = """
from stages.text.compiled import part

FACTOR = {factor}


@part
def weight(value):
    return value * FACTOR
"""


def tree(folder: Path, factor: int = 2) -> Path:
    """A copy of the code with a kernel of its own, `total`, that calls a function of another file."""
    for name in ("__init__.py", "text/__init__.py", "text/compiled.py"):
        target = folder / "stages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((REPO / "stages" / name).read_bytes())
    probe = folder / "stages" / "probe"
    probe.mkdir(exist_ok=True)
    (probe / "scan.py").write_text(SCAN)
    (probe / "weights.py").write_text(WEIGHTS.format(factor=factor))
    return folder


def start(code: Path, cache: Path, where: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CALL, *words],
        cwd=where,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(code), str(REPO))), "MAETDOL_CACHE": str(cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(code: Path, cache: Path, where: Path | None = None) -> list[int]:
    """[0 + 1 + 2 + 3 times the factor, compiled, loaded] of a process of its own."""
    return json.loads(start(code, cache, where or code).communicate("\n")[0])


def test_another_copy_elsewhere_compiles_nothing_and_an_edit_of_what_is_imported_does(tmp_path):
    cache = tmp_path / "cache"
    assert call(tree(tmp_path / "one"), cache) == [12, 1, 0]
    assert call(tree(tmp_path / "two"), cache, where=tmp_path) == [12, 0, 1]
    assert call(tree(tmp_path / "two", factor=3), cache) == [18, 1, 0]
    assert call(tmp_path / "one", cache) == [12, 0, 1], "the edited copy did not overwrite the other's"


def test_the_first_process_says_that_it_compiles_once_per_machine_and_none_is_told_twice(tmp_path):
    code = tree(tmp_path / "code")
    said = [start(code, tmp_path / "cache", code).communicate("\n")[1] for _ in range(2)]
    assert said == ["compiling probe, once per machine\n", ""]
    assert start(code, tmp_path / "elsewhere", code, "-q").communicate("\n")[1] == ""


def test_of_two_processes_at_once_one_compiles(tmp_path):
    code = tree(tmp_path / "code")
    both = [start(code, tmp_path / "cache", code) for _ in range(2)]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    found = sorted(json.loads(process.communicate()[0]) for process in both)
    assert found == [[12, 0, 1], [12, 1, 0]]
    assert [path.suffix for path in (tmp_path / "cache" / "kernels").iterdir()] == [compiled.SUFFIX]


def test_damaged_machine_code_is_compiled_again_and_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    code = tree(tmp_path / "code")
    call(code, tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "kernels").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100])
    assert call(code, tmp_path / "cache") == [12, 1, 0]
    assert kept.stat().st_size == len(whole)
    (tmp_path / "file").write_text("not a folder")
    assert call(code, tmp_path / "file") == [12, 1, 0]


def made(body: str, **known: object) -> bytes:
    names: dict = dict(known)
    exec(f"def function(x):\n    return {body}", names)
    return compiled.content(names["function"])


def test_content_is_code_constants_and_whatever_is_named():
    table = np.arange(3)
    inner: list[FunctionType] = []
    for factor in (1, 2):
        names: dict = {"K": factor}
        exec("def inner(x):\n    return x * K", names)
        inner.append(names["inner"])
    different = [
        made("x + 1"),
        made("x + 2"),
        made("x - 1"),
        made("x + K", K=1),
        made("x + K", K=2),
        made("x + K", K=1.0),
        made("x + K", K=np.uint8(1)),
        made("x + K", K=np.uint16(1)),
        made("x + K", K=(1, 2)),
        made("x + K", K=(12,)),
        made("x + K[0]", K=table),
        made("x + K[0]", K=table + 1),
        made("x + K[0]", K=table.astype(np.int32)),
        made("f(x)", f=inner[0]),
        made("f(x)", f=inner[1]),
        made("f(x)", f=compiled.njit(inner[0])),
        made("f(x)", f=compiled.njit(inner[1])),
        made("f(x)", f=compiled.njit(inline="always")(inner[1])),
    ]
    assert len(set(different)) == len(different)
    assert made("f(x)", f=compiled.njit(inner[1])) == different[-2]
    with pytest.raises(TypeError, match="content is not known"):
        made("x + K", K=object())


ALL = """
import importlib, sys
from pathlib import Path
for path in sorted(Path("stages").rglob("*.py")):
    if "@kernel" in path.read_text("utf-8"):
        importlib.import_module(".".join(path.with_suffix("").parts))
from numba.core.dispatcher import Dispatcher
from stages.text import compiled
found = {value.py_func for module in list(sys.modules.values()) if module.__name__.startswith("stages.")
         for value in vars(module).values() if isinstance(value, Dispatcher)}
print(sorted((f.__module__, f.__qualname__, compiled.content(f).hex()) for f in found))
"""


def test_every_kernel_has_the_same_content_in_every_process():
    runs = [
        subprocess.run(
            [sys.executable, "-c", ALL],
            cwd=REPO,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] and runs[0].count("stages.") > 150


def test_what_was_used_longest_ago_is_deleted_when_there_is_no_room(tmp_path):
    for number, age in enumerate((30, 10, 20)):
        path = tmp_path / f"{number}{compiled.SUFFIX}"
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    compiled.prune(tmp_path, 300)
    assert len(list(tmp_path.iterdir())) == 3
    compiled.prune(tmp_path, 200)
    assert {path.stem for path in tmp_path.iterdir()} == {"1", "2"}


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    for name in ("MAETDOL_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert compiled.folder() == Path.home() / ".cache" / "maetdol" / "kernels"
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MAETDOL_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert compiled.folder().is_relative_to(tmp_path / name)


def test_warm_makes_every_kernel_and_says_where_nothing_can_be_kept(monkeypatch, tmp_path):
    from stages.text.warm import warm

    told: list = []
    line, kept = warm(told.append, told.append)
    assert kept and line.endswith(f"kept in {compiled.folder()}")
    known = [
        kernel for kernel in compiled.kernels if kernel.argument_types and kernel.py_func.__module__ in sys.modules
    ]
    assert told[0] == len(told) - 1 >= 50
    assert all(len(kernel.overloads) == 1 for kernel in known), "one specialisation each"
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MAETDOL_CACHE", str(tmp_path / "file"))
    line, kept = warm(told.append, told.append)
    assert not kept and "NOT kept" in line


def test_an_uncounted_part_writes_what_it_is_given_and_may_not_own_an_array():
    @compiled.uncounted
    def doubled(values):
        row = values[1]
        for place in range(len(row)):
            row[place] *= 2

    @compiled.uncounted
    def sliced(values):
        return values[1:]

    @compiled.uncounted
    def made(count):
        return np.zeros(count, np.int64)[0]

    def kernel(part):
        def run(values):
            part(values)

        return compiled.Kernel(run, (compiled.writes(np.int64, 2),), counted=False)

    values = np.arange(6).reshape(2, 3)
    before = sys.getrefcount(values)
    kernel(doubled)(values)
    after = sys.getrefcount(values)
    assert before == after and values.tolist() == [[0, 1, 2], [6, 8, 10]]
    for wrong in (sliced, made):
        with pytest.raises(Exception, match="returns an array|NRT|array"):
            kernel(wrong)(values)


def test_options_are_part_of_what_a_kernel_is_known_by():
    def run(values):
        values[0] = 1

    types, seen = (compiled.writes(np.int64),), set()
    for counted in (True, False):
        made = compiled.Kernel(run, types, counted)
        seen.add(made._cache.path(types, made.targetctx.codegen()).name)
    assert len(seen) == 2


def test_arrays_are_made_once_per_machine_and_again_where_their_file_is_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("MAETDOL_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return {"moves": np.arange(5, dtype=np.int32), "width": 7}

    for _ in range(2):
        found = compiled.stored("table", [b"a", b"b"], make)
        assert found["moves"].dtype == np.int32 and found["moves"].tolist() == [0, 1, 2, 3, 4] and found["width"] == 7
    assert len(made) == 1
    compiled.stored("table", [b"ab"], make)  # other parts of the same bytes
    assert len(made) == 2
    (path, _) = sorted(compiled.folder().glob("table-*.npz"), key=lambda path: path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[:-1])
    assert compiled.stored("table", [b"a", b"b"], make)["moves"].tolist() == [0, 1, 2, 3, 4]
    assert len(made) == 3
