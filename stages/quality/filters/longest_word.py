"""Strings without blanks: encoded data, broken spacing."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read


class LongestWord(Rule):
    """Length of the longest word in code points. NeMo Curator's LongestWordFilter: 1,000."""

    max: int | None = 1000
    "Longest word allowed (Curator: 1,000)."
    bounds = (Bound("word", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"word": docs.cached(read).longest}
