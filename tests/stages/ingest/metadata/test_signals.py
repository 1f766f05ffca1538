"""Robots and opt-out signals, from tags and headers."""

from __future__ import annotations

import pytest

from stages.ingest.html.tree import parse
from stages.ingest.metadata.card import Head
from stages.ingest.metadata.signals import read


@pytest.mark.parametrize(
    "html, found",
    [
        ('<meta name="robots" content="index, follow, max-snippet:-1">', []),
        ('<meta name="ROBOTS" content="NOINDEX,NoFollow">', ["nofollow", "noindex"]),
        ('<meta name="robots" content="none">', ["nofollow", "noindex"]),
        ('<meta name="robots" content="noai, noimageai">', ["noai", "noimageai"]),
        ('<meta name="GPTBot" content="noindex">', ["gptbot:noindex"]),
        ('<meta name="tdm-reservation" content="1">', ["tdm-reservation"]),
        ('<meta name="tdm-reservation" content="0"><meta name="description" content="noindex">', []),
    ],
)
def test_tags(html, found):
    assert read(Head(parse(f"<head>{html}</head><body>x").root)) == found


@pytest.mark.parametrize(
    "header, found",
    [
        (("X-Robots-Tag", "noai, noindex"), ["noai", "noindex"]),
        (("x-robots-tag", "gptbot: noindex, nofollow"), ["gptbot:nofollow", "gptbot:noindex"]),
        (("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST"), []),
        (("tdm-reservation", "1"), ["tdm-reservation"]),
        (("Content-Usage", "train-ai=n, search=y"), ["train-ai=n"]),
        (("Content-Signal", "search=yes, ai-train=no"), ["ai-train=no"]),
        (("Server", "noindex"), []),
    ],
)
def test_headers(header, found):
    assert read(None, [header]) == found
