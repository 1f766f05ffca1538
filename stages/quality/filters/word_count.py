"""Too short or too long in words."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read


class WordCount(Rule):
    """Words (between blanks, not only punctuation) within `min` and `max`. Gopher: Rae et al. 2021, section A.1.

    Korean: 38 at least, because eojeol are fewer (.72 to .86 of the English words of the same manual).
    """

    min: int | None = 50
    "Fewest words (Gopher: 50)."
    max: int | None = 100_000
    "Most words (Gopher: 100,000)."
    bounds = (Bound("words", low="min", high="max"),)
    calibrated = {"ko": {"min": 38}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"words": docs.cached(read).plain}
