"""Too few sentences."""

import numpy as np

from pipeline.docs import Docs
from stages.text.lines.table import lines
from stages.text.rules import Bound, Rule


class SentenceCount(Rule):
    """Sentences, each line beginning a new one. C4: Raffel et al. 2020, section 2.2."""

    min: int | None = 5
    "Fewest sentences (C4: 5; DCLM's C4: 3)."
    max: int | None = None
    "Most sentences."
    bounds = (Bound("sentences", low="min", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        table = docs.cached(lines)
        return {"sentences": table.per_text(table.sentences)}
