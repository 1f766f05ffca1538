"""Training a fastText classifier from good and bad texts: split, train in a process of its own, measure, write the card."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.engine.stage import versions
from pipeline.errors import WorkError
from pipeline.options import digest
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store
from stages.quality.sources import Sample, samples
from stages.text.classify.classifier import CARD, line_of, probabilities

if TYPE_CHECKING:
    from stages.quality.commands import TrainModel

LABELS = ("positive", "negative")
THRESHOLDS = (0.02, 0.05, *(n / 10 for n in range(1, 10)), 0.95, 0.98)
REDRAWN = 1_000
"""Draws behind the interval of a card's AUC."""
CHILD = """
import json, sys
from fasttext import FastText
order = json.load(sys.stdin)
model = FastText.train_supervised(**order["train"])
if order["quantise"]:
    model.quantize(input=order["train"]["input"], qnorm=True, retrain=True, thread=1)
model.save_model(order["model"])
"""
ZEROED = {"MALLOC_PERTURB_": "255"}
"""With one thread fastText sets only a tenth of its input matrix and takes the rest as memory gives it: zeros where the
matrix is large enough to be mapped afresh, else whatever stood there, so that small models differ from run to run or fail
with "Encountered NaN", and second trainings in one process do too. This makes glibc hand out zeroed memory. More than one
thread gives another model each time."""


@dataclass(frozen=True)
class TrainingSet:
    """Texts by side (`train`, `held_out`), with their labels; texts as the lines the model reads."""

    ids: list[str]
    lines: list[str]
    labels: np.ndarray
    """0 positive, 1 negative."""
    held: np.ndarray
    """bool: on the held-out side."""
    used: np.ndarray
    """bool: trained on, or measured."""


def train_classifier(order: TrainModel) -> Receipt:
    """Train under `order` and put model, card and ledger into its sink."""
    examples = gathered(order)
    sink = Store(order.sink)
    key = digest(
        [
            order.fingerprint(),
            versions(("fasttext-numpy2",)),
            digest([examples.ids, [hash_of(line) for line in examples.lines]]),
        ]
    )
    with tempfile.TemporaryDirectory(prefix="maetdol-model-") as passing:
        folder = Path(passing) / "artefact"
        folder.mkdir()
        model = folder / ("model.ftz" if order.quantise else "model.bin")
        _trained(order, examples, Path(passing) / "train.txt", model)
        card = card_of(order, examples, str(model))
        (folder / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", "utf-8")
        (folder / "card.md").write_text(page_of(card), "utf-8")
        ledger = Ledger.rows(
            examples.ids,
            out=[None] * len(examples.ids),
            reason=[None if used else "quality_model.surplus" for used in examples.used],
            note=[
                f"{LABELS[label]}, {'held out' if held else 'trained on'}"
                for label, held in zip(examples.labels, examples.held)
            ],
        )
        receipt = sink.put_artefact(folder, ledger, key=key, stage="quality", notes={"quality_model": card["held_out"]})
    page = {"recipe": "", "step": sink.name, "stage": "quality-model", "shape": "artefact:quality_model", "key": key}
    sink.commit_manifest(page, [])
    return receipt


def hash_of(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def gathered(order: TrainModel) -> TrainingSet:
    """All texts, once each, split by a hash of their group. WorkError where a side has too few to learn or to measure."""
    found: dict[str, tuple[Sample, int]] = {}
    for label, sources in enumerate((order.positive, order.negative)):
        for source in sources:
            for sample in samples(source, order.field, order.group):
                found.setdefault(hash_of(sample.text), (sample, label))
    rows = sorted(found.values(), key=lambda row: hash_of(f"{order.seed}/{row[0].text}"))
    labels = np.array([label for _, label in rows], np.int64)
    held = np.array([_share(f"{order.seed}/{sample.group}") < order.held_out for sample, _ in rows], bool)
    for label, name in enumerate(LABELS):
        for side, inside in (("trained on", ~held), ("held out", held)):
            if (count := int(((labels == label) & inside).sum())) < 10:
                raise WorkError(
                    f"only {count} {name} texts would be {side}",
                    "give more texts, another `held_out`, or a `group` of more values",
                )
    lines = [line_of(sample.text, order.chars, order.lower) for sample, _ in rows]
    return TrainingSet(
        [sample.id for sample, _ in rows], lines, labels, held, held | _balanced(labels, held, order.max_ratio)
    )


def _share(text: str) -> float:
    return int(hash_of(text), 16) / 2**64


def _balanced(labels: np.ndarray, held: np.ndarray, ratio: float) -> np.ndarray:
    """Rows to train on: of the larger class, in hash order, at most `ratio` times the smaller."""
    use = ~held
    counts = [int((use & (labels == label)).sum()) for label in (0, 1)]
    larger = int(np.argmax(counts))
    most = int(ratio * min(counts))
    surplus = np.flatnonzero(use & (labels == larger))[most:]
    use[surplus] = False
    return use


def _trained(order: TrainModel, examples: TrainingSet, path: Path, model: Path) -> None:
    with open(path, "w", encoding="utf-8") as out:
        for line, label, held, used in zip(examples.lines, examples.labels, examples.held, examples.used):
            if used and not held:
                out.write(f"__label__{LABELS[label]} {line}\n")
    train = {
        "input": str(path), "thread": 1, "verbose": 0, "seed": order.seed, "lr": order.learning_rate, "dim": order.dim,
        "epoch": order.epochs, "wordNgrams": order.word_ngrams, "minn": order.min_chars, "maxn": order.max_chars,
        "bucket": order.buckets, "minCount": order.min_count,
    }  # fmt: skip
    job = json.dumps({"train": train, "model": str(model), "quantise": order.quantise})
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=job, capture_output=True, text=True, env={**os.environ, **ZEROED}
    )
    if done.returncode or not model.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkError(f"fastText could not train: {last}", "lower `learning_rate`, or give more texts")


def card_of(order: TrainModel, examples: TrainingSet, model: str) -> dict[str, Any]:
    """What the model is and how well it tells the held-out texts apart; plain JSON, no text of the corpus."""
    rows = np.flatnonzero(examples.held)
    scores = np.nan_to_num(probabilities(model, [examples.lines[row] for row in rows.tolist()], LABELS[0]))
    good = examples.labels[rows] == 0
    options = order.model_dump(mode="json", exclude={"sink", "positive", "negative"})
    return {
        "labels": list(LABELS),
        "reads": {"chars": order.chars, "lower": order.lower},
        "options": options,
        "trained_on": {
            name: int((examples.used & ~examples.held & (examples.labels == n)).sum()) for n, name in enumerate(LABELS)
        },
        "held_out": {
            "positive": int(good.sum()),
            "negative": int((~good).sum()),
            "auc": round(auc(scores, good), 4),
            "auc_interval": [round(end, 4) for end in interval(scores, good, order.seed)],
            "average_precision": round(average_precision(scores, good), 4),
            "chance_average_precision": round(float(good.mean()), 4),
            "accuracy_at_half": round(float(((scores >= 0.5) == good).mean()), 4),
        },
        "thresholds": [at_threshold(scores, good, t) for t in THRESHOLDS],
        "quantiles": {str(q): round(float(np.quantile(scores[~good], q)), 6) for q in (0.5, 0.75, 0.9, 0.95, 0.99)},
        "libraries": versions(("fasttext-numpy2",)),
    }


def auc(scores: np.ndarray, good: np.ndarray) -> float:
    """Chance that a good text scores above a bad one, ties counting half."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    _, first, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    n, m = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def interval(scores: np.ndarray, good: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % interval of the AUC by redrawing the held-out texts of each side 1,000 times."""
    draw = np.random.default_rng(seed)
    sides = [np.flatnonzero(good), np.flatnonzero(~good)]
    found = []
    for _ in range(REDRAWN):
        rows = np.concatenate([draw.choice(side, len(side)) for side in sides])
        found.append(auc(scores[rows], good[rows]))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def average_precision(scores: np.ndarray, good: np.ndarray) -> float:
    """Mean of the precision at every good text, by falling score."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(good[order])
    return float((hits[good[order]] / (np.flatnonzero(good[order]) + 1)).mean()) if good.any() else float("nan")


def at_threshold(scores: np.ndarray, good: np.ndarray, threshold: float) -> dict[str, float]:
    """Precision, recall and the share kept when texts from `threshold` on are kept."""
    kept = scores >= threshold
    right = int((kept & good).sum())
    return {
        "threshold": threshold,
        "precision": round(right / max(int(kept.sum()), 1), 4),
        "recall": round(right / max(int(good.sum()), 1), 4),
        "kept": round(float(kept.mean()), 4),
    }


def page_of(card: dict[str, Any]) -> str:
    """The card as a page to read."""
    held = card["held_out"]
    rows = "\n".join(
        f"| {t['threshold']} | {t['precision']} | {t['recall']} | {t['kept']} |" for t in card["thresholds"]
    )
    return (
        "# Quality classifier\n\n"
        f"fastText, trained on {card['trained_on']['positive']:,} positive and {card['trained_on']['negative']:,} negative texts; reads the first "
        f"{card['reads']['chars']:,} code points{', lower-cased' if card['reads']['lower'] else ''}.\n\n"
        f"Held out: {held['positive']:,} positive, {held['negative']:,} negative. AUC {held['auc']} (95 % interval {held['auc_interval'][0]} to {held['auc_interval'][1]}, chance 0.5), average precision "
        f"{held['average_precision']} (chance {held['chance_average_precision']}), accuracy at 0.5 {held['accuracy_at_half']}.\n\n"
        "| threshold | precision | recall | kept |\n|---|---|---|---|\n"
        f"{rows}\n\nOptions: `{json.dumps(card['options'], ensure_ascii=False)}`\n"
    )
