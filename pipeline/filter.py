"""The contract of a filter: options in, verdict out, nothing else touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pipeline.docs import Docs
from pipeline.options import Options
from pipeline.schema import Edit


@dataclass
class Verdict:
    """What a filter says of every row of a batch: `reason` (None keeps), `metrics` (a float per row), `edits` per row."""

    reason: list[str | None]
    metrics: dict[str, np.ndarray] = field(default_factory=dict)
    edits: list[list[Edit]] | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    """Columns of the row this filter sets, such as `lang`: name to a typed array (or list) of one value per row."""
    notes: list[str | None] | None = None
    """What the ledger should say besides numbers, such as the languages that came second; no text of the corpus."""


class Filter(Options):
    """One file in a stage's `filters/` folder; the file's name is the word in the YAML."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions decide the verdict."""
    calls: ClassVar[bool] = False
    """Does it ask others, who may charge for it? Then no row is tried twice to find one that takes long."""

    def evaluate(self, docs: Docs) -> Verdict:
        """Pure: the same batch and options give the same verdict."""
        raise TypeError(f"{type(self).__name__} has no evaluate()")

    @staticmethod
    def where(condition: np.ndarray, reason: str, *, otherwise: list[str | None] | None = None) -> list[str | None]:
        """Rows with `condition` get `reason`; others keep what `otherwise` says (None: kept)."""
        base = otherwise if otherwise is not None else [None] * len(condition)
        return [b if b is not None else (reason if c else None) for b, c in zip(base, condition.tolist())]
