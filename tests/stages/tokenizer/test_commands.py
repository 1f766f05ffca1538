"""Export and adopt, through the command line's own objects."""

import json
from pathlib import Path

import pytest

from pipeline.engine import catalog
from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.errors import OptionError, SourceError, UsageError
from pipeline.options import content_hash
from pipeline.storage.store import Store
from stages.tokenizer.commands import Adopt, Export


@pytest.fixture
def made(tmp_path, mixed):
    """A tokenizer made by a recipe over a committed store; returns the step's store."""
    mixed.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "lineage": {}, "schema": []}, [0, 1])
    page = {
        "name": "t",
        "root": str(tmp_path / "root"),
        "steps": [{"tokenizer": {"of": mixed.path, "vocab_size": 500}}],
        "run": {"pool": "inline"},
    }
    recipe = parse(page)
    run(recipe)
    return recipe.store("tokenizer")


def test_the_verbs_are_found():
    assert {"tokenizer export", "tokenizer adopt"} <= set(catalog.verbs())


def test_export_fills_the_folder_and_replaces_it_whole(made, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    target = tmp_path / "kept" / "mine"
    Export(store=made.path, name="mine", into=str(tmp_path / "kept"), recipe=str(recipe)).run()
    (target / "left-over.txt").write_text("old")
    Export(store=made.path, name="mine", into=str(tmp_path / "kept")).run()
    names = {path.name for path in target.iterdir()}
    assert {"tokenizer.json", "tokenizer.model", "card.json", "README.md", "recipe.yaml", "origin.json"} <= names
    assert "left-over.txt" not in names and not list(tmp_path.glob("kept/.part-*"))
    origin = json.loads((target / "origin.json").read_text())
    assert origin["content_hash"] == made.receipt("artefact").content_hash
    assert all(content_hash(target / name) == value for name, value in origin["files"].items())
    assert not list(target.rglob("*.py"))


def test_export_refuses_what_is_no_tokenizer(mixed, made, tmp_path):
    mixed.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k", "lineage": {}, "schema": []}, [0, 1])
    with pytest.raises(SourceError, match="holds no tokenizer"):
        Export(store=mixed.path, name="x", into=str(tmp_path)).run()
    with pytest.raises(OptionError, match="name"):
        Export.build({"store": made.path, "name": "../x"}, "tokenizer export")
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="choose another name"):
        Export(store=made.path, name="taken", into=str(tmp_path)).run()


def test_adopt_takes_a_folder_without_its_code(made, tmp_path):
    folder = tmp_path / "hub"
    Export(store=made.path, name="hub", into=str(tmp_path)).run()
    (folder / "tokenization_evil.py").write_text("raise SystemExit")
    Adopt(folder=str(folder), store=str(tmp_path / "adopted")).run()
    store = Store(tmp_path / "adopted")
    assert store.shape == "artefact:tokenizer" and (store.artefact() / "tokenizer.json").is_file()
    assert not list(Path(store.artefact()).glob("*.py"))
    with pytest.raises(UsageError, match="there already"):
        Adopt(folder=str(folder), store=str(tmp_path / "adopted")).run()


def test_adopt_refuses_an_empty_folder(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError):
        Adopt(folder=str(tmp_path / "nothing"), store=str(tmp_path / "s")).run()
