"""What `inspect`, `trace` and `view` say of the shares that rows were dropped by."""

from __future__ import annotations

from typing import Any

from pipeline.inspection.limits import MetricLimit
from stages.exclude_overlap import ExcludeOverlap


def limits(options: dict[str, Any]) -> list[MetricLimit]:
    """The least share of runs of words that makes a row go."""
    stage: ExcludeOverlap = ExcludeOverlap.build(options, "exclude_overlap")  # type: ignore[assignment]
    return [
        MetricLimit(f"exclude_overlap.{reason}", f"exclude_overlap.{metric}", "high", "share", stage.share, closed=True)
        for reason, metric in (("copy", "own"), ("near", "own"), ("holds", "held"))
    ]
