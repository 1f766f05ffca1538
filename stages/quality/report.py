"""What `inspect`, `trace` and `view` say of limits, and how a step is decided again under others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.inspection.limits import MetricLimit
from stages.quality import DEFAULT, Quality
from stages.quality.evaluate import names
from stages.quality.whatif import changed as _changed
from stages.quality.whatif import decided, langs_of, metrics_of, parsed, unread_of
from stages.text.rules import Rule, word_of

LANGUAGE = r"^lang=([^;]+)"
"""The language in the note of a ledger row."""


def limits(options: dict[str, Any]) -> list[MetricLimit]:
    """Every limit of the step's rules, by language where they differ."""
    stage: Quality = Quality.build(options, "quality")  # type: ignore[assignment]
    found = []
    for prefix, each in zip(names(stage.filters), stage.filters):
        if isinstance(each, Rule):
            found += _of_rule(prefix, each)
    return found


def _of_rule(prefix: str, each: Rule) -> list[MetricLimit]:
    stem, found = word_of(type(each)), []
    langs = sorted({*each.languages, *getattr(each, "stop_words", {}), *getattr(each, "words", {})})
    for bound in each.bounds:
        name = f"{stem}.{bound.measure}" if len(each.bounds) > 1 else stem
        for end, option in (("low", bound.low), ("high", bound.high)):
            if option is None:
                continue
            values = np.broadcast_to(each.limits(option, pa.array([*langs, None], pa.large_string())), len(langs) + 1)
            *own, usual = [None if np.isnan(value) else float(value) for value in values]
            others = {lang: value for lang, value in zip(langs, own) if value != usual}
            if usual is not None or others:
                found.append(
                    MetricLimit(
                        f"{name}.{end}", f"{prefix}.{bound.measure}", end, f"{stem}.{option}", usual, others,
                        language=LANGUAGE,
                    )
                )  # fmt: skip
    return found


def changed(options: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """The options, as a recipe has them, with other limits; UsageError for what no ledger can answer."""
    entries = [_entry(entry) for entry in options.get("filters") or DEFAULT]
    _changed(Quality.build(options, "quality"), settings)  # type: ignore[arg-type]  # says what cannot be asked
    out = dict(options)
    for setting in settings:
        (word, *option), value = parsed(setting)
        if word in ("exempt", *(old for old, new in Quality.renamed.items() if new == "exempt")):
            out["exempt"] = list(value or ())
            continue
        at = next(n for n, (name, _) in enumerate(entries) if name == word)
        given = dict(entries[at][1])
        languages = {lang: dict(own) for lang, own in (given.get("languages") or {}).items()}
        if option[0] == "languages":
            languages.setdefault(option[1], {})[option[2]] = value
        else:
            given[option[0]] = value
            for own in languages.values():
                own.pop(option[0], None)
        entries[at] = (word, {**given, **({"languages": languages} if languages else {})})
    return {**out, "filters": [{name: given} if given else name for name, given in entries]}


def _entry(entry: Any) -> tuple[str, dict[str, Any]]:
    """Name and options of a filter, as a recipe has it."""
    return (entry, {}) if isinstance(entry, str) else next((name, dict(own or {})) for name, own in entry.items())


def decide(options: dict[str, Any], ledger: pa.Table) -> list[str | None]:
    """The reason of every ledger row under `options`, those of `changed`."""
    stage: Quality = Quality.build(options, "quality")  # type: ignore[assignment]
    return decided(
        stage, names(stage.filters), metrics_of(ledger), langs_of(ledger), unread_of(ledger["reasons"].to_pylist())
    )
