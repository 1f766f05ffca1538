"""Questions and answers written out in the text: Q:/A:, 질문/답변, 문/답, 묻다/답하다, and numbered questions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic import Field

from stages.sft.labels import Label, labels
from stages.sft.page import Page, TextSpan, squeeze
from stages.sft.rule import Candidate, MiningRule

_INLINE = re.compile(r"[ \t](?:A(?:nswer)?|답변|답)[ \t]*[:：][ \t]*", re.IGNORECASE)
_NUMBERED = re.compile(
    r"^[ \t]*(?:\*\*)?\(?(?P<number>\d{1,3})[.)][ \t]+(?P<rest>[^\n]{4,200}[?？])(?:\*\*)?[ \t]*$", re.MULTILINE
)
_BLANK = re.compile(r"\n[ \t]*\n+")


class FoundQuestion(NamedTuple):
    """A question found in the text: its words, where its line starts, and where its answer starts."""

    question: str
    start: int
    answer: int


class QaText(MiningRule):
    """Labelled questions and answers in running text; numbered questions where a page has at least two."""

    rank: ClassVar[int] = 30
    confidence: float = Field(0.85, ge=0.0, le=1.0)
    "For labelled pairs; numbered questions count 0.1 less."
    min_answer: int = Field(10, ge=1)
    "Shortest answer, characters: a label vouches for short ones."

    def find(self, page: Page) -> Iterator[Candidate]:
        labelled = list(_labelled(page))
        yield from _answered(page, labelled, self.confidence)
        if not labelled:
            numbered = [
                FoundQuestion(m["rest"].strip(" *"), m.start(), m.end())
                for m in _NUMBERED.finditer(page.text)
                if not page.in_code(m.start())
            ]
            if len(numbered) >= 2:
                yield from _answered(page, numbered, self.confidence - 0.1)


def _labelled(page: Page) -> Iterator[FoundQuestion]:
    """Questions with an answer behind them; of several questions before one answer the last is the one answered."""
    open_label: Label | None = None
    for label in page.cached(labels):
        if label.asks:
            line_end = page.text.find("\n", label.text)
            rest = page.text[label.text : line_end if line_end >= 0 else len(page.text)]
            inline = _INLINE.search(rest)
            if inline:
                yield FoundQuestion(
                    squeeze(rest[: inline.start()]).strip("*_ "), label.start, label.text + inline.end()
                )
            open_label = None if inline else label
        elif open_label is not None and (
            not label.number or not open_label.number or label.number == open_label.number
        ):
            yield FoundQuestion(
                squeeze(page.text[open_label.text : label.start]).strip("*_ "), open_label.start, label.text
            )
            open_label = None


def _answered(page: Page, questions: list[FoundQuestion], confidence: float) -> Iterator[Candidate]:
    """An answer ends at the next question or heading; the last one after as many paragraphs as the longest before it."""
    heads = [span.start for _, _, span in page.headings]
    longest = 1
    for i, (question, _, start) in enumerate(questions):
        if i + 1 < len(questions):
            limit = questions[i + 1].start
        else:
            breaks = [m.start() for m in _BLANK.finditer(page.text, start) if page.text[start : m.start()].strip()]
            limit = breaks[longest - 1] if longest <= len(breaks) else len(page.text)
        limit = next((h for h in heads if start < h < limit), limit)
        span = page.trimmed(TextSpan(start, max(start, limit)))
        longest = max(longest, len(_BLANK.findall(page.cut(span))) + 1)
        yield Candidate(question, page.cut(span), span, confidence=confidence)
