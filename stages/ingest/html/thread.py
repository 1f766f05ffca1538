"""The posts of a discussion as main text: on a thread, what people wrote, without the cards around it.

Extractors made for articles take a thread's user cards, dates and buttons with its posts, or its longest post alone.
Where the page says that it is a discussion (schema.org), or uses the class words of forum software at least twice, its
posts in the page's order are the text. Measured on the 50 forum pages of the WCXB sample: F1 .745 to .781, boilerplate
snippets .105 to .043.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stages.ingest.html.render import Rendered, Span, render
from stages.ingest.html.structure import BOILERPLATE, FEWEST_POSTS, is_post_id
from stages.ingest.metadata.items import StructuredItem

DISCUSSIONS = frozenset(("DiscussionForumPosting", "QAPage"))
"""Types with which a page says that it is a thread. A `Question` alone is not one: FAQ pages have those."""
WRITTEN = frozenset(("DiscussionForumPosting", "Comment", "UserComments", "Question", "Answer"))
SOFTWARE = frozenset(
    "bbwrapper postcontent post_message post-message postbody js-post-body cooked message-body messagebody message-content message_content msg-body "
    "msgbody cpost_contentwrap ipscomment_content reply-content reply-body reply_content forum-post-body forum-post-content forum__post-content "
    "topic-body lia-message-body-content usertext-body xe_content cmt_contents cmt_content txt_reply usertxt".split()
)
"""Class words of one post that blogs do not use for an article, and those of comments on Korean boards."""
FEWEST = 200
"""Characters of all posts together below which the page is read as any other."""
SHARE = 0.1
"""Of the text an extractor finds: fewer letters in the posts than that, and the class words mean something else here."""

PROSE = 80
"""Characters of a line that is prose: what stands above the first post of a thread otherwise are names, dates and buttons."""


def read(body: Any, items: Iterable[StructuredItem], otherwise: Rendered) -> Rendered | None:
    """The posts of a thread in order, or None where the page is none. `otherwise` is what an extractor found."""
    items = list(items)
    said = any(DISCUSSIONS & set(item.types) for item in items)
    marked = {id(value): value for item in items if said and WRITTEN & set(item.types) for value in _elements(item)}
    posts = _posts(body, marked)
    if len(posts) < FEWEST_POSTS:
        return None
    found = _joined([render(post) for post in posts])
    if len(found.text) < max(FEWEST, SHARE * len(otherwise.text)):
        return None
    article = _article(body, posts[0], otherwise)
    return _joined([article, found]) if article is not None else found


def _article(body: Any, first: Any, otherwise: Rendered) -> Rendered | None:
    """What an extractor found above the first post, where it holds prose: an article and its comments are both text."""
    above = {_key(line) for line in render(body, until=first).text.split("\n")} - {""}
    start: int | None = None
    end = prose = at = 0
    for line in otherwise.text.split("\n"):
        if _key(line) in above:
            start = at if start is None else start
            if len(line) >= PROSE:
                end, prose = at + len(line), prose + len(line)
        at += len(line) + 1
    if prose < FEWEST or start is None:
        return None
    return Rendered(
        otherwise.text[start:end],
        [
            Span(s.kind, s.start - start, min(s.end, end) - start, s.level)
            for s in otherwise.spans
            if start <= s.start < end
        ],
        [(a - start, b - start) for a, b in otherwise.marks if start <= a and b <= end],
    )


def _key(line: str) -> str:
    """The first letters of a line: readings may part lines in other places further on."""
    return "".join(c for c in line if c.isalnum())[: PROSE // 2]


def _elements(item: StructuredItem) -> Iterable[Any]:
    return (value for value in item.get("text", "articleBody") if not isinstance(value, (str, StructuredItem)))


def _posts(body: Any, marked: dict[int, Any]) -> list[Any]:
    """Outermost elements of posts in document order."""
    from lxml import etree

    found = []
    walk = etree.iterwalk(body, events=("start",))
    for _, element in walk:
        if not isinstance(element.tag, str):
            continue
        if element.tag in BOILERPLATE:
            walk.skip_subtree()
        elif (
            id(element) in marked
            or is_post_id(element)
            or not SOFTWARE.isdisjoint((element.get("class") or "").lower().split())
        ):
            found.append(element)
            walk.skip_subtree()
    return found


def _joined(parts: list[Rendered]) -> Rendered:
    pieces: list[str] = []
    spans: list[Span] = []
    marks: list[tuple[int, int]] = []
    at = 0
    for part in parts:
        if not part.text:
            continue
        if pieces:
            pieces.append("\n\n")
            at += 2
        spans += [Span(s.kind, s.start + at, s.end + at, s.level) for s in part.spans]
        marks += [(a + at, b + at) for a, b in part.marks]
        pieces.append(part.text)
        at += len(part.text)
    return Rendered("".join(pieces), spans, marks)
