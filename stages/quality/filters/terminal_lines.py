"""Removes lines that do not end as sentences end."""

import numpy as np

from stages.text.lines.flags import ENDED, TERMINATED
from stages.text.lines.rules import LineRule
from stages.text.lines.table import Lines


class TerminalLines(LineRule):
    """Keeps lines that end with . ? ! or a quote and not with an ellipsis. C4: Raffel et al. 2020, section 2.2.

    Rough: headings go too (a Korean study lost by it, arXiv 2510.24139); `c4` does the same and more.
    """

    any_script: bool = True
    "Count the sentence marks of every script, and closing brackets after them, as an end."

    def drop(self, table: Lines) -> np.ndarray:
        return ~table.has(ENDED | TERMINATED if self.any_script else ENDED)
