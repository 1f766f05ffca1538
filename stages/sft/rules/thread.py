"""Forum threads: what the first post asks, answered by the replies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.grounding import sentences
from stages.sft.page import Page, PageBlock, least
from stages.sft.questions import is_question
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.title import site_free

_THANKS = re.compile(
    r"^\W*(?:thanks?|thank you|ty|same here|bump|following|me too|\+1|감사|고맙|저도|동감|궁금)\b", re.IGNORECASE
)
_QUOTED = re.compile(r"^.{0,60}(?:said|wrote|님이? (?:쓴|작성한) 글)\s*:", re.IGNORECASE)


class Thread(MiningRule):
    """A thread of posts whose first one asks: one row per reply that says something, in the order of the thread."""

    rank: ClassVar[int] = 35
    confidence: float = Field(0.5, ge=0.0, le=1.0)
    "Nobody has accepted these replies; the first counts full, each later one 0.05 less."
    replies: int = Field(3, ge=1)
    "Most replies taken of one thread."
    max_question: int = Field(3000, ge=100)
    "Longest first post, characters."
    min_answer: int = Field(80, ge=1)
    "Shortest reply, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if any(True for _ in page.of_kind("question")):
            return
        posts = [b for b in page.of_kind("post") if b.text.strip()]
        if len(posts) < 2:
            return
        question = question_of(page, posts[0])
        if question is None:
            return
        taken = 0
        for block in posts[1:]:
            text = block.text.strip()
            if (
                len(text) < least(self.min_answer, page.lang)
                or _THANKS.match(text)
                or _QUOTED.match(text)
                or text.endswith(("?", "？"))
            ):
                continue
            yield Candidate(
                question,
                text,
                block.span,
                confidence=max(0.0, self.confidence - 0.05 * taken),
                facts={"answer_rank": str(taken + 1)},
            )
            taken += 1
            if taken == self.replies:
                return


def question_of(page: Page, first: PageBlock) -> str | None:
    """Title and first post as one question; None where neither asks."""
    title, text = site_free(page.title), first.text.strip()
    asks = is_question(title) or any(is_question(text[a:b]) for a, b in sentences(text))
    if not asks:
        return None
    return text if not title or title in text else f"{title}\n\n{text}"
