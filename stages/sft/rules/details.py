"""Folded questions: `<details>` with a `<summary>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.page import Page, squeeze
from stages.sft.questions import is_question, worded
from stages.sft.rule import Candidate, MiningRule

BUTTON = re.compile(
    r"(?:show|read|view|see|click|load|open|expand|hide|toggle)\b.{0,20}|more|details?|menu|contents|table of contents|"
    r"더\s*보기|자세히(?:\s*보기)?|펼치기|접기|열기|닫기|보기|메뉴|목차|상세(?:\s*보기)?",
    re.IGNORECASE,
)
"""Summaries that are buttons: they ask nothing."""


CONSENT = re.compile(r"cookies?\b|쿠키", re.IGNORECASE)
CODE = re.compile(r"[<>{}§=;\\]|\w\(|::")


class Details(MiningRule):
    """A summary that asks or names something, answered by what it unfolds."""

    rank: ClassVar[int] = 20
    confidence: float = Field(0.85, ge=0.0, le=1.0)
    "For a summary that is a question; one that only names its content counts 0.15 less."

    max_name: int = Field(80, ge=1)
    "Longest summary, characters, that is not itself a question."

    def find(self, page: Page) -> Iterator[Candidate]:
        after = 0
        for blocks in page.groups.values():
            summary = next((b for b in blocks if b.kind == "summary"), None)
            body = next((b for b in blocks if b.kind == "details"), None)
            if summary is None or body is None:
                continue
            heading, answer = squeeze(summary.text), body.text.strip()
            span = body.span or (page.attach(answer, after) if answer else None)
            if span is not None:
                span = page.trimmed(span)
                after, answer = span.end, page.cut(span)
            question, facts = worded(page, heading, answer, "details")
            drop = None if question or not heading else "other_language"
            if BUTTON.fullmatch(heading.rstrip(" .…>»")):
                drop = "stub"
            elif not is_question(heading) and (
                len(heading) > self.max_name or CODE.search(heading) or CONSENT.search(heading)
            ):
                drop = "unclear"
            confidence = self.confidence - (0 if is_question(heading) else 0.15)
            yield Candidate(question, answer, span, confidence=confidence, drop=drop, facts=facts)
