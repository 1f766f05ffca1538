"""What stands on a page's card: title, address, language, date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from stages.ingest.html.walk import attributes, having

_LANG = re.compile(r"^([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*$", re.I)
_SEPARATOR = re.compile(r"\s+[-|–—•·»:]\s+")
_DATE = re.compile(r"^\d{4}-\d{2}(?:-\d{2})?")
LONGEST_HEADING = 300
LONGEST_TITLE = 1_000
"""Characters; a longer title is a broken page's body."""


class Head:
    """A page's root element, and the attributes of its `meta` elements in document order, taken once."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.metas: list[Mapping[str, str]] = attributes(root, "meta")
        self.named: dict[str, str] = {}
        """The first content under each name, in small letters, that has any."""
        for meta in self.metas:
            if content := (meta.get("content") or "").strip():
                name = meta.get("property") or meta.get("name") or meta.get("itemprop") or ""
                self.named.setdefault(name.lower(), content)

    def meta(self, *names: str) -> str | None:
        """The content under the first of these names that has any."""
        return next((self.named[name] for name in names if name in self.named), None)


def title(head: Head, stated: str | None = None) -> str | None:
    """The page's title, white space as one blank.

    A heading of first order that shares most of its words with the title element or og:title is the title without the
    site's name; else the page's own headline, og:title, the title element, the first heading.
    """
    root = head.root
    headings = [words for h in list(root.iter("h1"))[:20] if (words := _words("".join(h.itertext())))]
    element = next((words for t in root.iter("title") if (words := _words("".join(t.itertext())))), "")
    graph, site = _words(head.meta("og:title")), _words(head.meta("og:site_name"))
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


def language(head: Head, header: str | None = None) -> str | None:
    """The primary language subtag a page declares (`ko-KR` -> `ko`), from html, its meta tags or the HTTP header."""
    root, body = head.root, head.root.find("body")
    declared = (
        root.get("lang"),
        root.get("{http://www.w3.org/XML/1998/namespace}lang") or root.get("xml:lang"),
        body.get("lang") if body is not None else None,
        next((m.get("content") for m in head.metas if (m.get("http-equiv") or "").lower() == "content-language"), None),
        header,
        head.meta("og:locale"),
    )
    return next((found for word in declared if (found := tag(word))), None)


def tag(word: str | None) -> str | None:
    """Primary subtag of a language tag, lower case; None for what is no tag or lists several.

    >>> tag("ko_KR"), tag("en-GB"), tag("ko, en"), tag("")
    ('ko', 'en', None, None)
    """
    match = _LANG.match((word or "").strip())
    return match.group(1).lower() if match else None


def address(head: Head, fetched: str | None) -> str | None:
    """The canonical address where the page gives one on its own host, else the one it was fetched from.

    A canonical link to another host, or from an inner page to the front page, is not believed: sites set it wrongly.
    """
    if fetched is not None and not _web(fetched):
        return fetched
    root = head.root
    base = next((b.get("href") for b in root.iter("base") if b.get("href")), None)
    here = _join(fetched, base) if base else fetched
    link = next(
        (
            x.get("href")
            for x in having(root, "rel", "canonical")
            if x.tag == "link" and "canonical" in x.get("rel").lower().split() and x.get("href")
        ),
        None,
    )
    canonical = _join(here, link.strip()) if link else None
    if canonical is None:
        stated = None if fetched else head.meta("og:url")
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


def published(head: Head, stated: str | None = None) -> str | None:
    """The day a page says it was published, `YYYY-MM-DD...` as stated, or None."""
    for candidate in (
        stated,
        head.meta("article:published_time", "datepublished", "dc.date.issued", "dcterms.created", "date"),
    ):
        if candidate and _DATE.match(candidate):
            return candidate[:35]
    return None
