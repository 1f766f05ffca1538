"""English left standing in a translated page."""

import numpy as np

from stages.text.characters import HANGUL, LATIN
from stages.text.lines.rules import LineRule, of_language
from stages.text.lines.table import Lines

FUNCTION_WORDS = (
    "the", "of", "and", "to", "is", "are", "in", "for", "that", "this", "with", "you", "your", "on", "as", "be", "by", "or",
    "it", "can", "if", "from", "not", "will", "when", "which", "has", "have", "was", "an",
)  # fmt: skip


class UntranslatedLines(LineRule):
    """Drops lines of English prose without any Hangul in Korean documents; code and names stay.

    A line is English prose when it has `min_words` words and two function words (the, of, to, ...).
    """

    min_words: int = 5
    "Shorter lines stay."
    max_removed: float | None = 0.5
    "Drop documents that lose more than this share of their words."

    def drop(self, table: Lines) -> np.ndarray:
        candidates = of_language(table, "ko") & (table.words >= self.min_words)
        hangul, latin = table.makeup(HANGUL, LATIN).T
        candidates &= (hangul == 0) & (latin > 0)
        return table.phrases((FUNCTION_WORDS,), candidates, whole_words=True)[:, 0] >= 2
