"""Cause and effect by connectives: what stands before "therefore" leads to what stands behind it."""

from __future__ import annotations

import re
from typing import ClassVar, Iterator

from pydantic import Field

from stages.models.grounding import sentences
from stages.sft.page import Page, Span, least
from stages.sft.passages import balanced, prose
from stages.sft.rule import Candidate, Rule
from stages.sft.wording import ask

_CONNECTIVE = {
    "ko": re.compile(r"(?:따라서|그러므로|그 결과|그래서|이 때문에|이에 따라|이로 인해|그 때문에|그렇기 때문에)[,\s]"),
    "en": re.compile(r"(?:Therefore|As a result|Consequently|For this reason|Hence|Because of this|Thus)[,\s]"),
}


class Effect(Rule):
    """Two or three sentences of one paragraph, cut before a connective of consequence; one a page."""

    rank: ClassVar[int] = 75
    covers: ClassVar[bool] = False
    confidence: float = Field(0.5, ge=0.0, le=1.0)
    "The connective vouches for the relation, nothing for its being worth asking."
    per_page: int = Field(1, ge=1)
    "Pairs of one page at most."
    min_cause: int = Field(60, ge=10)
    "Shortest text before the connective, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.lang is None or not _CONNECTIVE[page.lang].search(page.text):
            return
        made = 0
        for span in prose(page):
            text = page.cut(span)
            pieces = sentences(text)
            for place, (start, end) in enumerate(pieces[1:], 1):
                if not _CONNECTIVE[page.lang].match(text, start):
                    continue
                cause = text[pieces[max(0, place - 2)][0] : pieces[place - 1][1]]
                if len(cause) < least(self.min_cause, page.lang) or not balanced(cause) or not balanced(text[start:end]):
                    continue
                answer = Span(span.start + start, span.start + end)
                question, register = ask("effect", page.lang, page.dice(f"effect/{answer.start}"), page.cut(answer), text=cause)
                yield Candidate(question, page.cut(answer), answer, "effect", facts={"register": register} if register else {})
                made += 1
                if made == self.per_page:
                    return
