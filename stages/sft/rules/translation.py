"""Texts that stand in Korean and English: beside each other in one record, or paragraph by paragraph on one page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.grounding import numbers
from stages.sft.page import Page, TextSpan, language, squeeze
from stages.sft.rule import Candidate, MiningRule
from stages.sft.wording import ask
from stages.text.language.particles import words

OTHER = {"ko": "en", "en": "ko"}
BESIDE = {
    "ko": ("ko", "kor", "korean", "text_ko", "translation_ko", "target_ko"),
    "en": ("en", "eng", "english", "text_en", "source_en", "original_en"),
}
"""Columns that hold the other language's wording of a record's text."""


class Translation(MiningRule):
    """One row per pair, its direction drawn; pairs whose lengths or numbers disagree are no translations."""

    rank: ClassVar[int] = 68
    covers: ClassVar[bool] = False
    confidence: float = Field(0.8, ge=0.0, le=1.0)
    "For wordings in one record; paragraphs of one page count 0.2 less."
    shortest: float = Field(0.3, gt=0.0)
    "Least characters of the Korean side for one of the English (0.62 on average, 33,174 pairs of the Python manual)."
    longest: float = Field(1.3, gt=0.0)
    "Most characters of the Korean side for one of the English."
    min_pairs: int = Field(3, ge=1)
    "Pairs that follow each other before a page counts as bilingual."
    share: float = Field(0.8, ge=0.0, le=1.0)
    "Least share of a page's paragraphs that stand in such pairs: a page half translated is not bilingual."
    per_page: int = Field(3, ge=1)
    "Pairs of one page at most."

    def find(self, page: Page) -> Iterator[Candidate]:
        meta = {key.lower(): value for key, value in page.meta.items()}
        lang = language(page.text)
        if lang is None:
            return
        beside = next((meta[key] for key in BESIDE[OTHER[lang]] if key in meta), "")
        if beside and language(beside) == OTHER[lang]:
            yield self._row(
                page, page.trimmed(TextSpan(0, len(page.text))), None, beside.strip(), lang, self.confidence
            )
            return
        yield from self._bilingual(page)

    def _bilingual(self, page: Page) -> Iterator[Candidate]:
        spans = page.paragraphs
        langs = [language(page.cut(span)) for span in spans]
        pairs, at = [], 0
        while at + 1 < len(spans):
            first, second = langs[at], langs[at + 1]
            if (
                first in OTHER
                and second == OTHER[first]
                and self._fits(page.cut(spans[at]), page.cut(spans[at + 1]), first)
            ):
                pairs.append((spans[at], spans[at + 1], first))
                at += 2
            else:
                at += 1
        anchored = sum(_anchored(page.cut(one), page.cut(two)) for one, two, _ in pairs)
        if len(pairs) < self.min_pairs or 2 * len(pairs) < self.share * len(spans) or 2 * anchored < len(pairs):
            return
        dice = page.dice("translation")
        for one, two, lang in sorted(dice.sample(pairs, min(self.per_page, len(pairs)))):
            yield self._row(page, one, two, page.cut(two), lang, self.confidence - 0.2)

    def _row(
        self, page: Page, own: TextSpan, other: TextSpan | None, beside: str, lang: str, confidence: float
    ) -> Candidate:
        """The pair in a drawn direction; dropped as `unclear` where the two do not agree."""
        text = page.cut(own)
        dice = page.dice(f"translation/{own.start}")
        drop = None if self._fits(text, beside, lang) else "unclear"
        if dice.random() < 0.5:
            source, answer, span, into = text, beside, other, OTHER[lang]
        else:
            source, answer, span, into = beside, text, own, lang
        question_lang = page.lang or lang
        question, register = ask(f"translate_{into}", question_lang, dice, answer if into == "ko" else "", text=source)
        return Candidate(
            question,
            answer,
            span,
            f"translate_{into}",
            confidence,
            drop,
            facts={"register": register} if register else {},
        )

    def _fits(self, text: str, beside: str, lang: str) -> bool:
        korean, english = (text, beside) if lang == "ko" else (beside, text)
        ratio = len(squeeze(korean)) / max(1, len(squeeze(english)))
        return self.shortest <= ratio <= self.longest and numbers(korean) == numbers(english)


def _anchored(one: str, two: str) -> bool:
    """Whether both wordings share a number or a Latin name: half of a bilingual page's pairs must."""
    korean, english = (one, two) if language(one) == "ko" else (two, one)
    latin = {word for word in words(korean) if word[0].isascii() and word[0].isalpha() and len(word) > 1}
    return bool(numbers(korean)) or bool(latin & set(words(english)))
