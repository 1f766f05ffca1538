"""Several classifiers as one decision: each score as a rank, the ranks as one number, the number as a bucket."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.docs import Docs
from pipeline.errors import OptionError, UsageError
from pipeline.filter import Verdict
from pipeline.paths import number, values_at
from stages.text.rules import Bound, Rule


class ScoreBuckets(Rule):
    """Combines score columns that filters before it wrote (`quality_model`, `perplexity`, ...) into a bucket from 0 up.

    Every score becomes the bucket its own `edges` put it in (a score of the first edge and more is in bucket 1, ...); the
    document's is the greatest, least or mean of them. Nemotron-CC takes the greatest of three classifiers cut into 20 buckets
    (Su et al. 2024, section 2.3); edges come from `maetdol what-if STORE --top quality_model.score=5`.
    """

    edges: dict[str, tuple[float, ...]] = Field(min_length=1)
    "Rising edges per score column or path (`meta.score`): `{quality_score: [0.1, 0.5, 0.9], educational: [1.5, 2.5, 3.5]}`; as many for each."
    combine: Literal["max", "min", "mean"] = "max"
    "How the buckets of one document are combined; the mean is rounded down."
    min: float | None = None
    "Least bucket kept."
    max: float | None = None
    "Greatest bucket kept."
    column: str = "quality_bucket"
    "Column the bucket is written to (int64; null where no score is known)."
    bounds: ClassVar[tuple[Bound, ...]] = (Bound("bucket", low="min", high="max"),)

    @model_validator(mode="after")
    def _rising(self) -> "ScoreBuckets":
        if len({len(own) for own in self.edges.values()}) > 1:
            raise ValueError("edges: give as many edges for every column, or their buckets do not compare")
        for name, own in self.edges.items():
            if not own or list(own) != sorted(set(own)):
                raise ValueError(f"edges.{name}: give rising numbers")
        return self

    def evaluate(self, docs: Docs) -> Verdict:
        names = docs.batch.schema.names
        try:
            scores = {name: values_at(docs.batch, name, "score_buckets") for name in self.edges}
        except UsageError as fault:
            raise OptionError(fault.message, f"put the filter that writes it before; {fault.hint}") from None
        bucket = self.combined(
            {name: np.array([number(value) for value in found], np.float64) for name, found in scores.items()}
        )
        metrics = {"bucket": bucket}
        column = pa.array(np.nan_to_num(bucket).astype(np.int64), pa.int64(), mask=np.isnan(bucket))
        return Verdict(
            self.decide(metrics, docs.column("lang") if "lang" in names else None),
            metrics,
            columns={self.column: column},
        )

    def combined(self, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """The bucket per text, float64: NaN where no score is known."""
        ranks = np.stack(
            [
                np.where(np.isnan(values), np.nan, np.searchsorted(self.edges[name], values, side="right"))
                for name, values in scores.items()
            ]
        )
        known = ~np.isnan(ranks)
        if self.combine == "mean":
            with np.errstate(invalid="ignore"):
                return np.floor(
                    np.where(known, ranks, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
                )
        far = -np.inf if self.combine == "max" else np.inf
        best = np.where(known, ranks, far)
        best = best.max(axis=0) if self.combine == "max" else best.min(axis=0)
        return np.where(known.any(axis=0), best, np.nan)
