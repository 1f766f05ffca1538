"""What a page asks of machines: robots and opt-out signals from meta tags and HTTP headers, as one closed vocabulary.

They are kept per record, never acted on here: what to do with `noai` is a choice of the recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stages.ingest.metadata.card import Head

KNOWN = frozenset(
    "noindex nofollow noarchive nosnippet nocache noimageindex notranslate noai noimageai noml indexifembedded none nopagereadaloud".split()
)
"""Restrictions met in robots meta tags and X-Robots-Tag; `index`, `follow`, `all` and sizes of snippets restrict nothing."""
META_NAMES = frozenset(
    "robots googlebot bingbot yeti naverbot daumoa slurp googlebot-news gptbot ccbot google-extended".split()
)
_WORDS = re.compile(r"[\s,;]+")


def read(head: Head | None, headers: Iterable[tuple[str, str]] = ()) -> list[str]:
    """Sorted signals: robots words, `tdm-reservation`, and usage preferences such as `train-ai=n`.

    A word that a header gives for one named crawler only (`gptbot: noindex`) is kept with its name.
    """
    found: set[str] = set()
    if head is not None:
        for meta in head.metas:
            name = (meta.get("name") or meta.get("http-equiv") or "").strip().lower()
            content = (meta.get("content") or "").lower()
            if name in META_NAMES:
                found |= _robots(content, "" if name == "robots" else name)
            elif name == "tdm-reservation" and content.strip() == "1":
                found.add("tdm-reservation")
            elif name in ("x-robots-tag", "content-usage", "content-signal"):
                found |= _header(name, content)
    for name, value in headers:
        found |= _header(name.lower(), value.lower())
    return sorted(found)


def _header(name: str, value: str) -> set[str]:
    if name == "x-robots-tag":
        agent, colon, rest = value.partition(":")
        if (
            colon
            and "," not in agent
            and agent.strip() not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
        ):
            return _robots(rest, agent.strip())
        return _robots(value, "")
    if name == "tdm-reservation" and value.strip() == "1":
        return {"tdm-reservation"}
    if name in ("content-usage", "content-signal"):
        pairs = (word.strip().replace(" ", "") for word in re.split(r"[,;]", value))
        return {f"{pair[:40]}" for pair in pairs if re.fullmatch(r"[a-z][a-z\-]*=(?:n|no)", pair)}
    return set()


def _robots(content: str, agent: str) -> set[str]:
    words = {word for word in _WORDS.split(content) if word in KNOWN}
    if "none" in words:
        words = (words - {"none"}) | {"noindex", "nofollow"}
    return {f"{agent}:{word}" for word in words} if agent else words
