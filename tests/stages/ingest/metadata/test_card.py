"""Title, language, address and date of a page."""

from __future__ import annotations

import pytest

from stages.ingest.html.tree import parse
from stages.ingest.metadata.card import Head, address, language, published, tag, title


def root(html: str):
    return Head(parse(html).root)


@pytest.mark.parametrize(
    "html, words",
    [
        ("<title>Grinding barley | Mill news</title><h1>Grinding  barley</h1>", "Grinding barley"),
        (
            '<title>Grinding barley - Mill news</title><h1>Mill news</h1><meta property="og:title" content="Grinding barley">',
            "Grinding barley",
        ),
        ('<meta property="og:site_name" content="Mill"><title>Mill</title><h1>Mill</h1>', "Mill"),
        ("<title>Only this</title>", "Only this"),
        ("<h1>No title element</h1>", "No title element"),
        ("<p>nothing", None),
    ],
)
def test_titles(html, words):
    assert title(root(html)) == words


def test_a_stated_headline_stands_before_the_title_element():
    assert title(root("<title>Page 1</title>"), "The headline") == "The headline"


@pytest.mark.parametrize(
    "html, lang",
    [
        ('<html lang="ko-KR">', "ko"),
        ('<html xml:lang="en">', "en"),
        ('<html lang=""><head><meta http-equiv="Content-Language" content="ja"></head>', "ja"),
        ('<head><meta property="og:locale" content="de_DE"></head>', "de"),
        ('<html lang="ko, en">', None),
        ("<p>x", None),
    ],
)
def test_languages(html, lang):
    assert language(root(html + "<body>x")) == lang


def test_the_header_speaks_where_the_page_does_not():
    assert language(root("<p>x"), "fr") == "fr" and tag("not a tag") is None


@pytest.mark.parametrize(
    "html, fetched, found",
    [
        ('<link rel="canonical" href="/a">', "http://x.example/a?utm=1", "http://x.example/a"),
        ('<link rel="canonical" href="https://www.x.example/a">', "http://x.example/a", "https://www.x.example/a"),
        ('<link rel="canonical" href="http://other.example/a">', "http://x.example/a", "http://x.example/a"),
        ('<link rel="canonical" href="http://x.example/">', "http://x.example/a", "http://x.example/a"),
        ('<link rel="canonical" href="http://[bad">', "http://x.example/a", "http://x.example/a"),
        ('<link rel="canonical" href="javascript:x">', "http://x.example/a", "http://x.example/a"),
        (
            '<base href="http://x.example/d/"><link rel="canonical" href="a">',
            "http://x.example/z",
            "http://x.example/d/a",
        ),
        ('<link rel="canonical" href="http://x.example/a">', None, "http://x.example/a"),
        ('<link rel="canonical" href="/a">', None, None),
        ('<meta property="og:url" content="http://x.example/o">', None, "http://x.example/o"),
        ("<p>x", "http://x.example/a", "http://x.example/a"),
    ],
)
def test_addresses(html, fetched, found):
    assert address(root(f"<head>{html}</head><body>x"), fetched) == found


def test_dates():
    html = '<head><meta property="article:published_time" content="2024-05-06T07:08:09+09:00"><meta name="date" content="2001-01-01"></head><body>x'
    assert published(root(html)) == "2024-05-06T07:08:09+09:00"
    assert published(root(html), "2023-01-01") == "2023-01-01" and published(root("<p>x"), "yesterday") is None
