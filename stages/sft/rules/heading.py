"""Headings that ask, answered by the section below them."""

from __future__ import annotations

import re
from typing import ClassVar, Iterator

from pydantic import Field

from stages.sft.page import Page, Section, Span
from stages.sft.questions import NUMBER, is_question
from stages.sft.rule import Candidate, Rule

ENDED = re.compile(r"[.!?。…:;)\]\"'”’]\s*$|[다요죠음함임됨]\s*$", re.MULTILINE)


class Heading(Rule):
    """A question heading and its section, sub-sections included while they fit."""

    rank: ClassVar[int] = 40
    confidence: float = Field(0.85, ge=0.0, le=1.0)
    "For a section without headings of its own; with them 0.1 less."

    def find(self, page: Page) -> Iterator[Candidate]:
        for section in page.sections:
            if not is_question(section.heading):
                continue
            question = NUMBER.sub("", section.heading.strip(" #*¶")).strip()
            span, whole = answer_span(page, section, self.min_answer, self.max_answer)
            answer = page.cut(span)
            drop = "unclear" if len(answer) >= self.min_answer and not ENDED.search(answer) else None
            yield Candidate(question, answer, span, confidence=self.confidence - (0 if whole else 0.1), drop=drop)


def answer_span(page: Page, section: Section, least: int, most: int) -> tuple[Span, bool]:
    """What answers a heading: its own text where it has no sub-headings, its whole body while that fits, else the text
    before the first sub-heading. The flag says whether it is free of sub-headings."""
    own, body = section.own, section.body
    if own == body or body.end - body.start > most:
        return own, True
    if own.end - own.start >= 4 * least and own.end - own.start >= (body.end - body.start) // 2:
        return own, True
    return body, False
