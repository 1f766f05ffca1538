"""Korean without blanks, or with one after every syllable."""

import numpy as np

from pipeline.docs import Docs
from stages.text.language.korean import spacing
from stages.text.rules import Bound, Rule


class Spacing(Rule):
    """Broken spacing in Korean: words of a single syllable (extracted letter by letter), runs without a blank.

    Judged in Korean documents only. Of Korean manuals, technical articles, news sentences and film reviews the 99th
    percentile of single syllables is .15 to .33 (single reviews of a few words: .5); syllables in runs of more than 14 are
    none but in reviews typed without blanks, 1.2 % of which are above .3.
    """

    max_single: float | None = None
    "Greatest share of Hangul words that are one syllable, in documents of other languages (default: not judged)."
    max_unspaced: float | None = None
    "Greatest share of syllables in runs of more than 14 without a blank, in other languages (default: not judged)."
    bounds = (Bound("single", high="max_single"), Bound("unspaced", high="max_unspaced"))
    calibrated = {"ko": {"max_single": 0.5, "max_unspaced": 0.3}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        found = docs.cached(spacing)
        return {"single": np.nan_to_num(found.single, nan=0.0), "unspaced": np.nan_to_num(found.long, nan=0.0)}
