"""A filter that removes lines: it says which, the rest follows."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.docs import Docs
from pipeline.filter import Verdict
from stages.text.lines.edits import without
from stages.text.lines.table import Lines, lines
from stages.text.rules import Bound, Rule, languages_of, primary, word_of


class LineRule(Rule):
    """Removes lines, and may drop a document that loses too many of its words."""

    max_removed: float | None = None
    "Drop documents that lose more than this share of their words."
    bounds = (Bound("lines", high="max_lines"), Bound("removed", high="max_removed"))

    @property
    def max_lines(self) -> int:
        """Lines of one text that are read; more are refused, because their edits would not fit a worker."""
        from stages.text.lines.outline import MAX_LINES

        return MAX_LINES

    def drop(self, table: Lines) -> np.ndarray:
        """Which lines go. bool per line."""
        raise TypeError(f"{type(self).__name__} has no drop()")

    def evaluate(self, docs: Docs) -> Verdict:
        table = docs.cached(lines)
        gone = self.drop(table)
        words, lost = table.per_text(table.words), table.per_text(np.where(gone, table.words, 0))
        metrics = {
            "lines": line_counts(table, self.max_lines),
            "removed": lost / np.maximum(words, 1),
            "removed_lines": table.per_text(gone).astype(np.float64),
        }
        reason = self.decide(metrics, languages_of(docs.batch))
        return Verdict(reason=reason, metrics=metrics, edits=without(table, gone, word_of(type(self))))


def line_counts(table: Lines, most: int) -> np.ndarray:
    """Non-blank lines per text; `most + 1` where a text has more than the table holds. float64."""
    return np.where(table.whole, np.diff(table.bounds), most + 1).astype(np.float64)


def of_language(table: Lines, *langs: str) -> np.ndarray:
    """Which lines stand in texts of one of `langs`. bool per line; False where the language is not known."""
    column = languages_of(table.docs.batch)
    words: list[Any] = column.to_pylist() if column is not None else [None] * table.docs.n
    return np.array([primary(word) in langs for word in words], bool)[table.row]
