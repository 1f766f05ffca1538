"""An ablation measures every text of a recipe by the same rule, on documents no proxy saw, and says no more than the numbers do."""

import base64
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from pipeline.engine.recipe import parse
from pipeline.errors import RecipeError, UsageError
from pipeline.storage.store import Store
from stages.evaluate import ablation, ablation_page, proxies
from stages.evaluate.commands import Ablate
from stages.evaluate.proxies import MeasuredDocuments, VariantMeasure

torch = pytest.importorskip("torch")

STEPS = [
    {"ingest": {"name": "books", "from": "books"}},
    {"ingest": {"name": "web", "from": "web"}},
    {"quality": {"of": ["books", "web"], "filters": [{"mean_word_length": {"max": 10}}]}},
    "dedup",
    "pii",
    {"tokenizer": {"vocab_size": 300}},
    "pack",
]


def recipe(steps=STEPS, root="runs/x"):
    return parse({"name": "x", "root": str(root), "steps": steps, "run": {"pool": "inline"}})


def test_the_texts_of_a_recipe_are_found_and_nothing_is_compared_twice():
    assert ablation.variants_of(recipe(), ()) == [
        ("raw", ("books", "web")), ("filtered", ("quality",)), ("deduplicated", ("dedup",)), ("curated", ("pii",)),
    ]  # fmt: skip
    assert [v.name for v in ablation.variants_of(recipe(STEPS[:4]), ())] == ["raw", "filtered", "curated"]
    assert [v.name for v in ablation.variants_of(recipe(STEPS[:3]), ())] == ["raw", "curated"]
    assert ablation.variants_of(recipe(), ("books=books", "all=books+web")) == [
        ("books", ("books",)),
        ("all", ("books", "web")),
    ]


@pytest.mark.parametrize(
    "call, fault",
    [
        (lambda r: ablation.variants_of(r, ("raw",)), "variant 'raw' has no step"),
        (lambda r: ablation.variants_of(r, ("raw=boks",)), "no step is called 'boks'"),
        (lambda r: ablation.variants_of(r, ("raw=pack",)), "step 'pack' makes TOKENS"),
        (lambda r: ablation.variants_of(r, ("a=web", "a=books")), "two variants have one name"),
        (lambda r: ablation.measured_from(r, ablation.variants_of(r, ()), ("wbe",)), "no step is called 'wbe'"),
        (lambda r: ablation.variants_of(recipe(STEPS[:2]), ()), "does nothing to its text"),
    ],
)
def test_a_word_that_names_nothing_is_refused_before_anything_runs(call, fault):
    with pytest.raises((UsageError, RecipeError), match=fault):
        call(recipe())


def test_only_what_the_texts_need_is_run_and_nothing_is_fused_away():
    whole = recipe()
    found = ablation.needed(whole, ablation.variants_of(whole, ()), ["web"])
    assert (
        [step.name for step in found.steps] == ["books", "web", "quality", "dedup", "pii"]
        and not found.run.fuse
        and not found.run.drop_raw
    )


def test_a_store_given_by_its_path_is_measured_entire_and_a_step_in_part():
    whole, options = recipe(), Ablate(recipe="x.yaml", holdout=0.2, seeds=2, tokenizer="t/store")
    variants = ablation.variants_of(whole, ("raw=books+web", "curated=pii"))
    on = ablation.measured_from(whole, variants, ("books", "sets/news"))
    steps = [next(iter(step.items())) for step in ablation.page(whole, variants, on, options)["steps"]]
    split, measured, *rest = steps
    assert split == (
        "split",
        {"name": "drawn-0", "of": "runs/x/books", "share": 0.2, "by": "document", "salt": "ablate"},
    )
    assert measured == ("dedup", {"name": "measured", "of": ["drawn-0", "sets/news"]})
    assert [name for name, _ in rest] == ["exclude_overlap"] * 2 + ["pack"] * 2 + ["train", "evaluate"] * 4, (
        "no tokenizer is trained where one is given"
    )
    assert rest[0][1] == {"name": "raw-text", "of": ["runs/x/books", "runs/x/web"], "against": "measured"}
    shapes = [
        {k: v for k, v in options.items() if k not in ("name", "of", "seed")}
        for name, options in rest
        if name == "train"
    ]
    assert all(one == shapes[0] for one in shapes) and sorted(o["seed"] for n, o in rest if n == "train") == [
        1,
        1,
        2,
        2,
    ]


def test_intervals_are_those_of_drawing_documents_and_seeds_one_by_one():
    """Documents with replacement, and the mean over seeds as Student has it: its error times a normal draw over the root of a chi-square."""
    rng = np.random.default_rng(3)
    size = rng.integers(50, 400, 40).astype(float)
    hard = rng.normal(2.0, 0.5, 40)
    texts = {
        name: VariantMeasure((hard + shift + rng.normal(0, 0.006, (3, 1))) * size, size)
        for name, shift in (("raw", 0.0), ("curated", -0.05))
    }
    found = proxies.compare({"bits per byte": texts}, "raw", 4000, 5)["bits per byte"]
    slow = []
    for _ in range(4000):
        rows, seeds, z, c = rng.integers(0, 40, 40), rng.integers(0, 3, 3), rng.normal(), rng.chisquare(2)
        of = {name: m.numerator[:, rows].sum(axis=1) / size[rows].sum() for name, m in texts.items()}
        change = of["curated"] - of["raw"]
        student = [one.mean() + one.std(ddof=1) / 3**0.5 * z / (c / 2) ** 0.5 for one in (of["curated"], change)]
        slow.append((*student, change[seeds].mean()))
    expected = np.quantile(slow, [0.025, 0.975], axis=0)
    assert found["curated"]["interval"] == pytest.approx(expected[:, 0], abs=0.03)
    assert found["curated"]["change_interval"] == pytest.approx(expected[:, 1], abs=0.003)
    assert found["curated"]["change_bootstrap"] == pytest.approx(expected[:, 2], abs=0.001)
    spread = np.diff(found["curated"]["interval"])[0] / np.diff(found["curated"]["change_interval"])[0]
    assert spread > 3, "what all texts find hard falls out of the difference"
    assert found["curated"]["better"] and not found["raw"]["better"] and not found["raw"]["worse"]


def test_accuracies_are_better_when_they_rise():
    right = {
        "raw": VariantMeasure(np.zeros((2, 30)), np.ones(30)),
        "curated": VariantMeasure(np.ones((2, 30)), np.ones(30)),
    }
    found = proxies.compare({"accuracy (x)": right}, "raw", 200, 1)["accuracy (x)"]["curated"]
    assert found["better"] and not found["worse"] and found["mean"] == 1.0


def test_groups_too_small_to_speak_of_and_those_that_are_all_are_left_out():
    assert list(proxies.groups(["ko"] * 20, [True] * 12 + [False] * 8)) == [
        "bits per byte",
        "bits per byte (kept by the recipe)",
    ]
    assert list(proxies.groups(["ko"] * 15 + ["en"] * 5, [True] * 20)) == ["bits per byte", "bits per byte (ko)"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, sentences_of):
    """Sentences of two languages, and a second source half of which is noise and the other half copies of the first."""
    folder = tmp_path_factory.mktemp("corpus")
    rng, lines = random.Random(5), sentences_of(5, 900)
    texts = [" ".join(lines[at : at + 5]) for at in range(0, 900, 5)]
    noise = ["\n".join(base64.b64encode(rng.randbytes(45)).decode() for _ in range(4)) for _ in range(90)]
    for name, rows in (("books", texts), ("web", noise + texts[:40])):
        (folder / name).mkdir()
        page = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows)
        (folder / name / "rows.jsonl").write_text(page, "utf-8")
    return folder


SMALL = {
    "tokens": 24_000,
    "seeds": 2,
    "hidden": 32,
    "layers": 1,
    "heads": 2,
    "seq_len": 64,
    "vocab_size": 400,
    "batch": 8,
    "holdout": 0.2,
    "threads": 1,
    "on": ("books",),
}


@pytest.fixture(scope="module")
def ablated(corpus, tmp_path_factory):
    """The page of the recipe, what an ablation of it printed, and where its stores lie."""
    folder = tmp_path_factory.mktemp("ablated")
    steps = [
        {"ingest": {"name": name, "from": str(corpus / name)}} for name in ("books", "web")
    ] + STEPS[2:4]  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(
        json.dumps({"name": "x", "root": str(folder / "run"), "steps": steps, "run": {"pool": "inline"}}), "utf-8"
    )
    questions = folder / "q.jsonl"
    rows = [
        {
            "prompt": f"{n}: how do you call 쌀? It is",
            "choices": ["rice.", "oats."][:: 1 if n % 2 else -1],
            "answer": 0 if n % 2 else 1,
        }
        for n in range(12)
    ]
    questions.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    options = {**SMALL, "recipe": str(path), "choices": (str(questions),)}
    Ablate(**options).run()
    return options, folder / "run"


@pytest.fixture
def report(ablated):
    return json.loads((ablated[1] / "ablate/ablation.json").read_text("utf-8"))


def test_text_with_noise_and_copies_taken_out_makes_the_better_model_of_equal_tokens(report):
    raw, filtered, curated = report["variants"]
    assert raw["tokens"] == pytest.approx(curated["tokens"], rel=0.02) and raw["tokens"] > 20_000, (
        "rows are of one length but for a shard's last"
    )
    assert raw["parameters"] == filtered["parameters"] == curated["parameters"]
    assert raw["documents"] > filtered["documents"] > curated["documents"] and raw["epochs"] < curated["epochs"]
    assert report["measures"]["bits per byte"]["filtered"]["better"]
    assert (
        report["measures"]["bits per byte (kept by the recipe)"]["curated"]["better"]
        and report["measures"]["accuracy (q)"]["raw"]["rows"] == 12
    )


def test_no_proxy_saw_what_it_is_measured_on(ablated, report):
    """Neither the documents measured on, nor the copies of them in the other source."""
    root = ablated[1] / "ablate"
    measured = set(Store(root / "measured").table()["text"].to_pylist())
    assert len(measured) >= 20 and report["documents"] == len(measured)
    web = set(Store(ablated[1] / "web").table()["text"].to_pylist())
    assert measured & web, "some of them stand in the other source too"
    for variant in ("raw", "filtered", "curated"):
        text = Store(root / f"{variant}-text")
        assert not measured & set(text.table()["text"].to_pylist())
        assert sum(text.require()["reasons"].values()) > 0 and set(text.require()["reasons"]) <= {
            "exclude_overlap.copy",
            "exclude_overlap.near",
            "exclude_overlap.holds",
        }


def test_what_is_shown_agrees_with_the_numbers_per_document(ablated, report):
    root = ablated[1] / "ablate"
    with open(root / "ablation-documents.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == report["documents"] and {row["kept"] for row in rows} <= {"0", "1"}
    bits = sum(float(row["raw-1"]) for row in rows) / sum(int(row["bytes"]) for row in rows)
    assert report["measures"]["bits per byte"]["raw"]["seeds"][0] == pytest.approx(bits, abs=1e-3)
    table, plot = (root / "ablation.md").read_text("utf-8"), (root / "ablation.svg").read_text("utf-8")
    assert f"{report['measures']['bits per byte']['curated']['mean']:.4f}" in table and "change from raw" in table
    assert plot.count("<circle") == len(report["measures"]) * 3 * (SMALL["seeds"] + 1) and plot.startswith("<svg")


def test_what_stands_is_not_trained_again_and_a_dry_run_says_so(ablated, capsys):
    options, root = ablated
    before = {path: path.stat().st_mtime_ns for path in (root / "ablate").glob("*/receipts/artefact.json")}
    table = (root / "ablate/ablation.md").read_text("utf-8")
    assert Ablate(**options, dry_run=True).run() == 0
    said = capsys.readouterr().out
    assert (
        "6 models (3 texts x 2 seeds), 23,552 tokens each, 141,312 in all" in said
        and "of the ablation's 21 steps 21 are done" in said
    )
    assert "46 steps are few" in said
    Ablate(**options).run()
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) == 13
    assert (root / "ablate/ablation.md").read_text("utf-8") == table


def test_a_dry_run_of_a_new_recipe_makes_nothing(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        json.dumps({"name": "x", "root": "run", "steps": [{"ingest": {"from": str(corpus / "books")}}, "dedup"]}),
        "utf-8",
    )
    assert Ablate(recipe=str(path), dry_run=True).run() == 0
    assert "first the recipe's own steps: ingest, dedup" in capsys.readouterr().out and not (tmp_path / "run").exists()


def test_too_few_documents_are_no_measure(make_store, tmp_path):
    with pytest.raises(UsageError, match="3 documents are too few"):
        proxies.held_of(make_store(tmp_path / "m", ["one", "two", "three", " "]), [], 100, 4096)


def test_long_documents_are_measured_by_their_beginning_in_whole_characters(make_store, tmp_path):
    store = make_store(tmp_path / "m", [f"{n} 맷돌이 돌아간다" for n in range(30)])
    held = proxies.held_of(store, [store], 100, 8)
    assert all(len(row["text"].encode()) <= 8 and "\ufffd" not in row["text"] for row in held.rows) and all(held.kept)


def test_documents_no_filter_has_labelled_are_told_apart_by_language(make_store, tmp_path):
    texts = [
        f"{n}번 맷돌은 곡식을 곱게 갈아 준다." if n % 2 else f"The {n}th millstone grinds the grain to a fine flour."
        for n in range(24)
    ]
    rows = proxies.held_of(make_store(tmp_path / "m", texts), [], 100, 4096).rows
    assert {(row["lang"], "맷돌" in row["text"]) for row in rows} == {("ko", True), ("en", False)}


def test_a_page_is_written_without_names_that_break_it():
    found = {"bits per byte": {"a<b": VariantMeasure(np.ones((2, 20)), np.ones(20))}}
    report = {"measures": proxies.compare(found, "a<b", 200, 1)}
    assert "a&lt;b" in ablation_page.plot(report) and "a<b" not in ablation_page.plot(report)
    rows = [{"id": str(n), "lang": None} for n in range(20)]
    assert (
        ablation_page.documents(found["bits per byte"], MeasuredDocuments(rows, [False] * 20)).splitlines()[1]
        == "0,und,0,1,1.000,1.000"
    )


KILLED = """
import os, signal, sys
from stages.evaluate import measure
from stages.evaluate.commands import Ablate
whole, left = measure.Reader.sums, [int(sys.argv[2])]
def sums(reader, rows):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(reader, rows)
measure.Reader.sums = sums
Ablate.model_validate_json(sys.argv[1]).run()
"""


def test_killed_while_it_measures_it_goes_on_with_what_was_not_measured(ablated, tmp_path):
    """Of six proxies two are measured when it dies within the third; the table is that of the undisturbed run, byte for byte."""
    options, root = ablated
    shutil.copytree(root, tmp_path / "run")
    options = {**options, "set": (f"root={tmp_path / 'run'}",)}
    second = tmp_path / "run/ablate"
    for path in [*second.glob("*-measured"), *second.glob("ablation*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    trained = {path: path.stat().st_mtime_ns for path in second.glob("*-[12]/receipts/artefact.json")}
    died = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(options), "5"], capture_output=True, text=True, env=os.environ
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    measured = {path: path.stat().st_mtime_ns for path in second.glob("*-measured/receipts/artefact.json")}
    assert len(measured) == 2 and len(list(second.glob("*-measured"))) <= 3 and not (second / "ablation.md").exists()
    Ablate(**options).run()
    assert len(list(second.glob("*-measured/receipts/artefact.json"))) == 6
    assert {path: path.stat().st_mtime_ns for path in measured | trained} == measured | trained, (
        "nothing that stood was done again"
    )
    for name in ("ablation.md", "ablation.svg", "ablation.json", "ablation-documents.csv"):
        assert (second / name).read_bytes() == (root / "ablate" / name).read_bytes()


def test_a_second_ablation_of_the_same_thing_has_nothing_to_do(ablated, capsys):
    options, root = ablated
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and ".lock" not in path.name}
    Ablate(**options).run()
    said = capsys.readouterr().out
    assert "x-ablate: nothing to do, all 21 steps and the table are up to date" in said and "change from raw" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("harm", ["lost", "changed", "asked otherwise"])
def test_a_table_that_no_longer_tells_what_was_measured_is_made_again_without_measuring(ablated, capsys, harm):
    options, root = ablated
    table = root / "ablate/ablation.md"
    whole = table.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (root / "ablate").glob("*/receipts/artefact.json")}
    if harm == "asked otherwise":
        options = {**options, "bootstrap": 500}
    table.unlink() if harm == "lost" else table.write_bytes(whole + b" " * (harm == "changed"))
    Ablate(**options).run()
    assert "nothing to do" not in capsys.readouterr().out
    assert (table.read_bytes() == whole) == (harm != "asked otherwise")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    Ablate(**ablated[0]).run()
    assert table.read_bytes() == whole


def test_too_few_documents_are_refused_before_anything_is_trained(ablated, tmp_path):
    options, root = ablated
    shutil.copytree(root, tmp_path / "run", ignore=shutil.ignore_patterns("ablate"))
    with pytest.raises(UsageError, match="too few to measure on"):
        Ablate(**{**options, "holdout": 0.01, "set": (f"root={tmp_path / 'run'}",)}).run()
    assert not list((tmp_path / "run/ablate").glob("raw-*"))


def test_another_draw_measures_other_documents():
    whole, variants = recipe(), ablation.variants_of(recipe(), ())
    salts = [
        ablation.page(whole, variants, ["web"], Ablate(recipe="x", draw=word))["steps"][0]["split"]["salt"]
        for word in ("", "second")
    ]
    assert salts == ["ablate", "ablatesecond"]
