"""Binary data and invisible characters."""

import numpy as np

from pipeline.docs import Docs
from stages.text.language.korean import controls
from stages.text.rules import Bound, Rule


class ControlCharacters(Rule):
    """Share of control characters other than tab and line breaks, and of invisible ones (zero-width, bidirectional)."""

    max: float | None = 0.01
    "Greatest share: one in a hundred."
    bounds = (Bound("characters", high="max"),)

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        return {"characters": controls(docs)}
