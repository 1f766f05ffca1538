"""Headings that ask, answered by the section below them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stages.sft.labels import labels
from stages.sft.page import Page, PageSection, TextSpan, comparison_key
from stages.sft.passages import gapped, is_contents
from stages.sft.questions import NUMBER, is_question
from stages.sft.rule import Candidate, MiningRule

ENDED = re.compile(r"[.!?。…:;)\]\"'”’]\s*$|[다요죠음함임됨]\s*$", re.MULTILINE)


CALLS = re.compile(
    r"(?:ready (?:to|for)|looking for|looking to|need (?:help|more|a|an|to|some)|have (?:a|any|more|questions)|got (?:a|any|questions)|still |want (?:to|more|a)|"
    r"interested|not what |never |not sure|curious|new (?:to|here)|did (?:you|we) |was this|were you|is this (?:page|article)|found|any (?:questions|other)|"
    r"would you like|do you have|are you (?:ready|looking|a|an|new|sure|interested))|"
    r".*(?:궁금하(?:신가요|세요|십니까|신 점)|필요하(?:신가요|세요|십니까)|찾으(?:시나요|세요|십니까)|도움이 되(?:었나요|셨나요|었습니까)|있으신가요|계신가요|준비(?:가)? 되셨나요|어떠셨나요|어떠신가요)",
    re.IGNORECASE,
)
"""Questions put to the reader by a page that wants something; what follows is no answer."""


class Heading(MiningRule):
    """A question heading and its section, sub-sections included while they fit. Threads are left to their own rule."""

    rank: ClassVar[int] = 40
    confidence: float = Field(0.85, ge=0.0, le=1.0)
    "For a section without headings of its own; with them 0.1 less."

    def find(self, page: Page) -> Iterator[Candidate]:
        if sum(1 for _ in page.of_kind("post")) >= 2:
            return
        ends = [label.start for label in page.cached(labels) if label.asks]
        for section in page.sections:
            if not is_question(section.heading):
                continue
            question = NUMBER.sub("", section.heading.strip(" #*¶")).strip()
            span, whole = answer_span(page, section, self.min_answer, self.max_answer, ends)
            answer = page.cut(span)
            drop = (
                "unclear"
                if len(answer) >= self.min_answer and (torn(answer) or is_contents(answer) or gapped(answer))
                else None
            )
            if DEICTIC.search(question) and len(answer) >= self.min_answer:
                drop = "unclear"
            if CALLS.match(question):
                drop = "stub"
            yield Candidate(question, answer, span, confidence=self.confidence - (0 if whole else 0.1), drop=drop)


def answer_span(page: Page, section: PageSection, least: int, most: int, ends: list[int]) -> tuple[TextSpan, bool]:
    """What answers a heading: its own text where it has no sub-headings, its whole body while that fits, else the text
    before the first sub-heading; never beyond a position in `ends`. The flag says whether it is free of sub-headings."""
    own, body = (_until(page, span, ends) for span in (section.own, section.body))
    if own == body or body.end - body.start > most:
        return own, True
    if own.end - own.start >= 4 * least and own.end - own.start >= (body.end - body.start) // 2:
        return own, True
    return body, False


def _until(page: Page, span: TextSpan, ends: list[int]) -> TextSpan:
    stop = next((position for position in ends if span.start <= position < span.end), span.end)
    return whole_lines(page, page.trimmed(TextSpan(span.start, stop)))


SEE_ALSO = re.compile(
    r"^[ \t*#-]*(?:관련\s?(?:주제|항목|글|문서|링크|기사|정보)|참고\s?(?:항목|자료|문헌|링크)|함께 보기|같이 보기|더 보기|더 읽을거리|"
    r"(?:see also|related (?:topics?|articles?|posts?|links?|information|pages?|reading)|further reading|more information|read more|references))\W*$",
    re.MULTILINE | re.IGNORECASE,
)
"""A line over links to other pages: what follows answers nothing."""
LISTED = re.compile(r"[ \t]*(?:[-*+•·▪◦]|\(?\d{1,3}[.)]|[가-하][.)]|[①-⑳]|\|)")


def is_latin(line: str) -> bool:
    """Whether a line has Latin words only and none of the signs of code: on a Korean page the title of something untranslated."""
    return bool(re.fullmatch(r"[A-Z][A-Za-z][^가-힣=;{}$#<>|\\]*", line.strip())) and line.count(" ") >= 2


def torn(answer: str) -> bool:
    """Whether an answer is a teaser or breaks off: no line of it ends like a sentence, or the last one ends in dots or asks."""
    last = answer.rstrip()[-4:]
    return not ENDED.search(answer) or last.endswith(("...", "…")) or (last.endswith(("?", "？")) and len(answer) < 300)


DEICTIC = re.compile(
    r"\b(?:this|these|that|those) (?!(?:a|an|the)\b)[a-z]+|^(?:\W*)(?:who|what|how|when|where|why|is|are|does|do|was|will|can|should)\s+(?:(?:is|are|does|do|was|will|can|should|much|many|long)\s+)?(?:it|they|he|she)\b"
    r"|^(?:read more|see also|related|watch|video|next|more)\s*[:：]|^(?:이것|그것|이건|그건|이거|여기)[은는이가도에]",
    re.IGNORECASE,
)
"""Questions that point to something outside them, and links to other pages."""


def whole_lines(page: Page, span: TextSpan) -> TextSpan:
    """`span` without links to other pages at its end and without last lines that are no sentence (captions, crumbs)."""
    text = page.cut(span)
    if found := SEE_ALSO.search(text):
        text = text[: found.start()].rstrip()
    korean = page.lang == "ko"
    while "\n" in text:
        before, _, last = text.rpartition("\n")
        if page.in_code(span.start + len(before) + 1) or LISTED.match(last):
            break
        caption = comparison_key(last) in comparison_key(before) and not last.rstrip().endswith((".", "?", "!", "다"))
        if not caption and (
            len(last) > 60
            or (ENDED.search(last) and not last.endswith((":", "：")) and not (korean and is_latin(last)))
        ):
            break
        text = before.rstrip()
    return page.trimmed(TextSpan(span.start, span.start + len(text)))
