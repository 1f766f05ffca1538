"""A search for the weights of a mix: mixtures within caps, a regression that is held against left-out mixtures, and a test of what it finds."""

import base64
import json
import random

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.recipe import parse
from pipeline.errors import OptionError, RecipeError, UsageError
from pipeline.storage.store import ARTEFACT, Store
from stages.evaluate.commands import MixSearch
from stages.evaluate.mixing import law, mixtures, search, swarm, table
from stages.evaluate.mixing.swarm import Groups, MeasuredGroups

torch = pytest.importorskip("torch")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=9))
def test_shares_are_cut_at_their_caps_and_what_is_cut_goes_to_the_others(rows):
    shares, caps = (np.array(column) for column in zip(*rows))
    if not shares.sum():
        shares[0] = 1.0
    shares, caps = shares / shares.sum(), np.maximum(caps, 1.2 * caps / caps.sum())
    made = mixtures.within(shares, caps)
    assert made.sum() == pytest.approx(1) and (made <= caps + 1e-9).all() and (made >= 0).all()
    free = (made < caps - 1e-9) & (shares > 1e-9)
    if free.sum() > 1:
        ratio = made[free] / shares[free]
        assert ratio.max() == pytest.approx(ratio.min(), rel=1e-6), "the others keep their proportions"
    if (shares <= caps).all():
        assert made == pytest.approx(shares)


def test_sampled_mixtures_are_within_caps_differ_and_begin_alike_whatever_their_number():
    natural, caps = np.array([0.7, 0.25, 0.05]), np.array([1.0, 0.8, 0.2])
    few, many = (mixtures.sampled(natural, caps, count, 3) for count in (5, 40))
    assert (many[:5] == few).all() and len(np.unique(many, axis=0)) == 40
    assert many.sum(1) == pytest.approx(1) and (many <= caps + 1e-3).all() and many[:, 2].max() > 0.15
    assert (mixtures.sampled(natural, caps, 5, 4) != few).any()
    assert mixtures.alike(np.array([1.0, 1.0, 0.1])) == pytest.approx([0.45, 0.45, 0.1])


def planted(shares, floor=1.0):
    """Losses of two groups that each fall with their own share, and by half as much with the third."""
    return np.stack([floor + np.exp(-1.5 * shares[:, 0] - 0.7 * shares[:, 2]), floor + np.exp(-1.2 * shares[:, 1])], 1)


def test_a_left_out_mixture_is_predicted_by_the_law_of_all_others():
    """The closed form gives what fitting again without each mixture gives."""
    shares = mixtures.sampled(np.array([0.5, 0.3, 0.2]), np.ones(3), 15, 1)
    losses = planted(shares) + np.random.default_rng(2).normal(0, 0.01, (15, 2))
    for form in ("linear", "log"):
        quick = law._left_out(shares, losses, form, 1e-9, 0.0)
        for row in range(15):
            others = np.arange(15) != row
            slow = law.law_of(shares[others], losses[others], form, 1e-9, 0.0).predict(shares[row : row + 1])[0]
            assert quick[row] == pytest.approx(slow, abs=1e-4)


def test_the_law_finds_the_best_mixture_of_a_planted_one():
    rng, target = np.random.default_rng(7), np.array([0.5, 0.5])
    natural, caps = np.array([0.1, 0.6, 0.3]), np.array([1.0, 1.0, 0.3])
    shares = mixtures.sampled(natural, caps, 32, 1)
    losses = planted(shares) + rng.normal(0, 0.003, (32, 2))
    best, left_out = law.fit(shares, losses, target)
    assert law.rank_correlation(left_out, losses @ target) > 0.95
    found = law.best_mixture(best, target, natural, caps, 1)
    grid = rng.dirichlet(np.ones(3), 200_000)
    grid = grid[(grid <= caps).all(1)]
    truth = planted(grid) @ target
    assert (planted(found[None]) @ target)[0] - truth.min() < 0.01 < truth.std() and (found <= caps + 1e-9).all()
    change, low, high = law.change(shares, losses, target, best, np.stack([natural, found]), 200, 1)
    real = np.diff(planted(np.stack([natural, found])) @ target)[0]
    assert low < high < 0 and low - 0.02 < real < high + 0.02 and change == pytest.approx(real, abs=0.03)


def test_losses_without_any_pattern_are_not_predicted():
    shares = mixtures.sampled(np.array([0.5, 0.3, 0.2]), np.ones(3), 24, 1)
    losses = 2 + np.random.default_rng(3).normal(0, 0.05, (24, 1))
    _, left_out = law.fit(shares, losses, np.ones(1))
    assert (law.rank_correlation(left_out, losses[:, 0]) or 0) < 0.5
    assert np.sqrt(np.mean((left_out - losses[:, 0]) ** 2)) > 0.9 * losses.std()


def test_caps_follow_from_what_there_is_and_none_is_left_without_room():
    found = Groups(["en", "ko"], np.array([900.0, 100.0]))
    assert swarm.caps(found, 500, 2) == pytest.approx([1.0, 0.4])
    with pytest.raises(UsageError, match="is one mixture alone"):
        swarm.caps(found, 1000, 1)


def test_the_smallest_groups_are_weighed_as_one():
    found = Groups(["a", "b", "other"], np.array([5.0, 3.0, 2.0]))
    assert found.shares({"a": 5, "c": 3, "d": 2}) == pytest.approx([0.5, 0.0, 0.5])


def test_a_group_of_two_columns_ends_no_cell():
    law_, pair = (
        {"form": "log", "rank_left_out": 0.9, "off_left_out": 0.1, "spread": 0.2, "change": [0, 0, 0], "checked": []},
        "ko|web",
    )
    row = {"name": pair, "bytes": 1, "natural": 0.5, "cap": 1, "alike": 0.5, "found": 0.5, "epochs": 1}
    measures = {
        "natural": {
            "bits per byte (target)": {
                "found": {
                    "better": True,
                    "rows": 9,
                    "mean": 1,
                    "interval": [0, 1],
                    "seeds": [1],
                    "change": 0,
                    "change_interval": [0, 0],
                    "worse": False,
                }
            }
        }
    }
    report = {
        "recipe": "x",
        "by": "lang",
        "mixtures": 4,
        "groups": [row],
        "parameters": 1,
        "tokens": 1,
        "documents": 1,
        "target": {pair: 1.0},
        "budget": 1,
        "few": {},
        "law": law_,
        "seeds": 2,
        "measures": measures,
        "yaml": [],
    }
    rows = [line for line in table.page(report).splitlines() if line.startswith("| ko")]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 8


def test_a_target_names_measured_groups():
    held = MeasuredGroups(["ko", "en"], np.ones((2, 3), bool), {"ja": 4})
    assert search._target(held, {}) == pytest.approx([0.5, 0.5])
    assert search._target(held, {"ko": 3, "en": 1}) == pytest.approx([0.75, 0.25])
    for weights, fault in (
        ({"ja": 1}, "'ja' has 4 documents"),
        ({"kr": 1}, "'kr' is not measured"),
        ({"ko": 0}, "above 0"),
    ):
        with pytest.raises(UsageError, match=fault):
            search._target(held, weights)


STEPS = [{"ingest": {"name": "books", "from": "b"}}, {"mix": {"by": "source", "max_repeats": 4}}]


@pytest.mark.parametrize(
    "steps, name, fault, kind",
    [
        (STEPS[:1], None, "has 0 steps that mix", UsageError),
        (
            [*STEPS, {"mix": {"name": "again", "of": "books"}}],
            None,
            "has 2 steps that mix documents: mix, again",
            UsageError,
        ),
        (STEPS, "books", "is no mix", UsageError),
        (STEPS, "mxi", "no step is called", RecipeError),
    ],
)
def test_a_recipe_without_a_mix_to_search_is_refused(steps, name, fault, kind):
    recipe = parse({"name": "x", "root": "runs/x", "steps": steps})
    with pytest.raises(kind, match=fault):
        swarm.mix_step(recipe, name)


def test_a_budget_that_is_none_is_refused():
    with pytest.raises(OptionError):
        MixSearch.build({"recipe": "x.yaml", "budget": "much"}, "mix-search")


SMALL = {
    "tokens": 16_000, "seeds": 2, "hidden": 32, "layers": 1, "heads": 2, "seq_len": 64, "vocab_size": 400, "batch": 8, "holdout": 0.3,
    "threads": 1, "mixtures": 6, "check": 3, "bootstrap": 400,
}  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory, sentences_of):
    """A recipe over two sources, one of them noise that nobody wants to write, and what a search of its mix found."""
    folder = tmp_path_factory.mktemp("searched")
    rng, lines = random.Random(5), sentences_of(5, 900)
    texts = [" ".join(lines[at : at + 5]) for at in range(0, 900, 5)]
    noise = ["\n".join(base64.b64encode(rng.randbytes(45)).decode() for _ in range(4)) for _ in range(150)]
    for name, rows in (("books", texts), ("noise", noise)):
        (folder / name).mkdir()
        page = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows)
        (folder / name / f"{name}.jsonl").write_text(page, "utf-8")
    steps = [{"ingest": {"name": name, "from": str(folder / name)}} for name in ("books", "noise")]
    steps.append({"mix": {"of": ["books", "noise"], "by": "store", "max_repeats": 4}})
    page = {"name": "x", "root": str(folder / "run"), "steps": steps, "run": {"pool": "inline"}}
    (folder / "recipe.yaml").write_text(json.dumps(page), "utf-8")
    options = {**SMALL, "recipe": str(folder / "recipe.yaml"), "target": {"0": 1.0}}
    assert MixSearch(**options).run() == 0
    return options, folder / "run"


def report_of(root):
    return json.loads((root / "mix-search/mix-search.json").read_text("utf-8"))


def test_noise_is_left_out_where_books_are_wanted_and_that_is_measured(searched):
    _, root = searched
    report = report_of(root)
    shares = {one["name"]: one for one in report["groups"]}
    assert shares["0"]["found"] > 0.9 > shares["0"]["natural"] and shares["0"]["alike"] == 0.5
    found = report["measures"]["natural"]["bits per byte (target)"]["found"]
    assert found["better"] and found["change"] < 0 and len(found["seeds"]) == 2
    assert report["measures"]["alike"]["bits per byte (target)"]["found"]["better"]
    assert report["law"]["rank_left_out"] > 0.5 and report["law"]["change"][2] < 0
    assert len(report["law"]["checked"]) == 3 and len(report["law"]["fitted"]) == 6
    books = report["measures"]["natural"]["bits per byte (0)"]["found"]["rows"]
    assert found["rows"] == books < report["documents"], "what weighs nothing is no document of the target"


def test_the_weights_it_prints_are_a_step_of_the_recipe(searched):
    _, root = searched
    text = (root / "mix-search/mix-search.md").read_text("utf-8")
    [step] = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    recipe = parse({"name": "y", "root": "runs/y", "steps": [{"ingest": {"from": "b"}}, step]})
    weights = recipe.step("mix").stage.weights
    assert (
        set(weights) == {"0", "1"}
        and sum(weights.values()) == pytest.approx(1)
        and recipe.step("mix").stage.max_repeats == 4
    )
    assert weights["0"] == pytest.approx(next(one["found"] for one in report_of(root)["groups"] if one["name"] == "0"))


def test_proxies_saw_no_measured_document_and_what_was_mixed_is_what_was_asked(searched):
    _, root = searched
    measured = set(Store(root / "mix-search/measured").table()["text"].to_pylist())
    report = report_of(root)
    assert len(measured) == report["documents"] >= 60
    for number in range(9):
        store = Store(root / f"mix-search/mixtures/{number:04d}/text")
        rows = store.table(["text", "source"])
        assert not measured & set(rows["text"].to_pylist())
        sizes = {True: 0, False: 0}
        for text, source in zip(rows["text"].to_pylist(), rows["source"].to_pylist()):
            sizes["books" in source] += len(text.encode())
        one = [*report["law"]["checked"], *report["law"]["fitted"]][number]
        assert sizes[True] / sum(sizes.values()) == pytest.approx(one["shares"]["0"], abs=0.08)


def test_what_is_done_stays_and_more_mixtures_are_added_to_it(searched):
    options, root = searched
    before = {path: path.stat().st_mtime_ns for path in root.glob("mix-search/**/receipts/artefact.json")}
    assert len(before) == (9 + 3 * 2) * 2 + 1, "a model and its measuring each, and the tokenizer"
    table = (root / "mix-search/mix-search.md").read_text("utf-8")
    assert MixSearch(**options).run() == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (root / "mix-search/mix-search.md").read_text("utf-8") == table
    assert MixSearch(**{**options, "mixtures": 7}).run() == 0
    now = {path: path.stat().st_mtime_ns for path in before if "mixtures/0" in str(path)}
    assert all(before[path] == at for path, at in now.items()), "those that were trained are not trained again"
    assert Store(root / "mix-search/mixtures/0009/proxy-1").receipt(ARTEFACT)


def test_a_dry_run_says_what_it_costs_and_makes_nothing(searched, tmp_path, capsys):
    options, _ = searched
    assert MixSearch(**{**options, "set": (f"root={tmp_path / 'new'}",), "dry_run": True}).run() == 0
    out = capsys.readouterr().out
    assert "first the recipe's own steps: books, noise" in out and "15 models" in out and "240,000 in all" in out
    assert "hours by arithmetic" in out and not (tmp_path / "new").exists()


def test_on_ray_mixtures_are_trained_side_by_side_to_the_same_numbers(searched, tmp_path):
    options, root = searched
    report = report_of(root)
    more = {
        **options,
        "set": (f"root={tmp_path / 'ray'}",),
        "pool": "ray",
        "workers": 2,
        "mixtures": 4,
        "check": 0,
        "seeds": 2,
    }
    assert MixSearch(**more).run() == 0
    other = report_of(tmp_path / "ray")
    same = [*report["law"]["checked"], *report["law"]["fitted"]][:4]
    assert [one["measured"] for one in other["law"]["fitted"]] == [one["measured"] for one in same]
