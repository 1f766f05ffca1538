"""The tokenizer that is committed: whole, loadable, and what its recipe makes."""

import json

import pytest

from pipeline.options import content_hash

NAME = "maetdol-site"
TEXT = "맷돌은 곡식을 가는 돌입니다.\n\tThe millstone grinds 12 beans. 🌾"


@pytest.fixture
def folder(repo):
    return repo / "tokenizers" / NAME


def test_files_are_those_that_were_exported(folder):
    origin = json.loads((folder / "origin.json").read_text("utf-8"))
    assert {name: content_hash(folder / name) for name in origin["files"]} == origin["files"]
    assert not list(folder.rglob("*.py"))


def test_it_loads_and_gives_sentencepieces_ids(folder):
    from sentencepiece import SentencePieceProcessor
    from transformers import AutoTokenizer

    hub = AutoTokenizer.from_pretrained(str(folder))
    own = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert hub(TEXT, add_special_tokens=False)["input_ids"] == own.encode(TEXT)
    assert own.decode(own.encode(TEXT)) == TEXT and len(hub) == own.get_piece_size()


def test_the_recipe_beside_it_is_the_shipped_one(folder, repo):
    assert (folder / "recipe.yaml").read_bytes() == (repo / "configs" / "tokenizer-site.yaml").read_bytes()


@pytest.mark.slow
def test_its_recipe_makes_it_again(folder, repo, tmp_path, monkeypatch):
    from pipeline.engine.recipe import load
    from pipeline.engine.run import run

    monkeypatch.chdir(repo)
    recipe = load(folder / "recipe.yaml", [f"root={tmp_path / 'root'}"])
    run(recipe)
    made = recipe.store("tokenizer").receipt("artefact")
    assert made.files == json.loads((folder / "origin.json").read_text("utf-8"))["files"]
