"""Ordering: the steps of a procedure, shuffled, to be put back in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic import Field

from stages.sft.page import Page, TextSpan, language, squeeze
from stages.sft.questions import clean_heading
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.howto import step_line
from stages.sft.rules.title import topic
from stages.sft.wording import ask

_ITEM = re.compile(
    r"^[ \t]*(?:\(?(\d{1,2})[.)]|(\d{1,2})\s*단계[.:]?|Step\s+(\d{1,2})[.:]?)[ \t]+(\S[^\n]*)$",
    re.MULTILINE | re.IGNORECASE,
)


class Steps(NamedTuple):
    """Texts of consecutive steps, the span they stand in (None: nowhere together), and the name of what they do."""

    texts: list[str]
    span: TextSpan | None
    name: str


class Ordering(MiningRule):
    """Numbered steps in the text or declared ones; one list a page."""

    rank: ClassVar[int] = 70
    covers: ClassVar[bool] = False
    confidence: float = Field(0.6, ge=0.0, le=1.0)
    "Right where the list is a procedure; some numbered lists have no order of their own."
    per_page: int = Field(1, ge=1)
    "Lists of one page at most."
    min_steps: int = Field(4, ge=3)
    "Fewest steps worth ordering."
    max_steps: int = Field(10, ge=3)
    "Most steps shown."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.lang is None:
            return
        made = 0
        for steps in procedures(page):
            texts = [
                re.sub(r"^(?:\d{1,2}[.)]|\d{1,2}\s*단계[.:]?|step\s+\d{1,2}[.:]?)\s+", "", t, flags=re.IGNORECASE)
                for t in steps.texts
            ]
            if not self.min_steps <= len(texts) <= self.max_steps or len(set(texts)) < len(texts) or not steps.name:
                continue
            if any(not 8 <= len(text) <= 400 or language(text) not in (None, page.lang) for text in texts):
                continue
            yield self._make(page, texts, steps)
            made += 1
            if made == self.per_page:
                return

    def _make(self, page: Page, texts: list[str], steps: Steps) -> Candidate:
        dice = page.dice(f"ordering/{steps.name}")
        shuffled = list(texts)
        while shuffled == texts:
            dice.shuffle(shuffled)
        shown = "\n".join(f"- {text}" for text in shuffled)
        answer = "\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1))
        question, register = ask("order", page.lang, dice, answer, title=steps.name, text=shown)
        same = steps.span is not None and page.cut(steps.span) == answer
        return Candidate(
            question, answer, steps.span if same else None, "order", facts={"register": register} if register else {}
        )


def procedures(page: Page) -> Iterator[Steps]:
    """Declared steps by group, then runs of lines numbered from 1 on."""
    for blocks in page.groups.values():
        steps = [step_line(b.text) for b in blocks if b.kind == "step" and b.text.strip()]
        if steps:
            name = next(
                (clean_heading(squeeze(b.text)) for b in blocks if b.kind in ("heading", "question", "summary")),
                topic(page),
            )
            yield Steps(steps, None, name)
    run: list[re.Match] = []
    for match in _ITEM.finditer(page.text):
        number = int(next(filter(None, match.groups()[:3])))
        near = run and match.start() - run[-1].end() <= 4
        if number == 1 or not (near and number == len(run) + 1):
            yield from _of(page, run)
            run = [match] if number == 1 and not page.in_code(match.start()) else []
        else:
            run.append(match)
    yield from _of(page, run)


def _of(page: Page, run: list[re.Match]) -> Iterator[Steps]:
    if len(run) < 3:
        return
    span = page.trimmed(TextSpan(run[0].start(), run[-1].end()))
    above = [text for text, _, head in page.headings if head.end <= span.start]
    yield Steps([match[4].strip() for match in run], span, clean_heading(above[-1]) if above else topic(page))
