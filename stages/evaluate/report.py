"""What the report says of evaluations."""

from __future__ import annotations

from html import escape
from typing import Any

from pipeline.inspection.charts import number, table
from pipeline.inspection.sections import Samples, artefact_json
from pipeline.storage.store import Store

TITLE = "Evaluation"


def section(stores: list[Store], samples: Samples) -> str:
    """Each model against the one before, and what it writes."""
    parts = []
    for store in stores:
        if store.shape == "artefact:evaluation":
            report = artefact_json(store, "report.json")
            parts.append(
                f"<h3>{escape(store.name)}</h3>{_metrics(report)}{_comparisons(report)}{_generations(report, samples)}"
            )
    return "".join(parts)


def _metrics(report: dict[str, Any]) -> str:
    models = report.get("models", [])
    names = list(dict.fromkeys(name for model in models for name in model.get("metrics", {})))
    rows = [[escape(name), *(_measured(model, name) for model in models)] for name in names]
    return table(["measure", *(escape(str(model.get("name"))) for model in models)], rows, range(1, len(models) + 1))


def _measured(model: dict[str, Any], name: str) -> str:
    shown = _value(model.get("metrics", {}).get(name))
    interval = model.get("intervals", {}).get(name)
    return (
        f'{shown} <span class="soft">[{_value(interval[0])}, {_value(interval[1])}]</span>'
        if shown and interval
        else shown
    )


def _comparisons(report: dict[str, Any]) -> str:
    """Each model against the one before, with the interval of the change."""
    rows = [
        [
            escape(c["measure"]),
            f"{escape(c['before'])} → {escape(c['after'])}",
            _value(c["change"]),
            f"[{_value(c['low'])}, {_value(c['high'])}]",
            "better" if c["better"] else "",
        ]
        for c in report.get("comparisons", [])
    ]
    return table(["measure", "models", "change", "95% interval", ""], rows, (2, 3)) if rows else ""


def _value(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) else "" if value is None else escape(str(value))


def _generations(report: dict[str, Any], samples: Samples) -> str:
    body = []
    models = report.get("models", [])
    prompts = list(dict.fromkeys(g["prompt"] for model in models for g in model.get("generations", [])))
    for prompt in prompts:
        columns = [
            next((g["text"] for g in model.get("generations", []) if g["prompt"] == prompt), "") for model in models
        ]
        body.append(samples.show([prompt, *columns]))
    head = ["prompt", *(escape(str(model.get("name"))) for model in models)]
    return f"<details open><summary>what each model writes</summary>{table(head, body)}</details>" if body else ""
