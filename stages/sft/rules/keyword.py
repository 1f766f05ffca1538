"""Words and texts: keywords of a passage, and a passage from its keywords."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.keywords import Term, terms
from stages.sft.page import Page, TextSpan
from stages.sft.passages import several_sentences
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.title import topic
from stages.sft.wording import ask


class Keyword(MiningRule):
    """Two passages a page at most: either its keywords are asked for, or it is the answer to them."""

    rank: ClassVar[int] = 70
    covers: ClassVar[bool] = False
    confidence: float = Field(0.5, ge=0.0, le=1.0)
    "For writing from keywords; naming keywords counts 0.1 less (many lists are right)."
    per_page: int = Field(2, ge=1)
    "Passages of one page at most."
    words: int = Field(4, ge=2, le=10)
    "Keywords per passage; a passage with fewer than three is left out."
    min_passage: int = Field(200, ge=40)
    "Shortest passage, characters."
    max_passage: int = Field(1500, ge=100)
    "Longest passage, characters."
    min_answer: int = Field(5, ge=1)
    "Shortest list of keywords, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.lang is None:
            return
        spans = several_sentences(page, self.min_passage, self.max_passage)
        dice = page.dice("keyword")
        for span in sorted(dice.sample(spans, min(self.per_page, len(spans)))):
            text = page.cut(span)
            repeated = [
                t
                for t in terms(text, page.title, " ".join(h for h, _, _ in page.headings))
                if t.count >= 2 or t.form in page.title
            ]
            if len(repeated) < 3:
                continue
            yield self._make(page, span, text, repeated[: self.words], dice.random() < 0.5)

    def _make(self, page: Page, span: TextSpan, text: str, found: list[Term], write: bool) -> Candidate:
        listed = ", ".join(term.form for term in found)
        dice = page.dice(f"keyword/{span.start}")
        if write:
            question, register = ask("write", page.lang, dice, text, words=listed, title=topic(page))
            return Candidate(
                question, text, span, "write", self.confidence, facts={"register": register} if register else {}
            )
        question, register = ask("keywords", page.lang, dice, text=text, n=str(len(found)))
        return Candidate(
            question, listed, None, "keywords", self.confidence - 0.1, facts={"register": register} if register else {}
        )
