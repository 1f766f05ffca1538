"""Interviews: question paragraphs with the answers below them, and two speakers in turn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic import Field

from stages.sft.labels import labels
from stages.sft.page import Page, TextSpan, squeeze
from stages.sft.questions import NUMBER, is_question
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.heading import CALLS
from stages.sft.rules.title import DANGLING

_SPEAKER = re.compile(
    r"^[ \t*_—–-]{0,4}(?P<name>[A-Z][A-Za-z.'’ ]{1,30}|[A-Z]{2,4}|[가-힣]{2,6}(?: [가-힣]{2,6}){0,2})[*_ \t]{0,3}[:：][*_ \t]{0,3}(?=\S)",
    re.MULTILINE,
)
_DASHED = re.compile(r"^[ \t*_]*[-–—▶▷■□◆◇●○※][ \t]*")


class Turn(NamedTuple):
    """What one speaker says: the name (empty where none is given), and its span."""

    name: str
    span: TextSpan


class Interview(MiningRule):
    """Question paragraphs followed by answers, or the turns of two speakers one of whom asks; at least `turns` on a page."""

    rank: ClassVar[int] = 38
    confidence: float = Field(0.7, ge=0.0, le=1.0)
    "For named speakers; question paragraphs count 0.1 less."
    turns: int = Field(3, ge=2)
    "Fewest questions with an answer that make an interview."
    asks: float = Field(0.7, ge=0.5, le=1.0)
    "Least share of the asking speaker's turns that are questions."
    min_question: int = Field(12, ge=1)
    "Shortest question, characters."
    min_answer: int = Field(80, ge=1)
    "Shortest answer, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.cached(labels) or any(True for _ in page.of_kind("post", "question")):
            return
        found = list(self._spoken(page))
        confidence = self.confidence
        if len(found) < self.turns:
            found, confidence = list(self._paragraphs(page)), self.confidence - 0.1
        if len(found) < self.turns:
            return
        for question, span in found:
            drop = "stub" if CALLS.match(question) else "unclear" if DANGLING.match(question) else None
            yield Candidate(question, page.cut(span), span, confidence=confidence, drop=drop)

    def _spoken(self, page: Page) -> Iterator[tuple[str, TextSpan]]:
        """Turns by name: the one of the two most frequent speakers whose turns are questions asks, the other answers."""
        turns = list(turns_of(page))
        both = [name for name, count in Counter(turn.name for turn in turns).most_common(2) if count >= self.turns]
        if len(both) < 2:
            return
        shares = {name: [is_question(page.cut(t.span)) for t in turns if t.name == name] for name in both}
        asker = max(both, key=lambda name: sum(shares[name]) / len(shares[name]))
        if sum(shares[asker]) < self.asks * len(shares[asker]):
            return
        for asking, answered in zip(turns, turns[1:]):
            if (
                asking.name == asker
                and answered.name != asker
                and answered.name in both
                and is_question(page.cut(asking.span))
            ):
                yield squeeze(page.cut(asking.span)).strip("*_ "), answered.span

    def _paragraphs(self, page: Page) -> Iterator[tuple[str, TextSpan]]:
        """Paragraphs that are one question, each with the prose up to the next one or the next heading."""
        heads = {span.start for _, _, span in page.headings}
        spans = [span for span in page.paragraphs if span.start not in heads]
        questions = [at for at, span in enumerate(spans) if self._is_question(page.cut(span))]
        for at, following in zip(questions, [*questions[1:], len(spans)]):
            last = next(
                (number - 1 for number in range(at + 1, following) if _heading_between(page, spans[at], spans[number])),
                following - 1,
            )
            if following == len(spans):
                last = min(last, at + 2)
            if last > at and spans[at + 1].start - spans[at].end <= 4:
                question = NUMBER.sub("", _DASHED.sub("", squeeze(page.cut(spans[at])))).strip("*_ ")
                yield question, page.trimmed(TextSpan(spans[at + 1].start, spans[last].end))

    def _is_question(self, text: str) -> bool:
        text = text.strip("*_ \t")
        return (
            self.min_question <= len(text) <= self.max_question
            and "\n" not in text
            and text.endswith(("?", "？"))
            and is_question(text)
        )


def turns_of(page: Page) -> Iterator[Turn]:
    """What stands behind each `Name:` at the head of a line, up to the next one or the next heading."""
    found = [match for match in _SPEAKER.finditer(page.text) if not page.in_code(match.start())]
    heads = [span.start for _, _, span in page.headings]
    for match, following in zip(found, [*found[1:], None]):
        end = following.start() if following else len(page.text)
        end = next((head for head in heads if match.end() <= head < end), end)
        if following is None:
            blank = page.text.find("\n\n", match.end(), end)
            end = blank if blank >= 0 else end
        yield Turn(match["name"].strip(), page.trimmed(TextSpan(match.end(), end)))


def _heading_between(page: Page, one: TextSpan, two: TextSpan) -> bool:
    return any(one.end <= span.start < two.start for _, _, span in page.headings)
