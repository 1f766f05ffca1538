"""Headings that name something, answered by the section below them: "explain X" in the context of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft import page as page_
from stages.sft.labels import labels
from stages.sft.page import Page, comparison_key, language, least
from stages.sft.passages import reads
from stages.sft.questions import clean_heading, how_to, is_question, lower_words, small
from stages.sft.rule import Candidate, MiningRule
from stages.sft.rules.heading import whole_lines
from stages.sft.rules.howto import broken
from stages.sft.rules.title import DANGLING, overlap, topic
from stages.sft.wording import ask


class Section(MiningRule):
    """A heading that neither asks nor promises a way, with its own text where that is prose about what the heading names."""

    rank: ClassVar[int] = 50
    confidence: float = Field(0.6, ge=0.0, le=1.0)
    "Nobody asked; the section speaks of what its heading names."
    max_heading: int = Field(50, ge=4)
    "Longest heading, characters."
    min_answer: int = Field(180, ge=40)
    "Shortest section, characters."
    max_answer: int = Field(3000, ge=100)
    "Longest section, characters."
    min_overlap: float = Field(0.6, ge=0.0, le=1.0)
    "Least share of the heading's content words that stand in the section."
    per_page: int = Field(6, ge=1)
    "Sections of one page at most, in the order of the page."

    def find(self, page: Page) -> Iterator[Candidate]:
        title = topic(page)
        if page.lang is None or not title or any(True for _ in page.of_kind("post")) or page.cached(labels):
            return
        made = 0
        for section in page.sections:
            head = clean_heading(section.heading)
            if is_question(section.heading) or how_to(section.heading, page) or not self._names(page, head, title):
                continue
            span = whole_lines(page, section.own)
            answer = page.cut(span)
            if not least(self.min_answer, page.lang) <= len(answer) <= self.max_answer or not self._speaks(
                page, section, head, answer
            ):
                continue
            shown = small("x " + head, page.cached(lower_words))[2:] if page.lang == "en" else head
            question, register = ask(
                "section", page.lang, page.dice(f"section/{section.head.start}"), answer, title=title, heading=shown
            )
            yield Candidate(question, answer, span, facts={"register": register} if register else {})
            made += 1
            if made == self.per_page:
                return

    def _names(self, page: Page, head: str, title: str) -> bool:
        """Whether the heading names one thing in the page's language, and another than the page's title."""
        inside = comparison_key(head)
        return (
            2 <= len(head) <= self.max_heading and language(head) in (None, page.lang) and len(inside) >= 2
            and inside != comparison_key(title) and not head.endswith((":", ",", "…")) and inside not in _FURNITURE
        )  # fmt: skip

    def _speaks(self, page: Page, section: page_.PageSection, head: str, answer: str) -> bool:
        """Whether the section is prose about its heading: its first paragraph reads, names it, and hangs on nothing before."""
        first = next((span for span in page.paragraphs if section.own.start <= span.start < section.own.end), None)
        if (
            first is None
            or first.start - section.own.start > 4
            or broken(answer)
            or DANGLING.match(answer)
            or not reads(page, first)
        ):
            return False
        return (
            first.end - first.start >= least(60, page.lang)
            and overlap(head, answer) >= self.min_overlap
            and overlap(head, page.cut(first)) > 0
        )


_FURNITURE = frozenset(
    "introduction overview summary conclusion conclusions notes note examples example contents tableofcontents background abstract references "
    "comments about contact faq news description details general settings options preface discussion results "
    "소개 개요 요약 결론 참고 예 예제 예시 목차 배경 머리말 서문 맺음말 들어가며 마치며 설명 옵션 설정 일반 기타 주의 참고문헌 댓글 공지사항 문의 정의".split()
)
"""Headings that name a part of a page and nothing of its subject."""
