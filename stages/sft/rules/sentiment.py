"""Reviews with a rating beside them: is this good or bad?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.page import Page, language, least
from stages.sft.rule import Candidate, MiningRule
from stages.sft.wording import ask

RATINGS = ("rating", "score", "stars", "rating_value", "ratingvalue", "label", "sentiment", "평점", "별점", "감정")
SCALES = ("best", "best_rating", "bestrating", "max_rating", "만점")
WORDS = {"positive": 1.0, "pos": 1.0, "긍정": 1.0, "good": 1.0, "negative": 0.0, "neg": 0.0, "부정": 0.0, "bad": 0.0}
LABELS = {
    "ko": {
        "formal": ("긍정입니다.", "부정입니다."),
        "polite": ("긍정적이에요.", "부정적이에요."),
        "plain": ("긍정이다.", "부정이다."),
    },
    "en": {"": ("Positive.", "Negative.")},
}


class Sentiment(MiningRule):
    """A short text whose record states its rating in words, or in numbers on a stated scale, and reviews that a page declares
    with theirs; the middle of the scale is left out. A scale is never guessed: four of five is praise, four of ten is not."""

    rank: ClassVar[int] = 65
    covers: ClassVar[bool] = False
    confidence: float = Field(0.7, ge=0.0, le=1.0)
    "The rating is its author's; the text need not show it."
    best: float | None = Field(None, gt=0.0)
    "Highest rating of the scale, where the records do not state it themselves."
    high: float = Field(0.8, ge=0.5, le=1.0)
    "From this share of the scale on a text counts as positive."
    low: float = Field(0.4, ge=0.0, le=0.5)
    "Up to this share it counts as negative."
    min_text: int = Field(20, ge=1)
    "Shortest text, characters."
    max_text: int = Field(1000, ge=1)
    "Longest text, characters."
    min_answer: int = Field(3, ge=1)
    "Shortest answer, characters."

    per_page: int = Field(20, ge=1)
    "Declared reviews of one page at most."

    def find(self, page: Page) -> Iterator[Candidate]:
        share = self._share({key.lower(): value for key, value in page.meta.items()})
        if share is not None:
            yield from self._rated(page, page.text.strip(), share, page.lang)
            return
        reviews = [block for block in page.of_kind("review") if block.text.strip()]
        for block in reviews[: self.per_page]:
            yield from self._rated(page, block.text.strip(), block.level / 100, None)

    def _rated(self, page: Page, text: str, share: float, lang: str | None) -> Iterator[Candidate]:
        lang = lang or language(text)
        if (
            lang not in LABELS
            or self.low < share < self.high
            or not least(self.min_text, lang) <= len(text) <= self.max_text
        ):
            return
        question, register = ask("sentiment", lang, page.dice(f"sentiment/{text[:40]}"), text=text)
        facts = {"register": register} if register else {}
        yield Candidate(
            question, LABELS[lang][register][0 if share >= self.high else 1], None, "sentiment", facts=facts
        )

    def _share(self, meta: dict[str, str]) -> float | None:
        stated = next((meta[key] for key in RATINGS if key in meta), "").strip().lower()
        if stated in WORDS:
            return WORDS[stated]
        best = _number(next((meta[key] for key in SCALES if key in meta), "")) or self.best
        value = _number(stated)
        return value / best if value is not None and best and 0 <= value <= best else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value else None
