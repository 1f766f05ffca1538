"""Where a page leads: its links in canonical form, as far as the page and its host allow that they are followed."""

from __future__ import annotations

from typing import Any

from stages.ingest.crawl.robots import product_token
from stages.ingest.crawl.urls import canonical

NO_FOLLOW = frozenset({"nofollow", "none"})


def links_of(response: Any, user_agent: str) -> tuple[list[str], int]:
    """Canonical addresses that the page in `response` leads to, in order, each once; and how many it bars.

    Links of `a`, `area`, `frame` and `iframe`, and a meta refresh. Nothing of a page that says nofollow (meta robots, a
    meta tag with this crawler's own name, or X-Robots-Tag), and no link with rel=nofollow.
    """
    from scrapy.http import HtmlResponse
    from scrapy.linkextractors.lxmlhtml import LxmlLinkExtractor
    from scrapy.utils.response import get_meta_refresh

    if not isinstance(response, HtmlResponse) or not response.body:
        return [], 0
    extractor = LxmlLinkExtractor(tags=("a", "area", "frame", "iframe"), attrs=("href", "src"), deny_extensions=(), unique=False)
    links = extractor.extract_links(response)
    refresh = get_meta_refresh(response)[1]
    given = [link.url for link in links if not link.nofollow] + ([refresh] if refresh else [])
    if NO_FOLLOW & directives(response, product_token(user_agent)):
        return [], len(links)
    found = dict.fromkeys(url for url in map(canonical, given) if url)
    return list(found), sum(link.nofollow for link in links)


def directives(response: Any, agent: str) -> set[str]:
    """What the page asks of robots in general and of `agent` by name, in lower case."""
    said: set[str] = set()
    for tag in response.css("meta[name][content]"):
        if tag.attrib["name"].strip().lower() in ("robots", agent.lower()):
            said.update(_words(tag.attrib["content"]))
    for value in response.headers.getlist(b"X-Robots-Tag"):
        name, colon, rest = value.decode("latin-1").partition(":")
        if colon and name.strip().lower() not in ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"):
            said.update(_words(rest) if name.strip().lower() == agent.lower() else ())
        else:
            said.update(_words(value.decode("latin-1")))
    return said


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]
