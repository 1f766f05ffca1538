"""Passages: runs of a document's own paragraphs that are long enough to ask about and short enough to show."""

from __future__ import annotations

from stages.models.grounding import sentences
from stages.sft.page import Page, Span


def prose(page: Page, least: int = 80) -> list[Span]:
    """Paragraphs that read as prose: at least `least` characters, ending like a sentence, mostly letters."""
    out = []
    for span in page.paragraphs:
        text = page.cut(span)
        if len(text) < least or page.in_code(span.start):
            continue
        letters = sum(ch.isalpha() or ch == " " for ch in text)
        if letters < 0.75 * len(text) or text.rstrip(" \"'”’)」』")[-1:] not in ".!?。…다요" or text.count("|") > 3:
            continue
        out.append(span)
    return out


def head(page: Page, spans: list[Span], most: int) -> Span | None:
    """The longest run of paragraphs from the first one on that fits into `most` characters; None when the first does not."""
    if not spans or spans[0].end - spans[0].start > most:
        return None
    end = spans[0].end
    for span in spans[1:]:
        if span.end - spans[0].start > most:
            break
        end = span.end
    return Span(spans[0].start, end)


def sentence_count(text: str) -> int:
    return len(sentences(text))
