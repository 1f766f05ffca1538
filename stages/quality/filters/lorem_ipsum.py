"""Placeholder text."""

import numpy as np

from pipeline.docs import Docs
from stages.text.lines.table import lines
from stages.text.rules import Bound, Rule

PHRASES = (("lorem ipsum",),)


class LoremIpsum(Rule):
    """Lines that hold "lorem ipsum". C4: Raffel et al. 2020, section 2.2."""

    max: int | None = 0
    "Most such lines (C4: none)."
    bounds = (Bound("lines", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        table = docs.cached(lines)
        return {"lines": table.per_text(table.phrases(PHRASES)[:, 0] > 0)}
