"""What shows bad Korean pages, in one filter."""

import numpy as np

from pipeline.docs import Docs
from stages.text.language.korean import broken, hangul_words, jamo_share, spacing
from stages.text.rules import Bound, Rule


class Korean(Rule):
    """Korean documents by their Hangul, loose jamo, spacing and decoding; other languages by decoding alone.

    The same limits as `hangul_share`, `jamo_share`, `spacing` and `mojibake`, whose docstrings give the sources.
    """

    min_hangul: float | None = None
    "Least share of words with Hangul (Korean: 0.25)."
    max_jamo: float | None = None
    "Greatest share of loose jamo among the Hangul (Korean: 0.3)."
    max_single: float | None = None
    "Greatest share of Hangul words of one syllable (Korean: 0.5)."
    max_unspaced: float | None = None
    "Greatest share of syllables in runs of more than 14 without a blank (Korean: 0.3)."
    max_broken: float | None = 0.005
    "Greatest share of code points that show broken decoding."
    bounds = (
        Bound("hangul", low="min_hangul"),
        Bound("jamo", high="max_jamo"),
        Bound("single", high="max_single"),
        Bound("unspaced", high="max_unspaced"),
        Bound("broken", high="max_broken"),
    )
    calibrated = {"ko": {"min_hangul": 0.25, "max_jamo": 0.3, "max_single": 0.5, "max_unspaced": 0.3}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        found = docs.cached(spacing)
        return {
            "hangul": hangul_words(docs),
            "jamo": np.nan_to_num(jamo_share(docs)),
            "single": np.nan_to_num(found.single),
            "unspaced": np.nan_to_num(found.long),
            "broken": broken(docs),
        }
