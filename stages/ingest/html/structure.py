"""Structure that HTML itself gives and extractors drop: definition lists, details with summaries, the posts of a thread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from stages.ingest.flat.element import Element
from stages.ingest.flat.find import having, holding
from stages.ingest.flat.names import names_of, table_of
from stages.ingest.flat.render import outside
from stages.ingest.flat.tree import elements
from stages.ingest.html.render import render
from stages.ingest.html.walk import walk
from stages.ingest.metadata.facts import MAX_FACTS, Fact, Group

BOILERPLATE = frozenset(
    ("nav", "footer", "form", "aside", "noscript", "template", "script", "style", "head", "button", "select")
)
"""Elements inside which structure is furniture of the site."""
POST_BODY = frozenset(
    "bbwrapper postcontent post_message post-message post-body postbody post__body post__content post-content post_body post_content "
    "post-text post__text js-post-body cooked message-body messagebody message-content message_content msg-body msgbody comment-body comment-content "
    "comment-text comment-copy comment__body comment__content comment__text comment_body comment_content comment_text commenttext commentbody "
    "cpost_contentwrap ipscomment_content reply-content reply-body reply_content answer-content answer-body answer_content answer-text "
    "forum-post-body forum-post-content forum__post-content topic-body lia-message-body-content usertext-body cmt_contents cmt_content re_txt "
    "xe_content memo_content view_content comment_view txt_comment".split()
)
"""Class words under which forum software puts the text of one post: phpBB, vBulletin, XenForo, Discourse, Invision, Khoros,
Stack Exchange, WordPress comments, and the Korean Gnuboard and XpressEngine."""
FEWEST_POSTS = 2
"""One post is an article; a thread has at least two."""
NESTED = 4
"""Definition lists and details inside each other that are read."""
POST_IDS = ("post_message_", "post_text_", "msg_")
_POST_ID = re.compile(rf"^(?:{'|'.join(POST_IDS)})\d+$")
POSTS, FURNITURE = names_of(tuple(sorted(POST_BODY))), table_of(" ".join(BOILERPLATE))


def groups(body: Any) -> list[Group]:
    """Groups in document order: (term.., definition..), (summary, details); posts each alone."""
    found: list[Group] = []
    posts: list[Group] = []
    count = 0
    for element in _content(body):
        if element.tag in ("dl", "details"):
            for group in _definitions(element) if element.tag == "dl" else _details(element):
                found.append(group)
                count += len(group.facts)
                if count > MAX_FACTS:
                    break
        else:
            posts += _post(element)
        if count > MAX_FACTS or len(posts) > MAX_FACTS:
            break
    return found + (posts if len(posts) >= FEWEST_POSTS else [])


def _content(body: Any) -> Iterator[Any]:
    """dl, details and bodies of posts outside boilerplate; a post inside a post is not met again.

    Every element inside is rendered once per structure around it, so nesting beyond NESTED is not followed.
    """
    inside = 0
    events = walk(body, _candidates)
    for event, element in events:
        tag = element.tag
        if not isinstance(tag, str):
            continue
        if event == "end":
            inside -= tag in ("dl", "details")
        elif tag in BOILERPLATE:
            events.skip_subtree()
        elif tag in ("dl", "details"):
            inside += 1
            if inside <= NESTED:
                yield element
        elif _is_post(element):
            yield element
            events.skip_subtree()


def _candidates(body: Element) -> list[int]:
    """Nodes of the elements that `_content` may yield."""
    tree, low, high = body.tree, body.node, int(body.tree.end[body.node])
    ids = np.concatenate([holding(tree, "id", prefix) for prefix in POST_IDS])
    found = np.concatenate([elements(tree, "dl", "details", low=low, high=high), having(tree, "class", POSTS), ids])
    found = found[(found >= low) & (found < high)].astype(np.int64)
    return found[outside(tree, FURNITURE, low, high)[found - low]].tolist() if len(found) else []


def _is_post(element: Any) -> bool:
    words = element.get("class")
    if words and not POST_BODY.isdisjoint(words.lower().split()):
        return True
    return is_post_id(element)


def is_post_id(element: Any) -> bool:
    """Is the element's id one that vBulletin or SMF gives to the text of a post?"""
    return bool(_POST_ID.match(element.get("id") or ""))


def _definitions(listing: Any) -> Iterator[Group]:
    """Terms that stand together and the definitions after them, `div` wrappers looked through."""
    terms: list[Fact] = []
    meanings: list[Fact] = []
    for child in _entries(listing):
        text = render(child).text
        if child.tag == "dt":
            if meanings:
                yield from _complete(terms, meanings)
                terms, meanings = [], []
            if text:
                terms.append(Fact("term", text))
        elif text:
            meanings.append(Fact("definition", text))
    yield from _complete(terms, meanings)


def _entries(listing: Any) -> Iterator[Any]:
    for child in listing:
        if child.tag in ("dt", "dd"):
            yield child
        elif child.tag == "div":
            yield from (inner for inner in child if inner.tag in ("dt", "dd"))


def _complete(terms: list[Fact], meanings: list[Fact]) -> Iterator[Group]:
    if terms and meanings:
        yield Group((*terms, *meanings))


def _details(element: Any) -> Iterator[Group]:
    summary = element.find("summary")
    if summary is None:
        return
    title, inside = render(summary).text, render(element, omit=summary).text
    if title and inside:
        yield Group((Fact("summary", title), Fact("details", inside)))


def _post(element: Any) -> list[Group]:
    text = render(element).text
    return [Group((Fact("post", text),))] if text else []
