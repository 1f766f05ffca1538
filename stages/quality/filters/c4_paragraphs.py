"""No three long paragraphs."""

import numpy as np

from pipeline.docs import Docs
from stages.text.lines.table import lines
from stages.text.rules import Bound, Rule


class C4Paragraphs(Rule):
    """Lines of at least `length` code points, as mC4 asks for three of 200 (Xue et al. 2021, section 3.1)."""

    min: int | None = 3
    "Fewest long lines (mC4: 3)."
    length: int = 200
    "A line of so many code points is long (mC4: 200)."
    bounds = (Bound("paragraphs", low="min"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        table = docs.cached(lines)
        return {"paragraphs": table.per_text(table.end - table.start >= self.length)}
