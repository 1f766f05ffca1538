"""Numbers, codes and symbols where words should be."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class AlphabeticWords(Rule):
    """Share of words that hold a letter of any script. Gopher: Rae et al. 2021, section A.1."""

    min: float | None = 0.8
    "Least share (Gopher: 0.8)."
    bounds = (Bound("words", low="min"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {"words": share(reading.alpha, reading.words)}
