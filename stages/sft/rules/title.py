"""Tasks from title and lead: summarise, give a title, continue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from stages.sft.keywords import terms
from stages.sft.page import Page, TextSpan, comparison_key, language, least
from stages.sft.passages import head, prose, sentence_count
from stages.sft.questions import clean_heading
from stages.sft.rule import Candidate, MiningRule
from stages.sft.wording import ask
from stages.text.language.particles import is_function, stem, words

_ENDING = re.compile(r"(?:ing|ed|es|s)$")
_SITE = re.compile(r"\s+[|·•»«–—]\s+|\s+[-:]\s+|\s*::\s*")
_REPLY = re.compile(r"(?:Yes|No|네|예|아니요|아니오)[,. ]")
"""A paragraph that answers a question is no continuation."""
_LABELLED = re.compile(r"[^\s.!?]{1,30}(?: [^\s.!?]{1,30}){0,3}\s?[:：]\s")
"""`Resume Next: ...`, `생략: ...`: one item of a list, neither a summary nor a next paragraph."""
LEAD = 0.75
"""Least overlap of a lead that nobody has declared a summary: below it three of five read were none."""
DANGLING = re.compile(
    r"(?:그러나|하지만|그런데|그리고|또한|또는|그래서|따라서|그러므로|그러면|이때|이 때|그때|이러한|이런|그런|이|그|이것|그것|여기서|여기에|그 다음|다음으로|반면|예를 들어|예의|특히|즉|아래|다음|위의|앞의|이렇게|심지어|"
    r"However|But|And|Also|So|Thus|Therefore|Hence|Then|This|These|That|Those|It|They|He|She|Such|For example|For instance|In addition|Moreover|Instead|Otherwise|Similarly)[\s,]"
)
"""Openings that hang on what stood before."""
_SUMMARY_KEYS = ("description", "og:description", "summary", "abstract")


class Title(MiningRule):
    """Two tasks a page at most: its lead or description as a summary of the rest, its title, or its next paragraph."""

    rank: ClassVar[int] = 60
    covers: ClassVar[bool] = False
    confidence: float = Field(0.6, ge=0.0, le=1.0)
    "For titles; summaries and continuations count 0.05 less."
    tasks: tuple[Literal["summarise", "title", "continue"], ...] = ("summarise", "title", "continue")
    "Which tasks to draw from."
    per_page: int = Field(2, ge=1, le=3)
    "Tasks of one page at most."
    max_input: int = Field(3000, ge=200)
    "Longest text shown in the instruction, characters."
    min_overlap: float = Field(0.5, ge=0.0, le=1.0)
    "Least share of a title's or summary's content words that stand in the text it is to be given for."
    min_answer: int = Field(6, ge=1)
    "Shortest title, characters."

    def find(self, page: Page) -> Iterator[Candidate]:
        if page.lang is None:
            return
        made = [c for task in self.tasks if (c := getattr(self, f"_{task}")(page)) is not None]
        dice = page.dice("title")
        dice.shuffle(made)
        yield from made[: self.per_page]

    def _summarise(self, page: Page) -> Candidate | None:
        spans = prose(page)
        if len(spans) < 3:
            return None
        summary, span, rest = declared(page), None, spans
        if summary is None:
            span, rest = spans[0], spans[1:]
            summary = page.cut(span)
            if _LABELLED.match(summary) or DANGLING.match(summary) or sentence_count(summary) > 3:
                return None
        shown = head(page, rest, self.max_input)
        if shown is None or not least(60, page.lang) <= len(summary) <= 0.5 * (shown.end - shown.start):
            return None
        text = page.cut(shown)
        if (
            overlap(summary, text) < (max(self.min_overlap, LEAD) if span else self.min_overlap)
            or summary in text
            or sentence_count(text) < 4
        ):
            return None
        if not turns_on(summary, text):
            return None
        question, register = ask("summarise", page.lang, page.dice("summarise"), summary, text=text)
        return Candidate(question, summary, span, "summarise", self.confidence - 0.05, facts=_level(register))

    def _title(self, page: Page) -> Candidate | None:
        title = topic(page)
        shown = head(page, prose(page), self.max_input)
        if not title or shown is None or not self.min_answer <= len(title) <= 120 or len(title) < 2:
            return None
        text = page.cut(shown)
        if language(title) not in (None, page.lang) or comparison_key(title) in comparison_key(
            text[: len(title) + 200]
        ):
            return None
        if sentence_count(text) < 3 or overlap(title, text) < self.min_overlap or len(words(title)) < 2:
            return None
        question, register = ask("title", page.lang, page.dice("title/ask"), text=text)
        found = page.text.find(title)
        span = TextSpan(found, found + len(title)) if found >= 0 else None
        return Candidate(question, title, span, "title", self.confidence, facts=_level(register))

    def _continue(self, page: Page) -> Candidate | None:
        spans = prose(page)
        pairs = [
            (a, b)
            for a, b in zip(spans, spans[1:])
            if b.start - a.end <= 4 and page.cut(a).strip() != page.cut(b).strip()
        ]
        if not pairs:
            return None
        before, after = page.dice("continue").choice(pairs)
        answer = page.cut(after)
        if _REPLY.match(answer) or _LABELLED.match(answer) or shared(page.cut(before), answer) < 2:
            return None
        if (
            len(answer) < least(120, page.lang)
            or sentence_count(answer) < 2
            or before.end - before.start > self.max_input
        ):
            return None
        title = topic(page)
        question, register = ask(
            "continue", page.lang, page.dice("continue/ask"), answer, text=page.cut(before), title=title
        )
        return Candidate(question, answer, after, "continue", self.confidence - 0.05, facts=_level(register))


def _level(register: str) -> dict[str, str]:
    return {"register": register} if register else {}


def declared(page: Page) -> str | None:
    """A description the page itself states, when it is a whole sentence."""
    for key in _SUMMARY_KEYS:
        text = " ".join(page.meta.get(key, "").split())
        if text and text[-1:] in ".!?다요" and not text.endswith(("...", "…")):
            return text
    return None


def topic(page: Page) -> str:
    """What the page is about: its title without site name and numbering, in the page's language; else nothing."""
    title = clean_heading(site_free(page.title))
    return title if language(title) in (None, page.lang) else ""


def site_free(title: str) -> str:
    """A title without the site's name before or behind a separator: the longest part."""
    parts = [part.strip() for part in _SITE.split(title) if part.strip()]
    return max(parts, key=len) if parts else ""


def overlap(piece: str, text: str) -> float:
    """Share of the content words of `piece` whose roots stand in `text`; 0 without content words."""
    wanted = {root(w) for w in words(piece) if not is_function(w)}
    have = {root(w) for w in words(text)}
    dense = comparison_key(text)
    return sum(w in have or (len(w) > 1 and w in dense) for w in wanted) / len(wanted) if wanted else 0.0


def turns_on(summary: str, text: str) -> bool:
    """Whether a summary names at least three of the five words its text turns on (all of them where it has fewer)."""
    heavy = [term for term in terms(text, most=5) if term.count >= 2]
    have = {root(w) for w in words(summary)}
    dense = comparison_key(summary)
    named = sum(root(term.form) in have or term.stem in dense for term in heavy)
    return len(heavy) >= 2 and named >= min(3, len(heavy))


def shared(one: str, two: str) -> int:
    """Content words (by root) that both texts use: a paragraph that goes on about the same thing has some."""
    return len(
        {root(w) for w in words(one) if not is_function(w)} & {root(w) for w in words(two) if not is_function(w)}
    )


def root(word: str) -> str:
    """A word's stem; an English one also without a plural's or verb's ending."""
    base = stem(word)
    return _ENDING.sub("", base) if len(base) > 4 and base.isascii() else base
