"""What the items of a page mean to us: questions with all their answers, steps, posts, and the page's own card.

Every answer is kept, several per question, and two questions of the same words stay two. An answer's HTML is rendered to
text, so scripts and styles in it are gone. JSON-LD texts may hold HTML (search engines allow it) or plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from typing import Any

from stages.ingest.flat import render as flat
from stages.ingest.flat.build import TooComplex, build
from stages.ingest.flat.element import Element
from stages.ingest.html.render import Rendered, Span, render
from stages.ingest.metadata.facts import MAX_FACTS, Fact, Group
from stages.ingest.metadata.items import StructuredItem
from stages.ingest.metadata.letters import key_of
from stages.ingest.row import clean

QUESTIONS = frozenset(("Question",))
POSTS = frozenset(("DiscussionForumPosting", "SocialMediaPosting", "Comment", "UserComments"))
RECIPES = frozenset(("HowTo",))
REVIEWS = frozenset(("Review", "UserReview", "CriticReview"))
MOST = 16 << 20
"""Code points of a page's own items from which no further one is read: references and nesting give the same words many times."""
BEST = 5.0
"""Best rating where a review states none (schema.org)."""
PAGES = frozenset(
    "WebPage Article NewsArticle BlogPosting TechArticle ScholarlyArticle Report FAQPage QAPage HowTo CreativeWork Dataset Course "
    "LearningResource Recipe Product DiscussionForumPosting AboutPage ItemPage MedicalWebPage".split()
)
"""Types whose licence and date are the page's own."""

_TAG = re.compile(
    r"</?(?:p|br|div|span|a|b|i|u|em|strong|ul|ol|li|h[1-6]|table|tr|td|th|tbody|thead|pre|code|blockquote|script|style|img|sup|sub|font|"
    r"section|article|dl|dt|dd|hr|small|iframe|figure|del|ins|mark|center|noscript|video|kbd|summary|details)(?:\s[^<>]*)?/?>",
    re.I,
)
_PARAGRAPH = re.compile(r"[^\n]+(?:\n[^\n]+)*")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)


def text_of(value: Any) -> str:
    """Plain text of a property's value: a string (plain or HTML), an element, or an item that has a text or name."""
    for _ in range(4):
        if not isinstance(value, StructuredItem):
            break
        inner = value.get("text", "articleBody", "name", "description", "itemListElement")
        value = inner[0] if inner else ""
    if isinstance(value, StructuredItem):
        return ""
    if isinstance(value, str):
        return _plain(value)
    return render(value).text or _unrendered(value)


def _unrendered(element: Any) -> str:
    """Words of an element that shows none: folded questions stand inside buttons. Scripts and styles are no words."""
    if isinstance(element, Element):
        return " ".join(" ".join(element.texts("script style template svg")).split())
    texts = element.xpath(".//text()[not(ancestor::script or ancestor::style or ancestor::template or ancestor::svg)]")
    return " ".join(" ".join(texts).split())


def _plain(text: str) -> str:
    return _rendered(text).text


def _rendered(text: str) -> Rendered:
    if _ENTITY.search(text) and not _TAG.search(text):
        text = unescape(text)
    if _TAG.search(text):
        try:
            return flat.render(build(text).tree)
        except TooComplex:
            return Rendered("")
    lines = [" ".join(line.split()) for line in text.replace("\r\n", "\n").split("\n")]
    return Rendered(clean(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()))


def article_body(items: Iterable[StructuredItem]) -> Rendered:
    """The longest `articleBody` that items state, for pages that show none: a script would put it there. Empty where there is none."""
    stated = [each for item in items for each in item.get("articleBody") if isinstance(each, str)]
    made = _rendered(max(stated, key=len, default=""))
    spans = made.spans or [Span("paragraph", *found.span()) for found in _PARAGRAPH.finditer(made.text)]
    return Rendered(made.text, spans, made.marks)


def groups(items: Iterable[StructuredItem]) -> list[Group]:
    """Questions with answers, how-tos with steps, and posts, in the order the page gives them.

    The same content given in two syntaxes (JSON-LD and microdata) is taken once.
    """
    found: list[Group] = []
    seen: set[tuple] = set()
    size = count = 0
    for item in items:
        if size > MOST or count > MAX_FACTS:
            break
        kinds = set(item.types)
        if kinds & QUESTIONS:
            facts = _question(item)
        elif kinds & RECIPES:
            facts = _how_to(item)
        elif kinds & POSTS:
            facts = _post(item)
        elif kinds & REVIEWS:
            facts = _review(item)
        else:
            continue
        size += sum(len(fact.text) for fact in facts)
        key = tuple((fact.kind, key_of(fact.text)) for fact in facts)
        if facts and key not in seen:
            seen.add(key)
            count += len(facts)
            found.append(Group(tuple(facts)))
    return found


def _question(item: StructuredItem) -> list[Fact]:
    """A question and every answer. A question of the name alone takes its text as detail; no question without an answer."""
    name = next((t for t in map(text_of, item.get("name", "headline")) if t), "")
    detail = next((t for t in map(text_of, item.get("text", "articleBody")) if t), "")
    title = "\n\n".join(t for t in (name, detail) if t) if key_of(detail) != key_of(name) else name
    answers: list[Fact] = []
    seen: set[str] = set()
    for kind, property_name in (
        ("accepted_answer", "acceptedAnswer"),
        ("answer", "suggestedAnswer"),
        ("answer", "answer"),
    ):
        for value in item.get(property_name):
            text = text_of(value)
            if text and key_of(text) not in seen:
                seen.add(key_of(text))
                answers.append(Fact(kind, text))
    return [Fact("question", title), *answers] if title and answers else []


def _how_to(item: StructuredItem) -> list[Fact]:
    title = next((t for t in map(text_of, item.get("name", "headline")) if t), "")
    steps = [Fact("step", text, number) for number, text in enumerate(_steps(item), 1)]
    return [Fact("heading", title), *steps] if title and steps else steps


def _steps(item: StructuredItem) -> list[str]:
    """Texts of the steps in order, sections flattened; a step with directions is its name and their texts."""
    texts: list[str] = []
    stack: list[Any] = list(reversed(item.get("step", "steps", "recipeInstructions")))
    count = 0
    seen: set[int] = set()
    while stack and count < 10_000:
        count += 1
        value = stack.pop()
        if isinstance(value, StructuredItem):
            if id(value) in seen:
                continue  # a section inside itself
            seen.add(id(value))
        if isinstance(value, StructuredItem):
            inner = value.get("itemListElement", "itemListElements", "step", "steps")
            own = [t for t in map(text_of, (*value.get("name")[:1], *value.get("text", "description")[:1])) if t]
            if "HowToStep" in value.types or not inner:
                parts = own or [t for t in map(text_of, inner) if t]
                if len(parts) == 2 and key_of(parts[1]).startswith(key_of(parts[0])):
                    parts = parts[1:]
                if parts:
                    texts.append("\n".join(parts))
            else:
                stack += reversed(inner)
        elif text := text_of(value):
            texts.append(text)
    return texts


def _post(item: StructuredItem) -> list[Fact]:
    """The text of a post or comment. Its title, if any, is a heading of the same group."""
    text = next((t for t in map(text_of, item.get("text", "articleBody", "commentText")) if t), "")
    title = next((t for t in map(text_of, item.get("headline")) if t), "")
    if not text:
        return []
    return (
        [Fact("heading", title), Fact("post", text)]
        if title and key_of(title) != key_of(text)
        else [Fact("post", text)]
    )


def _review(item: StructuredItem) -> list[Fact]:
    """A review's text with its rating as level, in percent of the best; nothing where it states no rating."""
    text = next((t for t in map(text_of, item.get("reviewBody", "description")) if t), "")
    ratings = [value for value in item.get("reviewRating") if isinstance(value, StructuredItem)]
    if not text or not ratings:
        return []
    value, best, worst = (_number(ratings[0].get(name)) for name in ("ratingValue", "bestRating", "worstRating"))
    best, worst = best or BEST, worst if worst is not None else 0.0
    if value is None or not worst <= value <= best:
        return []
    return [Fact("review", text, round(100 * value / best))]


def _number(values: list[Any]) -> float | None:
    for value in values:
        try:
            return float(_word(value).replace(",", "."))
        except ValueError:
            continue
    return None


class Card(dict):
    """What the page's own items state: `licence`, `published`, `title`, where stated."""


def card(items: Iterable[StructuredItem]) -> Card:
    """Licence, publication date and headline from the items that stand for the page itself; the first one wins."""
    found = Card()
    for item in items:
        if not PAGES & set(item.types):
            continue
        for key, names in (
            ("licence", ("license",)),
            ("published", ("datePublished", "dateCreated")),
            ("title", ("headline",)),
        ):
            for value in item.get(*names):
                text = _word(value)
                if text and key not in found:
                    found[key] = text
    return found


def _word(value: Any) -> str:
    if isinstance(value, StructuredItem):
        value = value.identity or next(iter(value.get("url", "name")), "")
    if isinstance(value, StructuredItem):
        return ""
    if isinstance(value, str):
        return value.strip()
    return (value.get("href") or "".join(value.itertext())).strip()
