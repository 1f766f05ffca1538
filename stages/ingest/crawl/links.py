"""Where a page leads: its links in canonical form, as far as the page and its host allow that they are followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from stages.ingest.crawl.robots import product_token
from stages.ingest.crawl.urls import resolved

NO_FOLLOW = frozenset({"nofollow", "none"})
_LEADS = {"a": "href", "area": "href", "frame": "src", "iframe": "src"}
_BLANKS = " \t\n\r\f"
"""What HTML takes off both ends of an address."""


class Links(NamedTuple):
    """Canonical addresses in order, each once; links that nofollow bars; links beyond the most that are looked at."""

    addresses: list[str]
    barred: int = 0
    beyond: int = 0


def links_of(response: Any, user_agent: str, most: int) -> Links:
    """Where the page in `response` leads: a, area, frame, iframe and a meta refresh; the first `most` links of it.

    Nothing of a page that says nofollow (meta robots, a meta tag with this crawler's own name, or X-Robots-Tag), and no
    link with rel=nofollow. An address that cannot be read is no link.
    """
    from parsel import Selector
    from scrapy.http import HtmlResponse

    if not isinstance(response, HtmlResponse) or not response.body:
        return Links([])
    tree = Selector(
        response.text, type="html"
    ).root  # the response's own selector refuses a page whose base element is bad
    closed = bool(NO_FOLLOW & directives(tree, response.headers, product_token(user_agent)))
    base, barred, beyond = _base(tree, response.url), 0, 0
    found: dict[str, None] = {}
    refresh = None if closed else _refresh(response)
    if refresh and (url := resolved(base, refresh)):
        found[url] = None
    visited = 0
    for given, nofollow in _given(tree):
        if closed or nofollow:
            barred += 1
        elif visited == most:
            beyond += 1
        else:
            visited += 1
            if url := resolved(base, _escaped(given, response.encoding)):
                found[url] = None
    return Links(list(found), barred, beyond)


def _given(tree: Any) -> Iterator[tuple[str, bool]]:
    """(address as written, nofollow) of every element that leads somewhere."""
    for element in tree.iter(*_LEADS):
        if given := element.get(_LEADS[element.tag]):
            yield given, "nofollow" in (element.get("rel") or "").replace(",", " ").lower().split()


def _escaped(given: str, encoding: str) -> str:
    """As a browser sends it: the query in the page's own charset, the rest in UTF-8."""
    from w3lib.url import safe_url_string

    try:
        return safe_url_string(given.strip(_BLANKS), encoding=encoding)
    except ValueError:
        return given


def _base(tree: Any, url: str) -> str:
    """The address that relative links stand below: the page's own where its base element holds none that can be read."""
    element = tree.find(".//base[@href]")
    return (resolved(url, element.get("href").strip(_BLANKS)) if element is not None else None) or url


def _refresh(response: Any) -> str | None:
    from w3lib.html import get_meta_refresh

    try:
        return get_meta_refresh(response.text, response.url, response.encoding)[1]
    except ValueError:
        return None


def directives(tree: Any, headers: Any, agent: str) -> set[str]:
    """What the page asks of robots in general and of `agent` by name, in lower case."""
    found: set[str] = set()
    for tag in tree.iterfind(".//meta[@name][@content]"):
        if tag.get("name").strip().lower() in ("robots", agent.lower()):
            found.update(_words(tag.get("content")))
    for value in headers.getlist(b"X-Robots-Tag"):
        name, colon, rest = value.decode("latin-1").partition(":")
        if colon and name.strip().lower() not in (
            "max-snippet",
            "max-image-preview",
            "max-video-preview",
            "unavailable_after",
        ):
            found.update(_words(rest) if name.strip().lower() == agent.lower() else ())
        else:
            found.update(_words(value.decode("latin-1")))
    return found


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]
