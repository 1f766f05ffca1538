"""ㅋㅋㅋㅋㅋㅋ to ㅋㅋ."""

from pipeline.docs import Docs
from pipeline.filter import Verdict
from stages.text.language.korean import Runs
from stages.text.rules import Bound, Rule, languages_of
from stages.text.words.counts import read, share


class EmoticonRuns(Rule):
    """Shortens runs of one jamo (ㅋㅋㅋ, ㅠㅠㅠ) or mark (!!!, ~~~, ^^^), and may drop texts made of them.

    dps (EleutherAI) shortens ㅋㅋㅋ to two.
    """

    keep: int = 2
    "Leave so many of a run."
    max: float | None = None
    "Drop documents with a larger share of their characters in such runs."
    bounds = (Bound("characters", high="max"),)

    def evaluate(self, docs: Docs) -> Verdict:
        spans, totals = docs.cached(Runs(self.keep))
        metrics = {"characters": share(totals, docs.cached(read).chars)}
        return Verdict(reason=self.decide(metrics, languages_of(docs.batch)), metrics=metrics, edits=spans)
