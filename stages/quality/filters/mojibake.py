"""Text decoded with the wrong charset."""

import numpy as np

from pipeline.docs import Docs
from stages.text.language.korean import broken
from stages.text.rules import Bound, Rule


class Mojibake(Rule):
    """Share of code points that show broken decoding: replacement characters, C1 controls, private use, and byte patterns.

    Patterns: UTF-8 read as Windows-1252 (`ì•ˆë…•`), CP949 read as Latin-1 (`¾È³ç`), and `占쏙옙`.
    """

    max: float | None = 0.005
    "Greatest share: one in two hundred."
    bounds = (Bound("characters", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"characters": broken(docs)}
