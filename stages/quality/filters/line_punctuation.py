"""Lines that do not end as sentences end."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class LinePunctuation(Rule):
    """Share of non-blank lines that end with a sentence's mark of any script. FineWeb: Penedo et al. 2024, section 3.6.

    Korean: 0.062, FineWeb-2's (`kor_Hang.yml`), which counts lines as we do.
    """

    min: float | None = 0.12
    "Least share (FineWeb: 0.12)."
    bounds = (Bound("lines", low="min"),)
    calibrated = {"ko": {"min": 0.062}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {"lines": share(reading.ended, reading.full_lines)}
