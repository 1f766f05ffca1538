"""Lines that break off: teasers and search results."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class EllipsisLines(Rule):
    """Share of lines that end with an ellipsis (`...` or `…`). Gopher: Rae et al. 2021, section A.1."""

    max: float | None = 0.3
    "Most such lines (Gopher: 0.3)."
    bounds = (Bound("lines", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {"lines": share(reading.trailing, reading.lines)}
