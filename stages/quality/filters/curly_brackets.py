"""Code in place of prose."""

import numpy as np

from pipeline.docs import Docs
from stages.text.lines.table import lines
from stages.text.rules import Bound, Rule

PHRASES = (("{",),)


class CurlyBrackets(Rule):
    """Lines that hold a curly bracket. C4: Raffel et al. 2020, section 2.2; not for corpora that want code."""

    max: int | None = 0
    "Most such lines (C4: none)."
    bounds = (Bound("lines", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        table = docs.cached(lines)
        return {"lines": table.per_text(table.phrases(PHRASES)[:, 0] > 0)}
