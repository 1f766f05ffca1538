"""Cloze on terms: a passage with one term blanked out that the rest of it gives away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.keywords import Term, terms
from stages.sft.page import Page, TextSpan
from stages.sft.passages import several_sentences
from stages.sft.rule import Candidate, MiningRule
from stages.sft.wording import ask
from stages.text.language.particles import is_hangul

BLANK = "[   ]"
_LETTER = re.compile("[A-Za-z가-힣]")


class Cloze(MiningRule):
    """Two passages a page at most: a term that occurs more than once is blanked once; the answer is the term."""

    rank: ClassVar[int] = 70
    covers: ClassVar[bool] = False
    confidence: float = Field(0.5, ge=0.0, le=1.0)
    "Right by construction; worth less than a question somebody asked."
    per_page: int = Field(2, ge=1)
    "Passages of one page at most."
    min_passage: int = Field(150, ge=40)
    "Shortest passage, characters."
    max_passage: int = Field(1200, ge=100)
    "Longest passage, characters."
    min_answer: int = Field(2, ge=1)
    "Shortest term, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.lang is None:
            return
        spans = several_sentences(page, self.min_passage, self.max_passage)
        dice = page.dice("cloze")
        dice.shuffle(spans)
        made = 0
        for span in spans:
            found = self._blank(page, span)
            if found is not None:
                made += 1
                yield found
            if made == self.per_page:
                return

    def _blank(self, page: Page, span: TextSpan) -> Candidate | None:
        text = page.cut(span)
        dice = page.dice(f"cloze/{span.start}")
        for term in (t for t in terms(text, page.title) if t.count >= 2):
            starts = occurrences(text, term)
            if len(starts) < 2:
                continue
            blank_at = dice.choice(starts[1:])
            blanked = text[:blank_at] + BLANK + text[blank_at + len(term.form) :]
            question, register = ask("cloze", page.lang, dice, text=blanked)
            at = TextSpan(span.start + blank_at, span.start + blank_at + len(term.form))
            return Candidate(question, term.form, at, "cloze", facts={"register": register} if register else {})
        return None


def occurrences(text: str, term: Term) -> list[int]:
    """Where the term stands as a word of its own (in Korean: at the head of a word)."""
    form, latin, found = term.form, not is_hangul(term.form), []
    blank_at = text.find(form)
    while blank_at >= 0:
        end = blank_at + len(form)
        if not _LETTER.match(text[blank_at - 1 : blank_at]) and not (
            latin and text[end : end + 1].isascii() and text[end : end + 1].isalpha()
        ):
            found.append(blank_at)
            blank_at = end - 1
        blank_at = text.find(form, blank_at + 1)
    return found
