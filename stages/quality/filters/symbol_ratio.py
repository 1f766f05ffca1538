"""Hash signs and ellipses in place of words."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class SymbolRatio(Rule):
    """Hash signs per word, and ellipses (`...` or `…`) per word. Gopher: Rae et al. 2021, section A.1."""

    max_hashes: float | None = 0.1
    "Most hash signs per word (Gopher: 0.1)."
    max_ellipses: float | None = 0.1
    "Most ellipses per word (Gopher: 0.1)."
    bounds = (Bound("hashes", high="max_hashes"), Bound("ellipses", high="max_ellipses"))

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {"hashes": share(reading.sharps, reading.words), "ellipses": share(reading.ellipses, reading.words)}
