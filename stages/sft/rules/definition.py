"""Terms with their definitions: `<dl>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.page import Page, PageBlock, least, squeeze
from stages.sft.questions import NUMBER, is_question
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.title import topic
from stages.sft.wording import ask

_VALUE = re.compile(r"[\d\W_]*|https?://\S+|\S+@\S+")
_CONTENTS = re.compile(r"(?:^|\s)\d{1,2}\.\d{1,2}\.(?:\d{1,2}\.)*\s")
_END = re.compile(r"[.!?다요음함됨]\W*$")


class Definition(MiningRule):
    """A `<dl>` term and what stands under it: a question as it is, a term as "what is". Names with values (`Author: ...`)
    are no definitions."""

    rank: ClassVar[int] = 20
    confidence: float = Field(0.75, ge=0.0, le=1.0)
    "For a term; a question in a `<dt>` counts 0.1 more."
    max_term: int = Field(60, ge=1)
    "Longest term, characters, that is not itself a question."

    def find(self, page: Page) -> Iterator[Candidate]:
        after = 0
        for blocks in page.groups.values():
            terms = [b for b in blocks if b.kind == "term"]
            for term, definition in paired(blocks) if terms else ():
                name, answer = squeeze(term.text), definition.text.strip()
                span = definition.span or (page.attach(answer, after) if answer else None)
                if span is not None:
                    span = page.trimmed(span)
                    after, answer = span.end, page.cut(span)
                yield self._candidate(page, name, answer, span)

    def _candidate(self, page: Page, name: str, answer: str, span) -> Candidate:
        unfinished = bool(_CONTENTS.match(answer)) or (not _END.search(answer) and "\n" in answer)
        if is_question(name):
            question = NUMBER.sub("", name)
            return Candidate(
                question, answer, span, confidence=self.confidence + 0.1, drop="unclear" if unfinished else None
            )
        drop = None
        if not answer:
            drop = "empty_answer"
        elif _VALUE.fullmatch(name) or len(name) > self.max_term or NUMBER.match(name) or unfinished:
            drop = "unclear"
        elif page.lang is None:
            drop = "other_language"
        elif not _END.search(answer) and len(answer) < least(2 * self.min_answer, page.lang):
            drop = "short_answer"
        if drop:
            return Candidate(name, answer, span, drop=drop)
        title = topic(page) if topic(page) != name else ""
        task = "define_in" if title else "define"
        question, register = ask(
            task, page.lang, page.dice(f"definition/{name}"), answer, term=name.rstrip(" :："), title=title
        )
        return Candidate(question, answer, span, facts={"register": register} if register else {})


def paired(blocks: list[PageBlock]) -> Iterator[tuple[PageBlock, PageBlock]]:
    """(term, definition) of one group: every definition goes to the terms directly before it."""
    terms: list[PageBlock] = []
    fresh = True
    for block in blocks:
        if block.kind == "term":
            terms = [block] if not fresh else [*terms, block]
            fresh = True
        elif block.kind == "definition" and terms:
            fresh = False
            yield from ((term, block) for term in terms[:1])
