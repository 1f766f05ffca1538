"""FineWeb's own rules."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import Read, share


class Fineweb(Rule):
    """FineWeb's custom filters (Penedo et al. 2024, section 3.6), decided as datatrove decides them on words between blanks.

    Korean: lines that end in a mark 0.062, short lines off and repeated characters 0.1 as FineWeb-2 has them
    (`kor_Hang.yml`), which counts lines as we do; its line feeds per word (0.196) are per Kiwi morpheme: per eojeol they are
    1.27 times the English ones in manuals that stand in both languages, hence 0.4.
    """

    min_ended_lines: float | None = 0.12
    "Least share of non-blank lines that end with a sentence's mark."
    max_short_lines: float | None = 0.67
    "Most non-blank lines of at most `short` code points."
    short: int = 30
    "A line of up to so many code points is short."
    max_repeated_characters: float | None = 0.01
    "Most characters in lines that stood before, as a share of all but line feeds."
    max_newlines: float | None = 0.3
    "Most line feeds per word."
    bounds = (
        Bound("ended_lines", low="min_ended_lines"),
        Bound("short_lines", high="max_short_lines"),
        Bound("repeated_characters", high="max_repeated_characters"),
        Bound("newlines", high="max_newlines"),
    )

    calibrated = {
        "ko": {"min_ended_lines": 0.062, "max_short_lines": None, "max_repeated_characters": 0.1, "max_newlines": 0.4}
    }

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading = docs.cached(Read(self.short))
        return {
            "ended_lines": share(reading.ended, reading.full_lines),
            "short_lines": share(reading.short, reading.full_lines),
            "repeated_characters": share(reading.repeated_full_chars, reading.chars - reading.newlines),
            "newlines": share(reading.newlines, reading.words),
        }
