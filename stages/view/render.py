"""What pages are made with: templates, addresses, and texts as they may be shown, with marks and differences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup, escape

from pipeline.errors import UsageError
from pipeline.inspection.conditions import first_span
from pipeline.inspection.page import environment
from pipeline.inspection.sections import as_text
from pipeline.inspection.words import PageWords
from stages.view import labels
from stages.view.corpus import CUT, EDGE, WHOLE, ShownRoot


def page(template: str, corpus: ShownRoot, words: PageWords, **given: Any) -> str:
    """A template with what every page has. Everything is escaped but what is made of escaped parts (Markup)."""
    return _templates().get_template(template).render(corpus=corpus, t=words, **given)


def _templates() -> jinja2.Environment:
    global _kept
    if _kept is None:
        _kept = environment(Path(__file__).parent / "templates")
        _kept.filters |= {"path": lambda parts: at(*parts), "query_string": query_string}
    return _kept


_kept: jinja2.Environment | None = None


def at(*parts: str) -> str:
    """A path of this site: every part is quoted whole, slashes too.

    >>> at("s", "a/../b", "rows")
    '/s/a%2F..%2Fb/rows'
    """
    return "/" + "/".join(quote(part, safe="") for part in parts)


def query_string(given: dict[str, Any], **changes: Any) -> str:
    """The question of an address with changes; what is empty is left out."""
    return urlencode({name: value for name, value in {**given, **changes}.items() if value not in (None, "")})


def count_of(given: dict[str, str], name: str, usual: int, most: int) -> int:
    """A whole number of the address, from 0 to `most`. UsageError for anything else."""
    word = given.get(name) or str(usual)
    if not word.isdecimal() or len(word) > 18 or int(word) > most:
        raise UsageError(f"{name} {word[:20]!r}", f"a number from 0 to {most:,}")
    return int(word)


def with_texts(
    corpus: ShownRoot, cards: list[dict[str, Any]], pattern: str = "", literal: bool = False, cut: int = CUT
) -> list[dict[str, Any]]:
    """Cards with the text, title and address of their rows as they may be shown, what was looked for marked."""
    starts = [begin(as_text(card["row"]), pattern, literal, cut) for card in cards]
    wide = [as_text(card["row"])[max(0, start - EDGE) :] for card, start in zip(cards, starts)]
    masked_texts = corpus.fit(wide, cut + EDGE)
    texts = ["… " + text[EDGE:] if start else _ended(text, cut) for text, start in zip(masked_texts, starts)]
    names = ("url", "source", "locator", "note")
    labelled = labels.of(corpus, [card["id"] for card in cards])
    for card, text in zip(cards, texts):
        card["text"] = marked(text, pattern, literal)
        row = card["row"] or {}
        masked_texts = [card.get(name) or row.get(name) for name in names]
        card |= dict(zip(names, masked_texts if corpus.reveal else corpus.named(masked_texts)))
        card |= {"lang": row.get("lang"), "said": labelled.get(card["id"])}
    return cards


def begin(text: str, pattern: str, literal: bool, cut: int) -> int:
    """Where what is shown of a text begins, so that what was looked for is in it."""
    found = first_span(text[:WHOLE], pattern, literal) if pattern else None
    return max(EDGE, found[0] - cut // 3) if found and found[0] > max(EDGE, cut * 2 // 3) else 0


def _ended(text: str, cut: int) -> str:
    return text if len(text) <= cut else text[:cut] + " …"


def marked(text: str, pattern: str, literal: bool) -> Markup:
    """Escaped text in which the first place of the pattern is marked."""
    found = first_span(text, pattern, literal) if pattern else None
    if not found:
        return escape(text)
    return Markup("{}<mark>{}</mark>{}").format(text[: found[0]], text[slice(*found)], text[found[1] :])


def fault_free(word: str) -> str:
    """A word as part of a file's name."""
    return re.sub(r"[^\w.-]", "-", word, flags=re.ASCII)[:80] or "rows"
