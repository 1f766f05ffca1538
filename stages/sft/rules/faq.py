"""Questions with their answers as the page itself declares them: FAQPage, QAPage and the like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.page import Page, PageBlock
from stages.sft.rule import Candidate, MiningRule

ANSWERS = ("accepted_answer", "answer")


class Faq(MiningRule):
    """schema.org questions (JSON-LD, microdata, RDFa): one row per answer, accepted ones first."""

    rank: ClassVar[int] = 10
    markup: ClassVar[bool] = True

    confidence: float = Field(0.95, ge=0.0, le=1.0)
    "Declared by the page's author; an answer beside an accepted one counts 0.15 less."

    def find(self, page: Page) -> Iterator[Candidate]:
        after = 0
        for question, answers in questions_of(page):
            ranked = sorted(answers, key=lambda block: ANSWERS.index(block.kind))
            if not ranked:
                yield Candidate(question.text.strip(), "", confidence=self.confidence)
            for number, block in enumerate(ranked):
                text = block.text.strip()
                span = block.span or (page.attach(text, after) if text else None)
                if span is not None:
                    span = page.trimmed(span)
                    after = span.end
                    text = page.cut(span)
                beside = number > 0 or (block.kind == "answer" and any(b.kind == "accepted_answer" for b in answers))
                facts = {"answer_rank": str(number + 1), "answers": str(len(ranked))}
                if any(b.kind == "accepted_answer" for b in answers):
                    facts["accepted"] = "true" if block.kind == "accepted_answer" else "false"
                yield Candidate(
                    question.text.strip(), text, span, confidence=self.confidence - 0.15 * beside, facts=facts
                )


def questions_of(page: Page) -> Iterator[tuple[PageBlock, list[PageBlock]]]:
    """Every question block with the answers of its group; without a group, with those that follow it."""
    loose: tuple[PageBlock, list[PageBlock]] | None = None
    for block in page.blocks:
        if block.kind == "question":
            if loose:
                yield loose
            loose = None
            if block.group is None:
                loose = (block, [])
            else:
                yield block, [b for b in page.groups[block.group] if b.kind in ANSWERS]
        elif block.kind in ANSWERS and block.group is None and loose:
            loose[1].append(block)
    if loose:
        yield loose
