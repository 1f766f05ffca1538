"""The same paragraphs again and again."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class RepeatedParagraphs(Rule):
    """Share of paragraphs that stood earlier in the text, and of the text's characters in them. Gopher, table A1.

    Korean: off, as FineWeb-2 has it for every language.
    """

    max: float | None = 0.30
    "Most repeated paragraphs, as a share of all paragraphs (Gopher: 0.30)."
    max_characters: float | None = 0.20
    "Most characters in repeated paragraphs, as a share of the text (Gopher: 0.20)."
    bounds = (Bound("paragraphs", high="max"), Bound("characters", high="max_characters"))
    calibrated = {"ko": {"max": None, "max_characters": None}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {
            "paragraphs": share(reading.repeated_paragraphs, reading.paragraphs),
            "characters": share(reading.repeated_paragraph_chars, reading.chars),
        }
