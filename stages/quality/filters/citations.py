"""Removes wiki citations."""

from typing import ClassVar

import numpy as np

from pipeline.docs import Docs
from pipeline.filter import Filter, Verdict
from stages.text.lines.edits import EditLists
from stages.text.lines.table import lines


class Citations(Filter):
    """Removes `[12]`, `[edit]` and `[citation needed]`. C4: Raffel et al. 2020 (in its code)."""

    by: ClassVar[str] = "citations"

    def evaluate(self, docs: Docs) -> Verdict:
        table = docs.cached(lines)
        rows = np.repeat(table.row, np.diff(table.cite_bounds))
        starts, ends = table.cites[:, 0], table.cites[:, 1]
        count = np.bincount(rows, minlength=docs.n).astype(np.float64)
        return Verdict(
            reason=[None] * docs.n,
            metrics={"citations": count},
            edits=EditLists(docs.n, rows, starts, ends, np.zeros(len(rows), bool), self.by),
        )
