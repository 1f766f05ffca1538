"""What the report says of training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from pipeline.inspection.charts import lines, number
from pipeline.inspection.sections import Samples
from pipeline.storage.ledger import left_out
from pipeline.storage.proof import PAGE
from pipeline.storage.store import ARTEFACT, Store

TITLE = "Training"


def section(stores: list[Store], samples: Samples) -> str:
    """Curves out of each model's history.jsonl: every numeric field over the steps, losses first."""
    parts = []
    for store in stores:
        path = store.artefact() / "history.jsonl"
        history = (
            [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()] if path.exists() else []
        )
        curves: dict[str, list[tuple[float, float]]] = {}
        for entry in history:
            for name in _numeric(entry):
                label = name if entry.get("kind", "train") == "train" else f"{name} (held out)"
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
        drawn = "".join(lines(groups[word], x="step", y=label) for word, label in kinds.items())
        parts.append(f'<h3>{escape(store.name)}</h3>{_left_out(store)}<div class="two">{drawn}</div>')
    return "".join(parts)


def pages(stores: list[Store]) -> Iterator[tuple[str, str]]:
    """The model cards: README.md beside the weights."""
    from stages.train.model_card import pages as cards

    for store, text in cards(stores):
        yield f"{store.name}/{PAGE}", text


def _left_out(store: Store) -> str:
    """Rows a model was trained without, by reason, and those it was trained on without their reasoning."""
    found = store.receipt(ARTEFACT)
    unseen = found.notes.get("doctor", {}).get("rows whose reasoning the template leaves out") if found else 0
    counts = left_out(found.notes.get("left_out") or {}) if found else ""
    lines = [
        f"Rows left out: {counts}." if counts else "",
        f"Reasoning left out by the template: {number(unseen)} rows." if unseen else "",
    ]
    return f"<p>{escape(' '.join(line for line in lines if line))}</p>" if any(lines) else ""


def _numeric(entry: dict[str, Any]) -> list[str]:
    return (
        [k for k, v in entry.items() if k != "step" and isinstance(v, (int, float)) and not isinstance(v, bool)]
        if "step" in entry
        else []
    )
