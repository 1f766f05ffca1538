"""What a command line may not do to its source, its root, or a store of another kind, however the paths are spelled."""

import json
import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from pipeline import cli
from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.errors import UsageError
from pipeline.storage import sinks
from pipeline.storage.files import canonical, inside
from pipeline.storage.store import Store


def bytes_below(folder: Path) -> dict[str, bytes | str]:
    """Every file (and link) below a folder, with its bytes and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        found[str(path.relative_to(folder))] = (
            os.readlink(path)
            if path.is_symlink()
            else (path.read_bytes(), path.stat().st_mtime_ns)
            if path.is_file()
            else ""
        )
    return found


def maetdol(*words):
    return cli.cli.main([str(word) for word in words], standalone_mode=False)


@pytest.fixture
def world(tmp_path, make_store, monkeypatch):
    """A folder with stores `a` and `deep/a`, a link to each, and a recipe of one step; the working directory is it."""
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "a", [f"text {n}" for n in range(8)], shards=2)
    make_store(tmp_path / "deep/a", ["x", "y"])
    os.symlink("a", tmp_path / "to_a")
    os.symlink(tmp_path / "deep", tmp_path / "to_deep")
    return tmp_path


SOURCES = ["a", "deep/a"]


@st.composite
def spellings(draw, path: str, base: Path) -> str:
    """One of the ways to write a path: relative or absolute, through links, with `.`, `..`, doubled and closing slashes."""
    spelled = []
    for at, part in enumerate(path.split("/")):
        spelled += draw(st.sampled_from([[], ["."], ["", "."], ["deep", ".."] if at == 0 else ["..", "deep"]]))
        spelled.append(draw(st.sampled_from([part, f"to_{part}"])) if at == 0 else part)
    word = "/".join(spelled).lstrip("/")
    word = draw(
        st.sampled_from(
            [
                word,
                f"./{word}",
                f"{base}/{word}",
                f"file://{base}/{word}",
                f"FILE://{base}/{word}",
                f"{base}/../{base.name}/{word}",
            ]
        )
    )
    return word + draw(st.sampled_from(["", "/", "//"]))


@hypothesis.settings(
    max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(data=st.data())
def test_no_spelling_of_a_source_as_sink_touches_it(world, data):
    """The sink is the source, in it, or above it; the command ends with exit 2 and not a byte has moved."""
    path = data.draw(st.sampled_from(SOURCES))
    source, sink = data.draw(spellings(path, world)), data.draw(spellings(path, world))
    how = data.draw(st.sampled_from(["same", "inside", "above"]))
    if how == "inside":
        sink = sink.rstrip("/") + data.draw(st.sampled_from(["/shards", "/new", "/passes/x"]))
    if how == "above":
        if path == "a":
            return
        sink = data.draw(spellings("deep", world))
    before = bytes_below(world)
    stage = data.draw(st.sampled_from(["quality", "dedup", "mix", "split", "ingest", "pii"]))
    more = data.draw(st.sampled_from([[], ["--overwrite"]]))
    with pytest.raises(UsageError):
        maetdol(stage, source, sink, *more)
    assert bytes_below(world) == before


@pytest.mark.parametrize(
    "source,sink",
    [
        ("s3://b/x", "s3://b/x/"),
        ("s3://b/x", "s3://b//x"),
        ("S3://b/x", "s3://b/./x"),
        ("s3a://b/x/y/..", "s3://b/x"),
        ("s3://b/x", "s3://b/x/shards"),
        ("s3://b/x/y", "s3://b/x"),
    ],
)
def test_spellings_of_object_storage(source, sink):
    assert inside(source, sink) or inside(sink, source)
    page = {
        "steps": [{"ingest": {"from": source, "name": sink.rstrip("/").rpartition("/")[2]}}],
        "root": sink.rstrip("/").rpartition("/")[0],
    }
    with pytest.raises(UsageError, match="reads s3a?://|reads S3://"):
        sinks.apart(parse(page))


def test_paths_that_merely_look_alike_are_apart():
    assert not inside("s3://b/xy", "s3://b/x") and not inside("/t/xy", "/t/x") and not inside("s3://c/x", "s3://b/x")
    assert canonical("s3://b/x") != canonical("gs://b/x") and inside("/t/x/y", "/t/x") and not inside("/t/x", "/t/x/y")


def test_a_folder_under_two_names_is_one(tmp_path, monkeypatch):
    """A mount of the same folder, or a disk that does not tell capitals: known by its inode."""
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: real(str(path).replace("/b", "/a"), **more))
    assert inside(tmp_path / "b/c", tmp_path / "a")


@pytest.mark.parametrize("port", ["against", "tokenizer"])
def test_other_ports_are_looked_at_too(port, world, monkeypatch, capsys):
    before = bytes_below(world)
    stage = {"against": "decontaminate", "tokenizer": "pack"}[port]
    with pytest.raises(UsageError):
        maetdol(stage, "deep/a", "./a/", f"--{port}", world / "to_a")
    assert bytes_below(world) == before


def test_a_file_option_inside_the_sink_is_refused(world):
    before = bytes_below(world)
    with pytest.raises(UsageError, match="lies inside"):
        page = {
            "root": str(world),
            "steps": [
                {
                    "quality": {
                        "name": "a",
                        "of": "./deep/a",
                        "filters": [{"bad_words": {"files": [str(world / "a/manifest.json")]}}],
                    }
                }
            ],
        }
        run(parse(page), overwrite=True)
    assert bytes_below(world) == before


def test_a_recipe_step_that_reads_its_own_store(world):
    before = bytes_below(world)
    for of in ("./a", str(world / "to_a"), "a"):
        with pytest.raises(UsageError, match="would be written"):
            run(parse({"root": ".", "steps": [{"quality": {"name": "a", "of": of}}]}))
    with pytest.raises(UsageError, match="would be written"):
        run(
            parse(
                {
                    "root": str(world),
                    "steps": [{"split": {"name": "first", "of": "./a"}}, {"quality": {"name": "a", "of": "first"}}],
                }
            )
        )
    os.symlink("a", world / "other")
    with pytest.raises(UsageError):
        run(
            parse(
                {
                    "root": str(world),
                    "steps": [
                        {"quality": {"name": "a", "of": "./deep/a"}},
                        {"quality": {"name": "other", "of": "./deep/a"}},
                    ],
                }
            ),
            overwrite=True,
        )
    os.remove(world / "other")
    assert bytes_below(world) == before


def rows(path, count):
    path.write_text("".join(json.dumps({"text": f"line {n} of {path.name}"}) + "\n" for n in range(count)))
    return path


def test_another_stages_store_is_refused_and_swept_whole_on_demand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "in.jsonl", 6)
    maetdol("ingest", "in.jsonl", "raw")
    maetdol("split", "raw", "out")
    sink = Store(tmp_path / "out")
    (tmp_path / "made").mkdir(), (tmp_path / "made/w").write_text("w")
    from pipeline.storage.ledger import Ledger

    sink.put_artefact(tmp_path / "made", Ledger.rows([]), key="old", stage="split")
    sink.sub("passes/old").put(
        0, Store(tmp_path / "raw").read(0), Ledger.rows(Store(tmp_path / "raw").read(0)["id"]), key="k"
    )
    (tmp_path / "out/mine.txt").write_text("kept")
    before = bytes_below(tmp_path / "out")
    with pytest.raises(UsageError, match="'split' made, not 'mix'.*\n.*--overwrite"):
        maetdol("mix", "raw", "out")
    assert bytes_below(tmp_path / "out") == before
    maetdol("mix", "raw", "out", "--overwrite")
    assert sink.require()["stage"] == "mix" and sink.require()["artefact"] is None and not sink.fs.exists("artefact")
    assert set(sink.ledgers()["id"].to_pylist()) == set(Store(tmp_path / "raw").table(["id"])["id"].to_pylist())
    assert not sink.fs.exists("passes/old") and (tmp_path / "out/mine.txt").read_text() == "kept"
    maetdol("mix", "raw", "out", "--seed", "5")


def test_the_store_of_an_unfinished_stage_and_of_another_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "in.jsonl", 6)
    maetdol("ingest", "in.jsonl", "raw")
    Store(tmp_path / "raw").invalidate_manifest()
    with pytest.raises(UsageError, match="'ingest' made"):
        run(
            parse(
                {
                    "root": str(tmp_path),
                    "steps": [
                        {"ingest": {"name": "first", "from": "in.jsonl"}},
                        {"split": {"name": "raw", "of": "first"}},
                    ],
                    "run": {"pool": "inline"},
                }
            )
        )
    assert not (tmp_path / "first").exists(), "refused before any step is run"
    maetdol("ingest", "in.jsonl", "raw")
    os.rename(tmp_path / "raw", tmp_path / "moved")
    with pytest.raises(UsageError, match="step 'raw'"):
        maetdol("ingest", "in.jsonl", "moved")
    maetdol("ingest", "in.jsonl", "moved", "--overwrite")


def test_a_folder_that_is_no_store_a_file_and_a_path_inside_a_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "in.jsonl", 2)
    (tmp_path / "home").mkdir(), (tmp_path / "home/letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="no store .it holds letter.txt"):
        maetdol("ingest", "in.jsonl", "home")
    maetdol("ingest", "in.jsonl", "home", "--overwrite")
    assert (tmp_path / "home/letter.txt").read_text() == "dear"
    for sink in ("in.jsonl", "in.jsonl/x", "home/manifest.json"):
        with pytest.raises(UsageError, match="is a file|reads"):
            maetdol("mix", "home", sink)
    with pytest.raises(UsageError, match="inside the store"):
        maetdol("ingest", "in.jsonl", "home/shards/x")
    assert Store(tmp_path / "home").require()["rows"] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_sink_nobody_may_write_is_one_line(tmp_path):
    rows(tmp_path / "in.jsonl", 2)
    (tmp_path / "held").mkdir(mode=0o555)
    from pipeline.errors import StoreError

    with pytest.raises(StoreError, match="may not write"):
        maetdol("ingest", tmp_path / "in.jsonl", tmp_path / "held/out")
