"""Words too short or too long on average."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read


class MeanWordLength(Rule):
    """Mean length in code points of the words that are not only punctuation. Gopher: Rae et al. 2021, section A.1.

    Korean: 2 to 9, as eojeol are .69 to .86 as long as English words in manuals that stand in both languages.
    """

    min: float | None = 3
    "Shortest mean (Gopher: 3)."
    max: float | None = 10
    "Longest mean (Gopher: 10)."
    bounds = (Bound("mean", low="min", high="max"),)
    calibrated = {"ko": {"min": 2, "max": 9}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"mean": docs.cached(read).mean_length}
