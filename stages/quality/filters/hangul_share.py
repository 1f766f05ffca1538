"""Pages that call themselves Korean and hold little Hangul."""

import numpy as np

from pipeline.docs import Docs
from stages.text.language.korean import hangul_words
from stages.text.rules import Bound, Rule


class HangulShare(Rule):
    """Words with Hangul among all words. dps (EleutherAI) asks for a quarter; judged in Korean documents only."""

    min: float | None = None
    "Least share in documents of other languages (default: not judged; Korean 0.25)."
    max: float | None = None
    "Greatest share, e.g. for an English corpus."
    bounds = (Bound("words", low="min", high="max"),)
    calibrated = {"ko": {"min": 0.25}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"words": hangul_words(docs)}
