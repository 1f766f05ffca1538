"""The numbers behind a reason: which ledger column was held against which limit, and by how much it fell short.

What a stage knows of its own limits it says in its `report.py`:

    limits(options) -> list[MetricLimit]              the limits of a finished step, from the options in its manifest
    changed(options, settings) -> options       its options with other limits, as `word_count.min=30`; UsageError for the rest
    decide(options, ledger) -> list[str | None] the reason of every ledger row anew, from the numbers alone

A stage without them is shown without limits; nothing else depends on it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.engine import catalog
from pipeline.storage.store import Store


class MetricLimit(NamedTuple):
    """One limit: a reason, the ledger column it is decided by, and the value that column is held against."""

    reason: str
    metric: str
    end: str
    """`low`: smaller values are dropped; `high`: larger ones."""
    option: str
    """As `maetdol what-if --set` and a recipe name it: `word_count.min`."""
    value: float | None
    """None: no limit where `languages` has none."""
    languages: Mapping[str, float | None] = {}
    """Other values by language."""
    closed: bool = False
    """Is a value equal to the limit dropped too?"""
    language: str = ""
    """A regular expression whose first group is the language in the row's note; empty: limits are the same for all."""

    def of(self, note: str | None) -> float | None:
        """The limit of a row, by the note of its ledger row."""
        found = re.search(self.language, note or "") if self.language and self.languages else None
        return self.languages.get(found[1], self.value) if found else self.value

    def fails(self, value: float | None, limit: float | None) -> bool:
        """Does a row of this value fail?"""
        if value is None or limit is None or math.isnan(value):
            return False
        return value < limit if self.end == "low" else value > limit or (self.closed and value == limit)


class Measurement(NamedTuple):
    """What was measured of a row, against what."""

    metric: str
    value: float
    sign: str
    limit: float
    option: str

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.6g} {self.sign} {self.limit:.6g} ({self.option})"


def limits_of(store: Store) -> list[MetricLimit]:
    """The limits a finished store was made with; empty where its stage does not say."""
    manifest = store.require()
    return _limits(manifest.get("stage"), manifest.get("options") or {})


def _limits(stage: str | None, options: Mapping[str, Any]) -> list[MetricLimit]:
    module = catalog.hook(stage, "report")
    return module.limits(dict(options)) if module is not None and hasattr(module, "limits") else []


def measured(row: Mapping[str, Any], limits: list[MetricLimit]) -> list[Measurement]:
    """The numbers that a ledger row was dropped by, its first reason first; empty where none is known."""
    found = []
    for reason in row.get("reasons") or ([row["reason"]] if row.get("reason") else []):
        for limit in limits:
            value, against = row.get(limit.metric), limit.of(row.get("note"))
            if limit.reason == reason and value is not None and against is not None and limit.fails(value, against):
                sign = "<" if limit.end == "low" else ">=" if limit.closed else ">"
                found.append(Measurement(limit.metric, value, sign, against, limit.option))
    return found


def nearness(value: float, limit: float) -> float:
    """How far a value lies from a limit, as a share of the limit (of 1 where that is 0)."""
    return abs(value - limit) / (abs(limit) or 1.0)
