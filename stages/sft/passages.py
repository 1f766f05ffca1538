"""Passages: runs of a document's own paragraphs that are long enough to ask about and short enough to show."""

from __future__ import annotations

import re
from functools import lru_cache

from stages.sft.grounding import sentences
from stages.sft.page import Page, TextSpan, language, least, untranslated

_SENTENCE_END = re.compile(r"[.!?。…다요][\"'”’)」』\]]*$")
_GAP = re.compile(r"\w \.(?:\s|$)|\(\s*\)|\s,\s,|(?:^|\n|[가-힣,.:;]\s)(?:을|를|은|는|에|에서|으로|의|과|와)\s")
"""Where an extractor lost a word: `choose . For a text`, `메뉴에서 을 선택`."""
_LATIN_RUN = re.compile(r"(?:[^\W\d_가-힣][^\W\d_가-힣]*['’-]?[ ,]+){7,}[^\W\d_가-힣]")
"""Eight Latin words in a row: on a Korean page an untranslated sentence."""
_CONTENTS = re.compile(r"(?:^|\s)(?:\d{1,2}|[A-Z])\.\d{1,2}\.(?:\d{1,2}\.)*\s")
"""Section numbers; five of them in a paragraph are a table of contents."""


def prose(page: Page, characters: int = 80) -> list[TextSpan]:
    """Paragraphs in the page's language that read as prose: at least `characters` long (in English; Korean less), ending like a sentence, mostly
    letters, nothing lost in them."""
    shortest = least(characters, page.lang)
    return [span for span in page.cached(readable) if span.end - span.start >= shortest]


def several_sentences(page: Page, characters: int, most: int) -> list[TextSpan]:
    """Of `prose`, the paragraphs of at most `most` characters and at least three sentences."""
    return [
        span
        for span in prose(page, characters)
        if span.end - span.start <= most and sentence_count(page.cut(span)) >= 3
    ]


def readable(page: Page) -> list[TextSpan]:
    """Paragraphs of forty characters and more (Korean less) that read as prose."""
    shortest = least(40, page.lang)
    return [span for span in page.paragraphs if span.end - span.start >= shortest and reads(page, span)]


def reads(page: Page, span: TextSpan) -> bool:
    text = page.cut(span)
    if (
        page.in_code(span.start)
        or text[0] in "-–—,.;:)]}·"
        or not _SENTENCE_END.search(text)
        or text.count("|") > 3
        or _GAP.search(text)
    ):
        return False
    letters = sum(map(str.isalpha, text)) + text.count(" ")
    if letters < 0.75 * len(text) or is_contents(text):
        return False
    if page.lang == "ko" and (_LATIN_RUN.search(text) or untranslated(text)):
        return False
    return page.lang is None or language(text) == page.lang


def gapped(text: str) -> bool:
    """Whether an extractor lost words of it (menu names, buttons)."""
    return bool(_GAP.search(text))


def balanced(text: str) -> bool:
    """Whether every bracket that opens closes again: a sentence cut out of a parenthesis is none."""
    return all(text.count(a) == text.count(b) for a, b in ("()", "[]", "“”", "‘’", "「」", "『』"))


def is_contents(text: str) -> bool:
    """Whether a text is a table of contents: five section numbers or more."""
    return len(_CONTENTS.findall(text)) >= 5


def foreign(page: Page) -> list[TextSpan]:
    """Paragraphs in another language than the page's: what a translator left as it was."""
    if page.lang is None:
        return []
    return [span for span in page.paragraphs if language(page.cut(span)) not in (None, page.lang)]


def head(page: Page, spans: list[TextSpan], most: int) -> TextSpan | None:
    """The longest run of paragraphs from the first one on that fits into `most` characters; None when the first does not, or
    when what stands between them is in another language or for the most part no prose."""
    if not spans or spans[0].end - spans[0].start > most:
        return None
    end = spans[0].end
    for span in spans[1:]:
        if span.end - spans[0].start > most:
            break
        end = span.end
    whole = TextSpan(spans[0].start, end)
    own = sum(s.end - s.start for s in spans if s.end <= end)
    if any(whole.start <= span.start < whole.end for span in page.cached(foreign)):
        return None
    return whole if 2 * own >= end - whole.start else None


@lru_cache(maxsize=256)
def sentence_count(text: str) -> int:
    return len(sentences(text))
