"""What stands on a page's card: title, address, language, date."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

_LANG = re.compile(r"^([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*$", re.I)
_SEPARATOR = re.compile(r"\s+[-|–—•·»:]\s+")
_DATE = re.compile(r"^\d{4}-\d{2}(?:-\d{2})?")
LONGEST_HEADING = 300
LONGEST_TITLE = 1_000
"""Characters; a longer title is a broken page's body."""


def _meta(root: Any, *names: str) -> str | None:
    for wanted in names:
        for element in root.iter("meta"):
            name = (element.get("property") or element.get("name") or element.get("itemprop") or "").lower()
            content = (element.get("content") or "").strip()
            if name == wanted and content:
                return content
    return None


def title(root: Any, stated: str | None = None) -> str | None:
    """The page's title, white space as one blank.

    A heading of first order that shares most of its words with the title element or og:title is the title without the
    site's name; else the page's own headline, og:title, the title element, the first heading.
    """
    headings = [words for h in list(root.iter("h1"))[:20] if (words := _words("".join(h.itertext())))]
    element = next((words for t in root.iter("title") if (words := _words("".join(t.itertext())))), "")
    graph, site = _words(_meta(root, "og:title")), _words(_meta(root, "og:site_name"))
    parts = _SEPARATOR.split(element)
    sites = {site, parts[-1] if len(parts) > 1 else ""}
    wide = set(f"{element} {graph} {_words(stated)}".casefold().split())
    for heading in headings:
        words = heading.casefold().split()
        if heading not in sites and len(heading) <= LONGEST_HEADING and 2 * sum(w in wide for w in words) > len(words):
            return heading
    for candidate in (_words(stated), graph, element, *headings[:1]):
        if candidate:
            return candidate[:LONGEST_TITLE]
    return None


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def language(root: Any, header: str | None = None) -> str | None:
    """The primary language subtag a page declares (`ko-KR` -> `ko`), from html, its meta tags or the HTTP header."""
    declared = (
        root.get("lang"),
        root.get("{http://www.w3.org/XML/1998/namespace}lang") or root.get("xml:lang"),
        root.find("body").get("lang") if root.find("body") is not None else None,
        next(
            (m.get("content") for m in root.iter("meta") if (m.get("http-equiv") or "").lower() == "content-language"),
            None,
        ),
        header,
        _meta(root, "og:locale"),
    )
    return next((found for word in declared if (found := tag(word))), None)


def tag(word: str | None) -> str | None:
    """Primary subtag of a language tag, lower case; None for what is no tag or lists several.

    >>> tag("ko_KR"), tag("en-GB"), tag("ko, en"), tag("")
    ('ko', 'en', None, None)
    """
    match = _LANG.match((word or "").strip())
    return match.group(1).lower() if match else None


def address(root: Any, fetched: str | None) -> str | None:
    """The canonical address where the page gives one on its own host, else the one it was fetched from.

    A canonical link to another host, or from an inner page to the front page, is not believed: sites set it wrongly.
    """
    if fetched is not None and not _web(fetched):
        return fetched
    base = next((b.get("href") for b in root.iter("base") if b.get("href")), None)
    here = _join(fetched, base) if base else fetched
    link = next(
        (
            x.get("href")
            for x in root.iter("link")
            if "canonical" in (x.get("rel") or "").lower().split() and x.get("href")
        ),
        None,
    )
    canonical = _join(here, link.strip()) if link else None
    if canonical is None:
        stated = None if fetched else _meta(root, "og:url")
        return fetched or (stated if stated and _web(stated) else None)
    if fetched is None:
        return canonical
    a, b = urlsplit(canonical), urlsplit(fetched)
    same = _host(a.netloc) == _host(b.netloc)
    front = a.path in ("", "/") and not a.query and (b.path not in ("", "/") or b.query)
    return canonical if same and not front else fetched


def _join(base: str | None, link: str) -> str | None:
    try:
        joined = urljoin(base or "", link)
    except ValueError:
        return None
    return joined if _web(joined) else None


def _web(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _host(netloc: str) -> str:
    return netloc.lower().rpartition("@")[2].removeprefix("www.")


def published(root: Any, stated: str | None = None) -> str | None:
    """The day a page says it was published, `YYYY-MM-DD...` as stated, or None."""
    for candidate in (
        stated,
        _meta(root, "article:published_time", "datepublished", "dc.date.issued", "dcterms.created", "date"),
    ):
        if candidate and _DATE.match(candidate):
            return candidate[:35]
    return None
