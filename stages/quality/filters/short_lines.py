"""Lists, menus and tables in place of prose."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import Read, share


class ShortLines(Rule):
    """Share of non-blank lines of at most `length` code points. FineWeb: Penedo et al. 2024, section 3.6.

    Korean: off, as FineWeb-2 has it: thirty code points of Hangul are a sentence.
    """

    max: float | None = 0.67
    "Most such lines (FineWeb: 0.67)."
    length: int = 30
    "A line of up to so many code points is short (FineWeb: 30)."
    bounds = (Bound("lines", high="max"),)
    calibrated = {"ko": {"max": None}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(Read(self.length))
        return {"lines": share(reading.short, reading.full_lines)}
