"""What the report says of evaluations."""

from __future__ import annotations

from typing import Any

from pipeline.inspection.charts import Cell, Fold, PageHeading, Part, Table, figure, number, parts_of
from pipeline.inspection.sections import Samples, artefact_json
from pipeline.storage.store import Store

TITLE = "Evaluation"
KOREAN = {
    "95% interval": "95% 구간", "better": "나아짐", "change": "변화", "Evaluation": "평가", "measure": "지표", "models": "모델", "prompt": "프롬프트",
    "what each model writes": "모델이 쓴 글",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Each model against the one before, and what it writes."""
    parts: list[Part] = []
    for store in stores:
        if store.shape == "artefact:evaluation":
            report = artefact_json(store, "report.json")
            own = (_metrics(report, samples), _comparisons(report, samples), _generations(report, samples))
            parts += parts_of(PageHeading(store.name), *own)
    return parts


def _metrics(report: dict[str, Any], samples: Samples) -> Table:
    models = report.get("models", [])
    names = list(dict.fromkeys(name for model in models for name in model.get("metrics", {})))
    rows = [[name, *(_measured(model, name) for model in models)] for name in names]
    return Table([samples.t("measure"), *(str(model.get("name")) for model in models)], rows)


def _measured(model: dict[str, Any], name: str) -> Cell:
    value, interval = model.get("metrics", {}).get(name), model.get("intervals", {}).get(name)
    if not isinstance(value, (int, float)):
        return Cell(_value(value))
    return figure(value, f"{_value(value)} [{_value(interval[0])}, {_value(interval[1])}]" if interval else None)


def _comparisons(report: dict[str, Any], samples: Samples) -> Table | None:
    """Each model against the one before, with the interval of the change."""
    t = samples.t
    rows = [
        [
            c["measure"],
            f"{c['before']} → {c['after']}",
            c["change"],
            f"[{_value(c['low'])}, {_value(c['high'])}]",
            t("better") if c["better"] else "",
        ]
        for c in report.get("comparisons", [])
    ]
    return Table([t("measure"), t("models"), t("change"), t("95% interval"), ""], rows) if rows else None


def _value(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) else "" if value is None else str(value)


def _generations(report: dict[str, Any], samples: Samples) -> Fold | None:
    body = []
    models = report.get("models", [])
    prompts = list(dict.fromkeys(g["prompt"] for model in models for g in model.get("generations", [])))
    for prompt in prompts:
        columns = [
            next((g["text"] for g in model.get("generations", []) if g["prompt"] == prompt), "") for model in models
        ]
        body.append(samples.show([prompt, *columns]))
    table = Table([samples.t("prompt"), *(str(model.get("name")) for model in models)], body)
    return Fold(samples.t("what each model writes"), [table], is_open=True) if body else None
