"""Applying a fastText classifier: what of a text it reads, and the probability of one label."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.errors import OptionError
from stages.text.classify.apply import scorer
from stages.text.language.identify import LABEL

CARD = "card.json"
MODELS = ("model.ftz", "model.bin")


def line_of(text: str, chars: int, lower: bool) -> str:
    """A text as the one line a classifier reads: its first `chars` code points, blanks as single ones."""
    head = text[:chars].lower() if lower else text[:chars]
    return " ".join(head.split())


def model_file(path: str) -> str:
    """The model file of a store, of its artefact folder, or the file itself. OptionError where there is none."""
    root = Path(path)
    for folder in (root / "artefact", root):
        for name in MODELS:
            if (folder / name).is_file():
                return str(folder / name)
    if root.is_file():
        return path
    raise OptionError(
        f"there is no classifier at {path}",
        "train one with `maetdol quality-model train`, or give a fastText model file",
    )


@cache
def card_of(model: str) -> dict:
    """The card beside a model file; empty where there is none (a model from elsewhere)."""
    path = Path(model).parent / CARD
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


@dataclass(frozen=True)
class Probability:
    """The measure: `docs.cached(Probability(model, "positive"))`: the label's probability per text (float64, 0 to 1).

    NaN where the text has no word. What is read of a text is what the model's card says it was trained on.
    """

    model: str
    label: str

    def __call__(self, docs: Docs) -> np.ndarray:
        reads = card_of(self.model).get("reads", {})
        chars, lower = int(reads.get("chars", 1 << 30)), bool(reads.get("lower", False))
        lines = [line_of(text, chars, lower) for text in docs.text.to_pylist()]
        return probabilities(self.model, lines, self.label)


def probabilities(model: str, lines: list[str], label: str) -> np.ndarray:
    """Probability of `label` per line. OptionError where the model does not know the label."""
    compiled = scorer(model)
    wanted = label if label.startswith(LABEL) else LABEL + label
    if wanted not in compiled.labels:
        known = ", ".join(sorted(name.removeprefix(LABEL) for name in compiled.labels)[:20])
        raise OptionError(f"the model knows no label {label!r}", f"known: {known}")
    text = pa.array(lines, pa.large_string())
    offsets = np.frombuffer(text.buffers()[1], np.int64)[: len(lines) + 1] if lines else np.zeros(1, np.int64)
    data = np.frombuffer(text.buffers()[2] or b"", np.uint8)
    sums = compiled.sums(data, offsets[:-1], offsets[1:])
    scores = compiled.probabilities(sums.means[:, 0])[:, compiled.labels.index(wanted)]
    return np.where((sums.features[:, 0] > 0) & (np.diff(offsets) > 0), np.minimum(scores, 1.0), np.nan)
