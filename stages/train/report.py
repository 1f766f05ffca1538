"""What the report says of training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.inspection.charts import Beside, Curves, PageHeading, Paragraph, Part, number, parts_of
from pipeline.inspection.sections import Samples
from pipeline.storage.ledger import left_out
from pipeline.storage.proof import PAGE
from pipeline.storage.store import ARTEFACT, Store

TITLE = "Training"
KOREAN = {
    "divergence from the base": "베이스와의 발산", "log-probability": "로그 확률", "loss (nats per token)": "손실 (토큰당 nat)", "loss (per pair)": "손실 (쌍당)",
    "margin": "마진", "preference accuracy": "선호 정확도", "Reasoning left out by the template: {} rows.": "템플릿이 추론을 뺀 행 {}개.", "reward": "보상",
    "Rows left out: {}.": "뺀 행: {}.", "Training": "학습", "{} (held out)": "{} (검증)",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Curves out of each model's history.jsonl: every numeric field over the steps, losses first."""
    t, parts = samples.t, list[Part]()
    for store in stores:
        path = store.artefact() / "history.jsonl"
        history = (
            [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()] if path.exists() else []
        )
        curves: dict[str, list[tuple[float, float]]] = {}
        for entry in history:
            for name in _numeric(entry):
                label = name if entry.get("kind", "train") == "train" else t("{} (held out)", name)
                curves.setdefault(label, []).append((entry["step"], entry[name]))
        per = "per pair" if store.shape == "artefact:reward" else "nats per token"
        kinds = {
            "loss": f"loss ({per})",
            "logp": "log-probability",
            "accuracy": "preference accuracy",
            "margin": "margin",
            "reward": "reward",
            "kl": "divergence from the base",
        }
        groups = {word: {n: p for n, p in curves.items() if word in n} for word in kinds}
        groups["reward"] = {n: p for n, p in groups["reward"].items() if "accuracy" not in n}
        drawn = [[Curves(groups[word], t("step"), t(label))] for word, label in kinds.items() if groups[word]]
        parts += parts_of(PageHeading(store.name), _left_out(store, samples), Beside(drawn))
    return parts


def pages(stores: list[Store]) -> Iterator[tuple[str, str]]:
    """The model cards: README.md beside the weights."""
    from stages.train.model_card import pages as cards

    for store, text in cards(stores):
        yield f"{store.name}/{PAGE}", text


def _left_out(store: Store, samples: Samples) -> Paragraph | None:
    """Rows a model was trained without, by reason, and those it was trained on without their reasoning."""
    found = store.receipt(ARTEFACT)
    unseen = found.notes.get("doctor", {}).get("rows whose reasoning the template leaves out") if found else 0
    counts = left_out(found.notes.get("left_out") or {}) if found else ""
    sentences = [samples.t("Rows left out: {}.", counts)] if counts else []
    sentences += [samples.t("Reasoning left out by the template: {} rows.", number(unseen))] if unseen else []
    return Paragraph(" ".join(sentences)) if sentences else None


def _numeric(entry: dict[str, Any]) -> list[str]:
    return (
        [k for k, v in entry.items() if k != "step" and isinstance(v, (int, float)) and not isinstance(v, bool)]
        if "step" in entry
        else []
    )
