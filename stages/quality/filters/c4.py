"""C4's line and page rules."""

import numpy as np

from pipeline.docs import Docs
from pipeline.filter import Verdict
from stages.text.lines.edits import joined
from stages.text.lines.flags import ENDED
from stages.text.lines.rules import line_counts
from stages.text.lines.table import lines
from stages.text.rules import Bound, Rule, languages_of

POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
PHRASES = (("lorem ipsum",), ("javascript",), POLICY, ("{",))


class C4(Rule):
    """C4's rules (Raffel et al. 2020, section 2.2), decided as datatrove decides them: keeps good lines, then judges the page.

    Kept lines are stripped and stand one per line; citations such as `[3]` go. A page fails when fewer than
    `min_sentences` sentences are left, or a line that would be kept holds a curly bracket or "lorem ipsum". A sentence ends
    at a terminal mark (closing quotes and brackets may follow) before a blank or the line's end.
    """

    ended: bool = True
    "Drop lines that do not end with . ? ! or a quote, or that end with an ellipsis (FineWeb switched this off)."
    min_line_words: int = 3
    "Drop lines of fewer words."
    max_word: int = 1000
    "Drop lines with a longer word, in code points."
    javascript: bool = True
    "Drop lines that mention JavaScript."
    policy: bool = True
    "Drop lines that mention terms of use, privacy or cookies."
    citations: bool = True
    "Remove wiki citations from the lines kept."
    max_lorem: int | None = 0
    'Most lines with "lorem ipsum".'
    max_curly: int | None = 0
    "Most lines with a curly bracket."
    min_sentences: int | None = 5
    "Fewest sentences in the lines kept."
    bounds = (
        Bound("lines", high="max_lines"),
        Bound("lorem", high="max_lorem"),
        Bound("curly", high="max_curly"),
        Bound("sentences", low="min_sentences"),
    )

    @property
    def max_lines(self) -> int:
        """Lines of one text that are read; more are refused, because their edits would not fit a worker."""
        from stages.text.lines.outline import MAX_LINES

        return MAX_LINES

    def evaluate(self, docs: Docs) -> Verdict:
        table = docs.cached(lines)
        good = (table.longest <= self.max_word) & (table.words >= self.min_line_words)
        if self.ended:
            good &= table.has(ENDED)
        found = table.phrases(PHRASES, good) > 0
        lorem = good & found[:, 0]
        good &= ~(found[:, 1] & self.javascript)
        curly = good & found[:, 3]
        good &= ~(found[:, 2] & self.policy)
        metrics = {
            "lines": line_counts(table, self.max_lines),
            "lorem": table.per_text(lorem).astype(np.float64),
            "curly": table.per_text(curly).astype(np.float64),
            "sentences": table.per_text(np.where(good, table.sentences, 0)).astype(np.float64),
        }
        return Verdict(
            reason=self.decide(metrics, languages_of(docs.batch)),
            metrics=metrics,
            edits=joined(table, good, "c4", citations=self.citations),
        )
