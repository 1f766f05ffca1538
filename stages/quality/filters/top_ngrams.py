"""One phrase that makes up much of the text."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, repeats, share


class TopNgrams(Rule):
    """Share of characters in the commonest n-gram of words, n = 2, 3, 4. Gopher, table A1."""

    max_2: float | None = 0.20
    "Most for pairs of words (Gopher: 0.20)."
    max_3: float | None = 0.18
    "Most for three words (Gopher: 0.18)."
    max_4: float | None = 0.16
    "Most for four words (Gopher: 0.16)."
    bounds = tuple(Bound(f"top_{n}", high=f"max_{n}") for n in (2, 3, 4))

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        chars, top = docs.cached(read).chars, docs.cached(repeats).top
        return {f"top_{n}": share(top[:, n - 2], chars) for n in (2, 3, 4)}
