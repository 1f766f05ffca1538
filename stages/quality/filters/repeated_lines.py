"""The same lines again and again."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class RepeatedLines(Rule):
    """Share of lines that stood earlier in the text, and of the text's characters in them. Gopher, table A1.

    Korean: 0.374 of the lines, and the characters off, as FineWeb-2 has it (`kor_Hang.yml`), which counts lines as we do.
    """

    max: float | None = 0.30
    "Most repeated lines, as a share of all lines (Gopher: 0.30)."
    max_characters: float | None = 0.20
    "Most characters in repeated lines, as a share of the text (Gopher: 0.20)."
    bounds = (Bound("lines", high="max"), Bound("characters", high="max_characters"))
    calibrated = {"ko": {"max": 0.374, "max_characters": None}}

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(read)
        return {
            "lines": share(reading.repeated_pieces, reading.pieces),
            "characters": share(reading.repeated_piece_chars, reading.chars),
        }
