"""How-to headings and HowTo markup, answered by their steps or section."""

from __future__ import annotations

import re
from typing import ClassVar, Iterator

from pydantic import Field

from stages.sft.labels import labels
from stages.sft.page import Block, Page, squeeze
from stages.sft.passages import is_contents
from stages.sft.questions import clean_heading, how_to, is_question
from stages.sft.rule import Candidate, Rule
from stages.sft.rules.heading import ENDED, answer_span
from stages.sft.wording import ask

_NUMBERED = re.compile(r"^\s*(?:\d{1,3}[.)]|step\s+\d+|\d+\s*단계)", re.IGNORECASE)


class Howto(Rule):
    """A heading that promises how something is done, with its section; declared HowTo steps, with their name."""

    rank: ClassVar[int] = 40
    confidence: float = Field(0.75, ge=0.0, le=1.0)
    "For a section that lists steps or is plain prose; declared steps count 0.15 more."
    min_answer: int = Field(60, ge=1)
    "Shortest section, characters: shorter ones are signposts."

    def find(self, page: Page) -> Iterator[Candidate]:
        yield from self._declared(page)
        ends = [label.start for label in page.once(labels) if label.asks]
        for section in page.sections:
            if is_question(section.heading):
                continue
            found = how_to(section.heading, page)
            if found is None:
                continue
            span, whole = answer_span(page, section, self.min_answer, self.max_answer, ends)
            answer = page.cut(span)
            task, act = found
            question, register = ask(task, page.lang, page.dice(f"howto/{section.heading}"), answer, act=act)
            drop = "unclear" if len(answer) >= self.min_answer and (not ENDED.search(answer) or is_contents(answer)) else None
            facts = {"register": register} if register else {}
            yield Candidate(question, answer, span, confidence=self.confidence - (0 if whole else 0.1), drop=drop, facts=facts)

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


def listed(page: Page, steps: list[Block]):
    """The steps as one text: as they stand in the page where they stand together, else as a numbered list without a span."""
    spans = [b.span for b in steps]
    if all(spans) and all(a.end <= b.start <= a.end + 12 for a, b in zip(spans, spans[1:])):
        span = page.trimmed(type(spans[0])(spans[0].start, spans[-1].end))
        return page.cut(span), span
    lines = [step_line(b.text) for b in steps]
    if not any(_NUMBERED.match(line) for line in lines):
        lines = [f"{place}. {line}" for place, line in enumerate(lines, 1)]
    return "\n".join(lines), None


def step_line(text: str) -> str:
    """A declared step as one line: its name, a colon, what to do."""
    name, _, rest = text.strip().partition("\n")
    if not rest.strip():
        return squeeze(name)
    return squeeze(name) + (" " if name.rstrip().endswith((".", ":", "!", "?")) else ": ") + squeeze(rest)
