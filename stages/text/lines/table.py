"""The lines of every text of a batch as a table, and how rules about lines become edits.

`docs.cached(lines)` gives the table. A rule says which lines to drop (a bool per line); `without` turns that into edits that
remove whole lines, `joined` into edits that leave exactly the kept lines, stripped, one per line (what C4 does).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.docs import Docs
from stages.text.characters import classes
from stages.text.phrases import automaton, tally


@dataclass(frozen=True)
class Lines:
    """Non-blank lines (of `str.splitlines`) of all texts, in order; arrays of one entry per line unless said otherwise."""

    docs: Docs
    bounds: np.ndarray
    """int64, texts + 1: text i's lines are `bounds[i]:bounds[i + 1]`."""
    whole: np.ndarray
    """bool per text: False where the text has more lines than the table holds (`outline.MAX_LINES`)."""
    spans: np.ndarray
    numbers: np.ndarray
    flags: np.ndarray
    cites: np.ndarray
    """int64, citations x 2: code points of every wiki citation."""
    cite_bounds: np.ndarray

    @property
    def n(self) -> int:
        return len(self.flags)

    @cached_property
    def row(self) -> np.ndarray:
        """Which text each line belongs to."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))

    @property
    def start(self) -> np.ndarray:
        """Code point of the first character that is not blank."""
        return self.spans[:, 2]

    @property
    def end(self) -> np.ndarray:
        """Code point after the last character that is not blank."""
        return self.spans[:, 3]

    @property
    def begin(self) -> np.ndarray:
        """Code point where the line begins, blanks included."""
        return self.spans[:, 4]

    @property
    def following(self) -> np.ndarray:
        """Code point after the line's break."""
        return self.spans[:, 5]

    @property
    def words(self) -> np.ndarray:
        return self.numbers[:, 0]

    @property
    def longest(self) -> np.ndarray:
        """Code points of the longest word."""
        return self.numbers[:, 1]

    @property
    def sentences(self) -> np.ndarray:
        """Sentences: a terminal, closers after it, then a blank or the line's end; a rest without terminal is one more."""
        return self.numbers[:, 2]

    def has(self, flag: int) -> np.ndarray:
        """bool per line: one of `outline`'s flags."""
        return (self.flags & flag) != 0

    def phrases(
        self, groups: tuple[tuple[str, ...], ...], among: np.ndarray | None = None, *, whole_words: bool = False
    ) -> np.ndarray:
        """Occurrences per line and phrase group (int32, lines x groups); only lines `among` are read, others get 0."""
        chosen = np.arange(self.n) if among is None else np.flatnonzero(among)
        found = tally(
            self.docs.data, self.spans[chosen, 0], self.spans[chosen, 1], automaton(groups), whole_words=whole_words
        )
        out = np.zeros((self.n, len(groups)), np.int32)
        out[chosen] = found
        return out

    def makeup(self, *flags: int) -> np.ndarray:
        """Code points per line with any of the class bits of each of `flags` (int64, lines x len(flags))."""
        from stages.text.lines.outline import makeup

        counts = np.zeros((self.n, len(flags)), np.int64)
        starts, ends = np.ascontiguousarray(self.spans[:, :2].T)
        makeup(self.docs.data, starts, ends, classes(), np.array(flags, np.int64), counts)
        return counts

    def texts(self, which: np.ndarray) -> list[str]:
        """The lines `which` (bool per line) as strings, without their outer blanks."""
        data = self.docs.data
        return [bytes(data[a:b]).decode("utf-8", "replace") for a, b in self.spans[which, :2].tolist()]

    @property
    def from_end(self) -> np.ndarray:
        """How many lines of the same text follow. int64 per line."""
        return self.bounds[1:][self.row] - 1 - np.arange(self.n)

    def per_text(self, values: np.ndarray) -> np.ndarray:
        """Sum of a per-line array over each text's lines (int64, texts)."""
        total = np.concatenate(([0], np.cumsum(values.astype(np.int64))))
        return total[self.bounds[1:]] - total[self.bounds[:-1]]


def lines(docs: Docs) -> Lines:
    """The measure: every non-blank line of every text."""
    from stages.text.lines import outline

    n_lines, n_cites = outline.room(docs.data, docs.offsets, outline.MAX_LINES)
    bounds, whole = np.zeros(docs.n + 1, np.int64), np.ones(docs.n, bool)
    spans, numbers = np.empty((n_lines, 6), np.int64), np.empty((n_lines, 4), np.int32)
    flags = np.empty(n_lines, np.uint8)
    cites, cite_bounds = np.empty((n_cites, 2), np.int64), np.zeros(n_lines + 1, np.int64)
    outline.outline(
        docs.data, docs.offsets, classes(), outline.MAX_LINES, bounds, whole, spans, numbers, flags, cites, cite_bounds
    )
    n = bounds[-1]
    return Lines(docs, bounds, whole, spans[:n], numbers[:n], flags[:n], cites[: cite_bounds[n]], cite_bounds[: n + 1])
