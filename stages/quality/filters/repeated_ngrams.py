"""Long phrases that stand in the text more than once."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, repeats, share


class RepeatedNgrams(Rule):
    """Share of characters in n-grams of words met before, n = 5 to 10. Gopher, table A1."""

    max_5: float | None = 0.15
    "Most for five words (Gopher: 0.15)."
    max_6: float | None = 0.14
    "Most for six words (Gopher: 0.14)."
    max_7: float | None = 0.13
    "Most for seven words (Gopher: 0.13)."
    max_8: float | None = 0.12
    "Most for eight words (Gopher: 0.12)."
    max_9: float | None = 0.11
    "Most for nine words (Gopher: 0.11)."
    max_10: float | None = 0.10
    "Most for ten words (Gopher: 0.10)."
    bounds = tuple(Bound(f"repeated_{n}", high=f"max_{n}") for n in range(5, 11))

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        chars, dup = docs.cached(read).chars, docs.cached(repeats).dup
        return {f"repeated_{n}": share(dup[:, n - 5], chars) for n in range(5, 11)}
