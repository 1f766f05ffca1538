"""Recipes: every fault is found before anything runs, and named with the nearest right word."""

import pytest

from pipeline.engine.recipe import load, parse, parse_bytes
from pipeline.errors import OptionError, RecipeError

STEPS = [
    {"ingest": {"from": "raw/*.jsonl"}},
    {"quality": {"filters": ["word_count"]}},
    "dedup",
    "pii",
    {"tokenizer": {"vocab_size": 300}},
    {"pack": {"seq_len": 64}},
]


def page(*more, **words):
    return {"name": "t", "root": "runs/t", "steps": [*STEPS, *more], **words}


def test_ports_default_to_the_nearest_earlier_step_that_fits():
    recipe = parse(page())
    assert {s.name: s.ports.get("of") for s in recipe.steps[1:]} == {
        "quality": ("ingest",), "dedup": ("quality",), "pii": ("dedup",), "tokenizer": ("pii",), "pack": ("pii",),
    }  # fmt: skip
    assert recipe.step("pack").ports["tokenizer"] == ("tokenizer",) and recipe.step("pack").shape == "TOKENS"


@pytest.mark.parametrize(
    "change,error,words",
    [
        (lambda p: p.update(setps=[]), RecipeError, "unknown word 'setps'.*did you mean 'steps'"),
        (lambda p: p["steps"].append({"dedpu": {}}), RecipeError, "no stage is called 'dedpu'.*did you mean 'dedup'"),
        (lambda p: p["steps"].append("dedup"), RecipeError, "two steps are called 'dedup'.*name:"),
        (
            lambda p: p["steps"].append({"dedup": {"name": "d2", "treshold": 0.7}}),
            OptionError,
            "did you mean 'threshold'",
        ),
        (lambda p: p["steps"].append({"dedup": {"name": "d2", "threshold": 7}}), OptionError, "threshold"),
        (
            lambda p: p["steps"].append({"dedup": {"name": "d2", "of": "qualty"}}),
            RecipeError,
            "names 'qualty'.*did you mean 'quality'",
        ),
        (lambda p: p["steps"].append({"dedup": {"name": "d2", "of": "pack"}}), RecipeError, "'pack' makes TOKENS"),
        (lambda p: p["steps"].append({"pack": {"name": "p2", "tokenizer": "pii"}}), RecipeError, "makes DOCUMENT"),
        (lambda p: p["steps"].insert(0, "pack"), RecipeError, "needs DOCUMENT"),
        (lambda p: p.update(run={"wrokers": 2}), OptionError, "did you mean 'workers'"),
        (lambda p: p.update(run={"steps": {"padk": {}}}), RecipeError, "did you mean 'pack'"),
        (lambda p: p.update(seed="x"), RecipeError, "whole number"),
        (
            lambda p: p["steps"].append({"quality": {"name": "q2", "filters": ["word_cuont"]}}),
            OptionError,
            "word_count",
        ),
    ],
)
def test_faults_are_named(change, error, words):
    import re

    wrong = page()
    wrong["steps"] = list(wrong["steps"])
    change(wrong)
    with pytest.raises(error) as fault:
        parse(wrong)
    assert re.search(words, str(fault.value), re.DOTALL), str(fault.value)
    assert fault.value.exit_code == 2


def test_settings_override_and_are_checked(tmp_path):
    import yaml

    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(page()))
    recipe = load(path, ["dedup.threshold=0.7", "seed=3", "run.workers=2", "root=elsewhere"])
    assert (
        recipe.step("dedup").stage.threshold == 0.7
        and recipe.seed == 3
        and recipe.run.workers == 2
        and recipe.root == "elsewhere"
    )
    with pytest.raises(RecipeError, match="did you mean 'dedup'"):
        load(path, ["dedpu.threshold=0.7"])
    with pytest.raises(RecipeError, match="no `=`"):
        load(path, ["dedup.threshold"])


def test_a_relative_root_is_refused_where_nodes_of_a_cluster_take_it():
    with pytest.raises(RecipeError, match="root 'runs/t' is relative.*ray://head:10001") as fault:
        parse(page(run={"address": "ray://head:10001"}))
    assert "s3://" in fault.value.hint
    with pytest.raises(RecipeError, match="is relative"):
        parse(page(), settings=["run.address=auto"])
    for root, how in (("/mnt/t", {"address": "auto"}), ("s3://b/t", {"address": "auto"}), ("runs/t", {}), ("runs/t", {"address": "auto", "pool": "inline"})):  # fmt: skip
        assert parse({**page(run=how), "root": root}).root == root


def test_sizes():
    assert parse_bytes("2GiB") == 2 << 30 and parse_bytes("500MB") == 500_000_000 and parse_bytes("7") == 7
    with pytest.raises(ValueError, match="no size"):
        parse_bytes("much")


def test_every_recipe_of_the_project_is_valid(repo, monkeypatch):
    monkeypatch.chdir(repo)
    recipes = sorted((repo / "configs").glob("*.yaml"))
    # A model of the Hub is fetched where a recipe is loaded; tests/configs loads those with one that is made there.
    names = [path.name for path in recipes if "hf://" not in path.read_text(encoding="utf-8")]
    assert "quickstart.yaml" in names and "llama-lab.yaml" not in names
    for name in names:
        assert load(repo / "configs" / name).steps, name


def test_an_override_meets_what_it_overrides_whatever_both_are_called():
    """By an earlier name, by another tool's, in a group or with a dot."""
    for given in ({"learning_rate": 1.0}, {"optimizer": {"learning_rate": 1.0}}, {"optimizer.learning_rate": 1.0}):
        for name in ("learning_rate", "optimizer.learning_rate"):
            step = {"train": {"tokenizer": "tokenizer", **given}}
            made = parse(page(step), "page", [f"train.{name}=0.5"]).step("train").stage
            assert made.optimizer.learning_rate == 0.5, (given, name)
    step = {"train": {"tokenizer": "tokenizer", "model": {"hidden_size": 64, "num_hidden_layers": 4}}}
    made = parse(page(step), "page", ["train.hidden=32"]).step("train").stage
    assert (made.model.hidden_size, made.model.num_hidden_layers) == (32, 4)
