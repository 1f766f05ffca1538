"""The contract of a mining rule: a page in, candidates out; and the checks every candidate passes.

A rule is one file in `stages/sft/rules/`; the file's name is the word in the YAML, in the row's `rule` and before its drop
reasons (`heading.short_answer`). Rules run in the order of their rank, and a question that a rule of a lower rank has already
asked is dropped from a later one (`<rule>.duplicate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from pipeline.options import Options
from stages.sft.page import Page, TextSpan, language, least, untranslated

DROPS = (
    "empty_question", "empty_answer", "short_question", "long_question", "short_answer", "long_answer", "same_text",
    "other_language", "stub", "duplicate", "boilerplate", "host_cap", "unclear",
)  # fmt: skip
"""Every word a candidate's drop reason may end with."""


@dataclass
class Candidate:
    """One instruction with its answer. `span` is where the answer stands in the page's text (then the answer equals that
    cut), or None. `drop` is the last word of a drop reason, None while it stands."""

    instruction: str
    answer: str
    span: TextSpan | None = None
    task: str = "answer"
    confidence: float | None = None
    drop: str | None = None
    keys: tuple[str, str] = ("", "")
    """`likeness_key` of both sides, set before the checks."""
    facts: dict[str, str] = field(default_factory=dict)
    """Further facts for the row's meta: rank of the answer, register, ..."""


class MiningRule(Options):
    """Base of every rule. `rank`: markup 10, term and details 20, Q:/A: 30, headings 40, generic tasks 60 and more."""

    rank: ClassVar[int] = 50
    markup: ClassVar[bool] = False
    """Reads declared structure: dropped only for an empty question or answer; no cap per host."""
    covers: ClassVar[bool] = True
    """Its answers cover their passage, so that no teacher is asked about it."""

    confidence: float = Field(0.5, ge=0.0, le=1.0)
    "How far a row of this rule is trusted; stands in the row. Shares of hand-checked rows found usable, rounded down."
    min_question: int = Field(4, ge=1)
    "Shortest question, characters."
    max_question: int = Field(300, ge=1)
    "Longest question or heading, characters."
    min_answer: int = Field(30, ge=1)
    "Shortest answer, characters (Korean: 0.62 of it, as every shortest length here); 30 is WebFAQ's."
    max_answer: int = Field(6000, ge=1)
    "Longest answer, characters: an answer is never cut, a longer one is dropped."

    @property
    def word(self) -> str:
        """The rule's name: that of its file."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def __str__(self) -> str:
        return self.word

    def find(self, page: Page) -> Iterator[Candidate]:
        """Every candidate of the page, in the order of the text, dropped ones with their `drop`."""
        raise TypeError(f"{type(self).__name__} has no find()")

    def checked(self, candidate: Candidate, page: Page) -> Candidate:
        """The candidate with the first drop reason that applies."""
        if candidate.drop is None:
            candidate.drop = self._fault(candidate, page)
        if candidate.confidence is None:
            candidate.confidence = self.confidence
        return candidate

    def _fault(self, candidate: Candidate, page: Page) -> str | None:
        question, answer = candidate.instruction.strip(), candidate.answer.strip()
        of_question, of_answer = candidate.keys
        if not of_question:
            return "empty_question"
        if not of_answer:
            return "empty_answer"
        if self.markup:
            return None
        if candidate.task == "answer":
            if len(question) < self.min_question:
                return "short_question"
            if len(question) > self.max_question:
                return "long_question"
        if len(answer) < least(self.min_answer, language(answer)):
            return "short_answer"
        if len(answer) > self.max_answer:
            return "long_answer"
        if of_question == of_answer:
            return "same_text"
        return None if candidate.task.startswith("translate_") else other_language(question, answer)


def other_language(question: str, answer: str) -> str | None:
    """A Korean question with an answer that has no Korean or holds an English sentence (a page translated in part), or the
    other way round."""
    of_question, of_answer = language(question), language(answer)
    if of_question == "ko" and untranslated(answer):
        return "other_language"
    if of_question and of_answer and of_question != of_answer and "ko" in (of_question, of_answer):
        return "other_language"
    return None


Rule = MiningRule
"""Its name of 0.1.0, for rules of one's own, in this version."""
