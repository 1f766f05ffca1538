"""Classifiers: sources, the split, reproducible training, the card, and the filter that applies one."""

import json
import lzma
import random
import re

import numpy as np
import pytest

from pipeline.errors import OptionError, SourceError, WorkError
from pipeline.schema import doc_id
from pipeline.storage.store import Store
from stages.quality.commands import TrainModel
from stages.quality.sources import samples
from stages.quality.train_classifier import at_threshold, auc, average_precision, gathered, interval

GOOD = "정확한 설명 자세한 예시 올바른 문장 차분한 문체 clear careful explained example".split()
BAD = "대박 공짜 클릭 당첨 지금바로 무료 click winner free cheap".split()
BOTH = "그리고 오늘 우리 사람 the and of with day time".split()


def lines(rng: random.Random, words: list[str], count: int) -> list[str]:
    return [" ".join(rng.choices(words + BOTH, k=12)) for _ in range(count)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(3)
    rows = [
        {"text": t, "kind": k, "site": f"{k}{n % 20}"}
        for k, words in (("good", GOOD), ("bad", BAD))
        for n, t in enumerate(lines(rng, words, 150))
    ]
    (folder / "all.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return folder


def order(texts, sink, **options) -> TrainModel:
    source = texts / "all.jsonl"
    given = {
        "sink": str(sink),
        "positive": [f"{source}[kind=good]"],
        "negative": [f"{source}[kind=bad]"],
        "held_out": 0.2,
        "dim": 8,
        "buckets": 1000,
        "epochs": 20,
    }
    return TrainModel.build({**given, **options}, "quality-model train")


@pytest.fixture(scope="module")
def model(texts, tmp_path_factory) -> Store:
    sink = tmp_path_factory.mktemp("model") / "store"
    assert order(texts, sink).run() == 0
    return Store(sink)


def test_what_can_be_told_apart_is(model):
    card = json.loads((model.artefact() / "card.json").read_text())
    assert card["held_out"]["auc"] > 0.95 and card["held_out"]["positive"] >= 10
    assert model.shape == "artefact:quality_model" and "AUC" in (model.artefact() / "card.md").read_text()
    recalls = [row["recall"] for row in card["thresholds"]]
    assert recalls == sorted(recalls, reverse=True)


def test_the_ledger_says_who_was_trained_on_and_who_was_held_out(model):
    ledger = model.ledger("artefact")
    notes = ledger["note"].to_pylist()
    assert len(ledger) == 300 and {n.split(", ")[1] for n in notes} == {"trained on", "held out"}


def test_the_same_order_gives_the_same_model(texts, model, tmp_path):
    order(texts, tmp_path / "again").run()
    assert Store(tmp_path / "again").content_hash == model.content_hash


def test_a_group_stays_on_one_side(texts, tmp_path):
    examples = gathered(order(texts, tmp_path / "x", group="site"))
    by_id = {s.id: s.group for s in samples(str(texts / "all.jsonl"), group="site")}
    sides: dict[str, set[bool]] = {}
    for row_id, held in zip(examples.ids, examples.held.tolist()):
        sides.setdefault(by_id[row_id], set()).add(held)
    assert all(len(side) == 1 for side in sides.values())


def test_the_larger_class_is_cut(texts, tmp_path):
    examples = gathered(
        order(
            texts,
            tmp_path / "x",
            positive=[f"{texts / 'all.jsonl'}[site=good1]", f"{texts / 'all.jsonl'}[site=good2]"]
            + [f"{texts / 'all.jsonl'}[site=good{n}]" for n in range(3, 9)],
            max_ratio=2,
            held_out=0.25,
        )
    )
    train = examples.used & ~examples.held
    assert (train & (examples.labels == 1)).sum() == 2 * (train & (examples.labels == 0)).sum()


def test_the_filter_scores_and_selects(model, batch_of):
    from stages.quality import Quality

    stage = Quality.build({"filters": [{"quality_model": {"model": model.path, "min": 0.5}}]}, "quality")
    work = stage.work(batch_of([" ".join(GOOD), " ".join(BAD), "..."]))
    assert work.ledger["reason"].to_pylist()[:2] == [None, "quality_model.low"]
    assert work.kept["quality_score"][0].as_py() > 0.5 and work.kept.schema.field("quality_score").type == "double"


def test_the_model_counts_by_content_and_its_label_must_be_known(model, batch_of, tmp_path):
    from stages.quality import Quality

    copy = tmp_path / "copy.bin"
    copy.write_bytes((model.artefact() / "model.bin").read_bytes())
    keys = {
        Quality.build({"filters": [{"quality_model": {"model": m}}]}, "quality").fingerprint()
        for m in (model.path, str(copy))
    }
    assert len(keys) == 1
    stage = Quality.build({"filters": [{"quality_model": {"model": model.path, "label": "hq"}}]}, "quality")
    with pytest.raises(OptionError, match="no label 'hq'"):
        stage.work(batch_of(["x"]))
    with pytest.raises(OptionError, match="no classifier at"):
        Quality.build({"filters": [{"quality_model": {"model": "nowhere"}}]}, "quality")


def test_too_few_texts_are_named(texts, tmp_path):
    with pytest.raises(WorkError, match="positive texts would be"):
        gathered(order(texts, tmp_path / "x", positive=[f"{texts / 'all.jsonl'}[site=good1]"]))


@pytest.mark.parametrize(
    "source, message",
    [
        ("none.jsonl", "nothing at"),
        ("all.jsonl[colour=red]", "no column 'colour'"),
        ("all.jsonl[kind]", "no condition"),
    ],
)
def test_wrong_sources_are_named(texts, source, message):
    with pytest.raises(SourceError, match=message):
        list(samples(str(texts / source)))


def test_sources_of_every_kind(tmp_path, make_store):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.tsv").write_text("text\tn\none\t1\n")
    (tmp_path / "c.jsonl.xz").write_bytes(lzma.compress(b'{"text": "one"}\n{"text": null}\n'))
    pq.write_table(pa.table({"text": ["one"]}), tmp_path / "d.parquet")
    make_store(tmp_path / "store", ["one", None])
    assert [
        [s.text for s in samples(str(tmp_path / n))] for n in ("a.txt", "b.tsv", "c.jsonl.xz", "d.parquet", "store")
    ] == [["one", "two"]] + [["one"]] * 4
    (tmp_path / "e.jsonl").write_text("{broken")
    with pytest.raises(SourceError, match="cannot read"):
        list(samples(str(tmp_path / "e.jsonl")))


def test_the_interval_holds_what_chance_allows():
    rng = np.random.default_rng(4)
    good = rng.random(400) < 0.5
    low, high = interval(rng.random(400), good, 1)
    assert low < 0.55 and high > 0.45 and 0.05 < high - low < 0.2
    low, high = interval(good + rng.normal(size=400), good, 1)
    assert 0.6 < low < high < 0.9 and interval(good * 1.0, good, 1) == (1.0, 1.0)


def test_measures_against_plain_counting():
    rng = np.random.default_rng(1)
    scores, good = rng.integers(0, 5, 60) / 4, rng.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[good] for b in scores[~good]]
    assert auc(scores, good) == pytest.approx(np.mean(pairs))
    assert average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)
    assert at_threshold(np.array([0.9, 0.4]), np.array([True, True]), 0.5) == {
        "threshold": 0.5,
        "precision": 1.0,
        "recall": 0.5,
        "kept": 0.5,
    }


@pytest.mark.slow
def test_human_from_machine_translation(shared, tmp_path):
    source = tmp_path / "docs.jsonl"
    with (
        lzma.open(shared / "C-cpp-docs-ko.jsonl.xz", "rt", encoding="utf-8") as rows,
        open(source, "w", encoding="utf-8") as out,
    ):
        for row in map(json.loads, rows):
            body = re.sub(r"\A---\n.*?\n---\n", "", row["markdown"], flags=re.S)  # the header names the answer
            folder = row["path"].rsplit("/", 1)[0]
            out.write(
                json.dumps({"text": body, "kind": row["translationtype"], "folder": folder}, ensure_ascii=False) + "\n"
            )
    options = {
        "positive": [f"{source}[kind=HT]"],
        "negative": [f"{source}[kind=MT]"],
        "held_out": 0.25,
        "group": "folder",
    }
    receipt_order = TrainModel.build({"sink": str(tmp_path / "model"), **options}, "x")
    assert receipt_order.run() == 0
    card = json.loads((Store(tmp_path / "model").artefact() / "card.json").read_text())
    held = card["held_out"]
    assert (
        held["auc"] > 0.7
        and held["auc_interval"][0] > 0.65
        and held["average_precision"] > held["chance_average_precision"] + 0.1
    )
    assert "95 % interval" in (Store(tmp_path / "model").artefact() / "card.md").read_text()


@pytest.mark.slow
def test_hate_from_none_and_a_toxicity_filter(shared, tmp_path, batch_of):
    """A toxicity filter is a classifier trained the same way, with `max` in place of `min`."""
    import csv
    import tarfile

    from stages.quality import Quality

    with tarfile.open(shared / "I-korean-hate-speech.tar.xz") as tar:
        (tmp_path / "comments.tsv").write_bytes(tar.extractfile("labeled/train.tsv").read())
    source = tmp_path / "comments.tsv"
    order = {
        "field": "comments",
        "positive": [f"{source}[hate=hate]"],
        "negative": [f"{source}[hate=none]"],
        "held_out": 0.2,
    }
    TrainModel.build({"sink": str(tmp_path / "model"), **order}, "x").run()
    store = Store(tmp_path / "model")
    held = json.loads((store.artefact() / "card.json").read_text())["held_out"]
    assert held["auc"] > 0.75 and held["auc_interval"][0] > 0.7

    unseen = {
        row
        for row, note in zip(store.ledger("artefact")["id"].to_pylist(), store.ledger("artefact")["note"].to_pylist())
        if "held out" in note
    }
    with open(source, encoding="utf-8", newline="") as lines:
        rows = [
            (row["comments"], row["hate"])
            for n, row in enumerate(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
            if doc_id("comments.tsv", str(n)) in unseen
        ]
    stage = Quality.build(
        {"filters": [{"quality_model": {"model": store.path, "min": None, "max": 0.5, "column": "toxicity"}}]},
        "quality",
    )
    reasons = stage.work(batch_of([text for text, _ in rows])).ledger["reason"].to_pylist()
    dropped = {
        kind: [why == "quality_model.high" for why, (_, own) in zip(reasons, rows) if own == kind]
        for kind in ("hate", "none")
    }
    assert len(dropped["hate"]) > 300 and sum(dropped["hate"]) / len(dropped["hate"]) > 3 * sum(dropped["none"]) / len(
        dropped["none"]
    )
