"""How-to headings and HowTo markup, answered by their steps or section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.labels import labels
from stages.sft.page import Page, PageBlock, comparison_key, least, squeeze
from stages.sft.passages import gapped, is_contents
from stages.sft.questions import clean_heading, how_to, is_question
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.heading import ENDED, LISTED, answer_span
from stages.sft.rules.title import DANGLING, topic
from stages.sft.wording import ask

_PRONOUNS = frozenset("it this them one now here more that".split())
_STRAY = re.compile(r"(?:에서|에|으로|로|을|를|의|과|와|은|는)\s")
_PROMISE = re.compile(
    r"(?:다음|아래)[^.\n]{0,40}(?:수행합니다|같습니다|나열합니다|실행합니다|진행합니다|따릅니다|하십시오|하세요|있습니다)\s*[.:]?\s*$|(?:the following|as follows|below)[^.\n]{0,40}[.:]\s*$",
    re.IGNORECASE,
)
"""A last sentence that announces what is no longer there."""
_TEASER = re.compile(r"^.{1,40}(?:\.\.\.|…)\s*\n", re.MULTILINE)
"""A short line that breaks off and is followed by others: a folded link."""
_NUMBERED = re.compile(r"^\s*(?:\d{1,3}[.)]|step\s+\d+|\d+\s*단계)", re.IGNORECASE)


class Howto(MiningRule):
    """A heading that promises how something is done, with its section; declared HowTo steps, with their name."""

    rank: ClassVar[int] = 40
    confidence: float = Field(0.75, ge=0.0, le=1.0)
    "For a section that lists steps or is plain prose; declared steps count 0.15 more."
    min_answer: int = Field(60, ge=1)
    "Shortest declared steps, characters."
    min_section: int = Field(110, ge=1)
    "Shortest section, characters: shorter ones say what a button does, not how something is done."

    def find(self, page: Page) -> Iterator[Candidate]:
        yield from self._declared(page)
        ends = [label.start for label in page.cached(labels) if label.asks]
        for section in page.sections:
            if is_question(section.heading):
                continue
            found = how_to(section.heading, page)
            if found is None:
                continue
            span, whole = answer_span(page, section, self.min_answer, self.max_answer, ends)
            answer = page.cut(span)
            task, act = found
            task, title = within(task, act, page)
            question, register = ask(
                task, page.lang, page.dice(f"howto/{section.heading}"), answer, act=act, title=title
            )
            if DANGLING.match(answer):
                continue
            drop = (
                "short_answer"
                if len(answer) < least(self.min_section, page.lang)
                else "unclear"
                if vague(act) or broken(answer)
                else None
            )
            drop = drop if answer else "empty_answer"
            facts = {"register": register} if register else {}
            yield Candidate(
                question, answer, span, confidence=self.confidence - (0 if whole else 0.1), drop=drop, facts=facts
            )

    def _declared(self, page: Page) -> Iterator[Candidate]:
        """Groups of `step` blocks; their name is the group's heading or question, else the page's title."""
        for blocks in page.groups.values():
            steps = [b for b in blocks if b.kind == "step" and b.text.strip()]
            if len(steps) < 2 or page.lang is None:
                continue
            name = next((squeeze(b.text) for b in blocks if b.kind in ("heading", "question", "summary")), page.title)
            if not name:
                continue
            answer, span = listed(page, steps)
            question, facts = name, {}
            if not is_question(name):
                task, act = how_to(name, page) or ("how_to", clean_heading(name))
                question, register = ask(task, page.lang, page.dice(f"howto/{name}"), answer, act=act)
                facts = {"register": register} if register else {}
            yield Candidate(question, answer, span, confidence=self.confidence + 0.15, facts=facts)


def broken(answer: str) -> bool:
    """Whether a section is no text to learn from: unfinished, a table of contents, or with words lost."""
    return (
        bool(_PROMISE.search(answer))
        or is_contents(answer)
        or gapped(answer)
        or bool(_TEASER.search(answer))
        or fragmented(answer)
        or not finished(answer)
    )


def finished(answer: str) -> bool:
    """Whether half of the text stands in lines that end like a sentence or are items of a list; headings and links do not."""
    lines = [line for line in answer.split("\n") if line.strip()]
    good = sum(len(line) for line in lines if ENDED.search(line) or LISTED.match(line))
    return bool(ENDED.search(answer)) and 2 * good >= sum(map(len, lines))


def fragmented(answer: str) -> bool:
    """Whether most of a longer text is lines of a word or two: a table read cell by cell."""
    lines = [line for line in answer.split("\n") if line.strip()]
    return len(lines) > 10 and sum(len(line) < 12 for line in lines) > 0.4 * len(lines)


def vague(act: str) -> bool:
    """Whether an act says too little to be asked for: one word (`바꾸는`), or a pronoun for a thing (`add it`)."""
    parts = act.split()
    return len(parts) < 2 or len(act.replace(" ", "")) < 4 or parts[-1].lower() in _PRONOUNS or bool(_STRAY.match(act))


def within(task: str, act: str, page: Page) -> tuple[str, str]:
    """(task, title): short acts are asked for in the context of the page's title, where that says more than they do."""
    title = topic(page)
    short = len(act.replace(" ", "")) < (10 if page.lang == "ko" else 12) and task in ("how", "how_to")
    apart = comparison_key(act)[:4] not in comparison_key(title)
    return (f"{task}_in", title) if short and title and apart else (task, "")


def listed(page: Page, steps: list[PageBlock]):
    """The steps as one text: as they stand in the page where they stand together, else as a numbered list without a span."""
    spans = [b.span for b in steps]
    if all(spans) and all(a.end <= b.start <= a.end + 12 for a, b in zip(spans, spans[1:])):
        span = page.trimmed(type(spans[0])(spans[0].start, spans[-1].end))
        return page.cut(span), span
    lines = [step_line(b.text) for b in steps]
    if not any(_NUMBERED.match(line) for line in lines):
        lines = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    return "\n".join(lines), None


def step_line(text: str) -> str:
    """A declared step as one line: its name, a colon, what to do."""
    name, _, rest = text.strip().partition("\n")
    if not rest.strip():
        return squeeze(name)
    return squeeze(name) + (" " if name.rstrip().endswith((".", ":", "!", "?")) else ": ") + squeeze(rest)
