"""Line breaks every few words: lists."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class NewlineRatio(Rule):
    """Line feeds per word. FineWeb: Penedo et al. 2024, section 3.6.

    Korean: 0.4, because eojeol are fewer than English words (.72 to .86 of them in the same manual).
    """

    max: float | None = 0.3
    "Most line feeds per word (FineWeb: 0.3)."
    bounds = (Bound("per_word", high="max"),)
    calibrated = {"ko": {"max": 0.4}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {"per_word": share(reading.newlines, reading.words)}
