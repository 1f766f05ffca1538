"""Nothing but bullet points."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class BulletLines(Rule):
    """Share of lines that begin as an item of a list.

    Gopher (Rae et al. 2021, section A.1) and datatrove know `•` and `-`; here also `·`, `○`, `▪`, `■`, `※`, `①`, `*` and
    the other marks of lists on Korean pages. A middle dot between words is none.
    """

    max: float | None = 0.9
    "Most such lines (Gopher: 0.9)."
    bounds = (Bound("lines", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {"lines": share(reading.items, reading.lines)}
