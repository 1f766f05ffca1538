"""Cause, effect and entailment by connectives: what stands before "therefore" leads to what stands behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from stages.sft.grounding import sentences
from stages.sft.page import Page, TextSpan, least
from stages.sft.passages import balanced, prose
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.title import DANGLING, shared
from stages.sft.wording import ask

_CONNECTIVE = {
    "ko": re.compile(
        r"(?:따라서|그러므로|그 결과|그래서|이 때문에|이에 따라|이로 인해|그 때문에|그렇기 때문에)[,\s]\s*"
    ),
    "en": re.compile(r"(?:Therefore|As a result|Consequently|For this reason|Hence|Because of this|Thus)[,\s]\s*"),
}
_REASON = {
    "ko": re.compile(
        r"(?:왜냐하면|그 이유는|이유는|그 까닭은|그것은)[,\s].*(?:때문(?:이다|입니다|이에요|이죠)|까닭(?:이다|입니다))[.\s]*$",
        re.DOTALL,
    ),
    "en": re.compile(
        r"(?:This is because|That is because|That's because|The reason is|The reason for this is|It is because)\b"
    ),
}
_LETTERS = {"ko": ("가", "나"), "en": ("A", "B")}


class JoinedSentences(NamedTuple):
    """Sentences joined by a connective: the span before, the one behind, and where the words behind the connective begin."""

    before: TextSpan
    behind: TextSpan
    bare: int


class Effect(MiningRule):
    """Two or three sentences of one paragraph around a connective: the consequence of what is told, the reason for it, or
    which of two sentences follows from it."""

    rank: ClassVar[int] = 75
    covers: ClassVar[bool] = False
    confidence: float = Field(0.5, ge=0.0, le=1.0)
    "The connective vouches for the relation, nothing for its being worth asking."
    tasks: tuple[Literal["effect", "cause", "entail"], ...] = ("effect", "cause", "entail")
    "Which tasks to make; of one consequence `effect` or `entail` is drawn."
    per_page: int = Field(2, ge=1)
    "Rows of one page at most."
    min_cause: int = Field(60, ge=10)
    "Shortest text before the connective, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.lang is None or not (_CONNECTIVE[page.lang].search(page.text) or _REASON[page.lang].search(page.text)):
            return
        made = 0
        spans = prose(page)
        for span in spans:
            for candidate in self._of(page, span, spans):
                yield candidate
                made += 1
                if made == self.per_page:
                    return

    def _of(self, page: Page, span: TextSpan, spans: list[TextSpan]) -> Iterator[Candidate]:
        for link in self._links(page, span, _CONNECTIVE[page.lang]):
            dice = page.dice(f"effect/{link.behind.start}")
            entailed = (
                self._entailed(page, link, spans, dice) if "entail" in self.tasks and dice.random() < 0.5 else None
            )
            if entailed is not None:
                yield entailed
            elif "effect" in self.tasks:
                answer = page.cut(link.behind)
                question, register = ask("effect", page.lang, dice, answer, text=page.cut(link.before))
                yield Candidate(
                    question, answer, link.behind, "effect", facts={"register": register} if register else {}
                )
        if "cause" in self.tasks:
            for link in self._links(page, span, _REASON[page.lang]):
                answer = page.cut(link.behind)
                question, register = ask(
                    "cause", page.lang, page.dice(f"cause/{link.behind.start}"), answer, text=page.cut(link.before)
                )
                yield Candidate(
                    question, answer, link.behind, "cause", facts={"register": register} if register else {}
                )

    def _links(self, page: Page, span: TextSpan, connective: re.Pattern) -> Iterator[JoinedSentences]:
        """Sentences that open with the connective, with one or two before them that can stand alone."""
        text = page.cut(span)
        pieces = sentences(text)
        for number, (start, end) in enumerate(pieces[1:], 1):
            found = connective.match(text, start, end)
            if not found:
                continue
            first = number - 1
            if first and (
                DANGLING.match(text, pieces[first][0]) or pieces[first][1] - pieces[first][0] < 2 * self.min_cause
            ):
                first -= 1
            cause = text[pieces[first][0] : pieces[number - 1][1]]
            if (
                len(cause) < least(self.min_cause, page.lang)
                or DANGLING.match(cause)
                or not balanced(cause)
                or not balanced(text[start:end])
            ):
                continue
            bare = found.end() if found.end() < end else start
            yield JoinedSentences(
                TextSpan(span.start + pieces[first][0], span.start + pieces[number - 1][1]),
                TextSpan(span.start + start, span.start + end),
                span.start + bare,
            )

    def _entailed(self, page: Page, link: JoinedSentences, spans: list[TextSpan], dice) -> Candidate | None:
        """Which of two sentences follows: the one behind the connective, or one from elsewhere on the page about other things."""
        cause, effect = page.cut(link.before), page.text[link.bare : link.behind.end].strip()
        other = self._elsewhere(page, link, spans, cause, effect, dice)
        if other is None or len(effect) < least(self.min_answer, page.lang) or shared(cause, effect) < 1:
            return None
        effect = effect[:1].upper() + effect[1:] if page.lang == "en" else effect
        right = dice.randrange(2)
        one, two = (effect, other) if right == 0 else (other, effect)
        letters = _LETTERS[page.lang]
        shown = f"{letters[0]}. {one}\n{letters[1]}. {two}"
        question, register = ask("entail", page.lang, dice, effect, text=cause, choices=shown)
        return Candidate(
            question, f"{letters[right]}. {effect}", None, "entail", facts={"register": register} if register else {}
        )

    def _elsewhere(
        self, page: Page, link: JoinedSentences, spans: list[TextSpan], cause: str, effect: str, dice
    ) -> str | None:
        """A sentence of another paragraph, of like length, that stands alone and shares no content word with the premise."""
        found = []
        for span in spans:
            if span.start <= link.behind.start < span.end:
                continue
            text = page.cut(span)
            for start, end in sentences(text)[:2]:
                piece = text[start:end]
                fits = (
                    0.5 * len(effect) <= len(piece) <= 2 * len(effect) and not DANGLING.match(piece) and balanced(piece)
                )
                if fits and not shared(piece, cause) and piece != effect:
                    found.append(piece)
        return dice.choice(found) if found else None
