"""Questions and answers written out in the text: Q:/A:, 질문/답변, 문/답, 묻다/답하다, and numbered questions."""

from __future__ import annotations

import re
from typing import ClassVar, Iterator, NamedTuple

from pydantic import Field

from stages.sft.page import Page, Span, squeeze
from stages.sft.rule import Candidate, Rule

ASKS = "question q 질문 물음 문의 문 묻다 묻습니다 물어봅니다".split()
ANSWERS = "answer ans a 답변 대답 응답 답 답하다 답합니다".split()
_LABEL = re.compile(
    r"^[ \t>*_#\-–—•·▶▷■□◆◇●○※]{0,8}(?P<open>[\[【(（<〈]?)[ \t]*"
    rf"(?P<label>{'|'.join([*ASKS, *ANSWERS])})[ \t]*\.?[ \t]*(?P<number>\d{{0,3}})[ \t]*"
    r"(?P<close>[\])】）>〉]?)(?P<mark>[*_]{0,2}[ \t]*[:：.)]?[*_]{0,2})(?P<gap>[ \t]+|$|(?<=[:：\])】）>〉]))",
    re.MULTILINE | re.IGNORECASE,
)
_INLINE = re.compile(r"[ \t](?:A(?:nswer)?|답변|답)[ \t]*[:：][ \t]*", re.IGNORECASE)
_NUMBERED = re.compile(r"^[ \t]*(?:\*\*)?\(?(?P<number>\d{1,3})[.)][ \t]+(?P<rest>[^\n]{4,200}[?？])(?:\*\*)?[ \t]*$", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n+")


class Label(NamedTuple):
    """A label at the head of a line: `asks` or answers, its number (may be empty), where its line starts and its text."""

    asks: bool
    number: str
    start: int
    text: int


class Asked(NamedTuple):
    """A question found in the text: its words, where its line starts, and where its answer starts."""

    question: str
    start: int
    answer: int


def labels(page: Page) -> list[Label]:
    """Every label in the text. A bare word is no label: it needs brackets, a mark, a number, bold, or a line of its own."""
    found = []
    for match in _LABEL.finditer(page.text):
        word = match["label"].lower()
        alone = page.text[match.end() : match.end() + 1] in ("", "\n")
        bracketed = bool(match["open"] and match["close"])
        bold = match["mark"].startswith(("*", "_")) and page.text[match.start() : match.start("label")].strip()[-1:] in "*_"
        numbered = bool(match["number"]) and len(word) > 1 or bool(match["number"]) and match["label"] in "QA문답"
        if not (bracketed or match["mark"].strip(" \t*_") or bold or numbered or (alone and (len(word) > 1 or match["label"] in "QA"))):
            continue
        if not page.in_code(match.start()):
            found.append(Label(word in ASKS, match["number"], match.start(), match.end()))
    return found


class QaText(Rule):
    """Labelled questions and answers in running text; numbered questions where a page has at least two."""

    rank: ClassVar[int] = 30
    confidence: float = Field(0.85, ge=0.0, le=1.0)
    "For labelled pairs; numbered questions count 0.1 less."
    min_answer: int = Field(10, ge=1)
    "Shortest answer, characters: a label vouches for short ones."

    def find(self, page: Page) -> Iterator[Candidate]:
        labelled = list(_labelled(page))
        yield from _answered(page, labelled, self.confidence)
        if not labelled:
            numbered = [Asked(m["rest"].strip(" *"), m.start(), m.end()) for m in _NUMBERED.finditer(page.text) if not page.in_code(m.start())]
            if len(numbered) >= 2:
                yield from _answered(page, numbered, self.confidence - 0.1)


def _labelled(page: Page) -> Iterator[Asked]:
    """Questions with an answer behind them; of several questions before one answer the last is the one answered."""
    asked: Label | None = None
    for label in labels(page):
        if label.asks:
            line_end = page.text.find("\n", label.text)
            rest = page.text[label.text : line_end if line_end >= 0 else len(page.text)]
            inline = _INLINE.search(rest)
            if inline:
                yield Asked(squeeze(rest[: inline.start()]).strip("*_ "), label.start, label.text + inline.end())
            asked = None if inline else label
        elif asked is not None and (not label.number or not asked.number or label.number == asked.number):
            yield Asked(squeeze(page.text[asked.text : label.start]).strip("*_ "), asked.start, label.text)
            asked = None


def _answered(page: Page, asked: list[Asked], confidence: float) -> Iterator[Candidate]:
    """An answer ends at the next question or heading; the last one after as many paragraphs as the longest before it."""
    heads = [span.start for _, _, span in page.headings]
    longest = 1
    for place, (question, _, start) in enumerate(asked):
        if place + 1 < len(asked):
            limit = asked[place + 1].start
        else:
            breaks = [m.start() for m in _BLANK.finditer(page.text, start) if page.text[start : m.start()].strip()]
            limit = breaks[longest - 1] if longest <= len(breaks) else len(page.text)
        limit = next((h for h in heads if start < h < limit), limit)
        span = page.trimmed(Span(start, max(start, limit)))
        longest = max(longest, len(_BLANK.findall(page.cut(span))) + 1)
        yield Candidate(question, page.cut(span), span, confidence=confidence)
