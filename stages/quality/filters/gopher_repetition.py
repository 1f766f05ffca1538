"""All repetition rules of Gopher."""

import numpy as np

from pipeline.docs import Docs
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, repeats, share

TOP, LONG = (2, 3, 4), range(5, 11)


class GopherRepetition(Rule):
    """Gopher's repetition rules (Rae et al. 2021, table A1), decided as datatrove decides them on words between blanks.

    Korean: lines 0.374 and no rule on paragraphs and line characters, as FineWeb-2 has it (`kor_Hang.yml`), which counts
    lines as we do. Its n-gram limits are of Kiwi morphemes; on eojeol the shares are those of English or a little lower in
    manuals that stand in both languages (median top pair .045 and .049, five-word .027 and .041), so Gopher's hold.
    """

    max_paragraphs: float | None = 0.30
    "Most repeated paragraphs, as a share of paragraphs."
    max_paragraph_characters: float | None = 0.20
    "Most characters in repeated paragraphs, as a share of the text."
    max_lines: float | None = 0.30
    "Most repeated lines, as a share of lines."
    max_line_characters: float | None = 0.20
    "Most characters in repeated lines, as a share of the text."
    max_top_2: float | None = 0.20
    "Most characters in the commonest pair of words."
    max_top_3: float | None = 0.18
    "Most characters in the commonest three words."
    max_top_4: float | None = 0.16
    "Most characters in the commonest four words."
    max_repeated_5: float | None = 0.15
    "Most characters in five-word phrases met before."
    max_repeated_6: float | None = 0.14
    "Most characters in six-word phrases met before."
    max_repeated_7: float | None = 0.13
    "Most characters in seven-word phrases met before."
    max_repeated_8: float | None = 0.12
    "Most characters in eight-word phrases met before."
    max_repeated_9: float | None = 0.11
    "Most characters in nine-word phrases met before."
    max_repeated_10: float | None = 0.10
    "Most characters in ten-word phrases met before."
    bounds = (
        Bound("paragraphs", high="max_paragraphs"),
        Bound("paragraph_characters", high="max_paragraph_characters"),
        Bound("lines", high="max_lines"),
        Bound("line_characters", high="max_line_characters"),
        *(Bound(f"top_{n}", high=f"max_top_{n}") for n in TOP),
        *(Bound(f"repeated_{n}", high=f"max_repeated_{n}") for n in LONG),
    )

    calibrated = {
        "ko": {
            "max_paragraphs": None,
            "max_paragraph_characters": None,
            "max_lines": 0.374,
            "max_line_characters": None,
        }
    }

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        reading, grams = docs.cached(read), docs.cached(repeats)
        chars = reading.chars
        return {
            "paragraphs": share(reading.repeated_paragraphs, reading.paragraphs),
            "paragraph_characters": share(reading.repeated_paragraph_chars, chars),
            "lines": share(reading.repeated_pieces, reading.pieces),
            "line_characters": share(reading.repeated_piece_chars, chars),
            **{f"top_{n}": share(grams.top[:, n - 2], chars) for n in TOP},
            **{f"repeated_{n}": share(grams.dup[:, n - 5], chars) for n in LONG},
        }
