"""One spelling per address: what the standards call equal is equal, what may be another page is not."""

from __future__ import annotations

import doctest
import random
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import urls
from pipeline.urls import TRACKING, canonical, host_of, parsed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP://Example.COM/a", "http://example.com/a"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://example.com:0443", "https://example.com/"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com/a#top", "http://example.com/a"),
        ("http://example.com/a#:~:text=mill", "http://example.com/a"),
        ("http://example.com/a/", "http://example.com/a"),
        ("http://example.com/a/?b=1", "http://example.com/a?b=1"),
        ("http://example.com/a?", "http://example.com/a"),
        ("http://example.com/%7euser/%2Dx", "http://example.com/~user/-x"),
        ("http://example.com/a%c3%a9", "http://example.com/aé"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        ("http://example.com/a/./b/../c", "http://example.com/a/c"),
        ("http://example.com/../a", "http://example.com/a"),
        ("http://example.com/a/..", "http://example.com"),
        ("http://example.com\\a", "http://example.com/a"),
        (" http://exam\nple.com/a\t", "http://example.com/a"),
        ("https://ko.wikipedia.org/wiki/%EB%A7%B7%EB%8F%8C", "https://ko.wikipedia.org/wiki/맷돌"),
        ("https://맷돌.한국/", "https://xn--pq1bz0j.xn--3e0b707e"),
        ("https://%EB%A7%B7%EB%8F%8C.한국/", "https://xn--pq1bz0j.xn--3e0b707e"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example"),
        ("http://a.example/p?utm_source=x&id=7&utm_medium=y", "http://a.example/p?id=7"),
        ("http://a.example/p?id=7&amp;utm_campaign=z&fbclid=abc", "http://a.example/p?id=7"),
        ("https://shop.example/p?NaPm=ct%3D1&n_query=%EB%A7%B7&id=7", "https://shop.example/p?id=7"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]"),
        ("https://fu\u00dfball.example/", "https://xn--fuball-cta.example"),
        ("https://\u2764.example/", "https://xn--qei.example"),
        ("http://a.example/p?PHPSESSID=0f&spm=a2g0o.1&id=7", "http://a.example/p?id=7"),
    ],
)
def test_spellings_of_one_address(one, other):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.com/a", "https://example.com/a"),
        ("http://example.com/a", "http://www.example.com/a"),
        ("http://example.com/a", "http://example.com/A"),
        ("http://example.com:8080/a", "http://example.com/a"),
        ("http://example.com/a%2Fb", "http://example.com/a/b"),
        ("http://example.com/a?b=1&c=2", "http://example.com/a?c=2&b=1"),
        ("http://example.com/a?b=1", "http://example.com/a?b=2"),
        ("http://example.com/?q=a%26b=1", "http://example.com/?q=a&b=1"),
        ("http://example.com/a?ref=1", "http://example.com/a"),
        ("http://example.com/#!/mill", "http://example.com/#!/stone"),
        ("http://user@example.com/", "http://example.com/"),
        ("urn:isbn:1", "urn:isbn:2"),
    ],
)
def test_addresses_that_may_be_other_pages(one, other):
    assert canonical(one) != canonical(other)


def rewritten(address: tuple, draw: random.Random) -> str:
    """The address in other letters: each change is one that a standard calls none."""
    scheme, host, segments, names = address

    def escaped(word: str) -> str:
        return "".join(quote(char, safe="") if draw.random() < 0.5 or not char.isascii() else char for char in word)

    path = "".join(draw.choice(["", "/.", "/gone/.."]) + "/" + escaped(segment) for segment in segments)
    given = [f"{escaped(name)}=1" for name in names]
    for word in draw.sample(sorted(TRACKING), draw.randrange(3)):
        given.insert(draw.randrange(len(given) + 1), f"{word}=x%20y")
    port = draw.choice(["", ":", {"http": ":80", "https": ":443"}[scheme]])
    spelt = "".join(draw.choice((char.upper(), char)) for char in scheme + "://" + host)
    return (
        spelt
        + port
        + path
        + draw.choice(["", "/"])
        + ("?" + "&".join(given) if given else "")
        + draw.choice(["", "#part"])
    )


WORDS = st.text(alphabet="abcXYZ019-._~맷돌é", min_size=1, max_size=5).filter(lambda word: word not in (".", ".."))
ADDRESSES = st.tuples(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["a.example", "b.a.example"]),
    st.lists(WORDS, max_size=3).map(tuple),
    st.lists(WORDS, max_size=2).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(st.sets(ADDRESSES, min_size=1, max_size=6), st.integers(0, 2**32))
def test_rewritten_addresses_meet_and_others_do_not(addresses, seed):
    draw = random.Random(seed)
    spelt = {address: {canonical(rewritten(address, draw)) for _ in range(3)} for address in addresses}
    assert all(len(spellings) == 1 for spellings in spelt.values())
    assert len(set().union(*spelt.values())) == len(addresses)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_anything_has_a_spelling_that_is_its_own(text):
    for url in (text, "http://" + text, "https://a.example/" + text, "https://a.example/?" + text):
        assert canonical(canonical(url)) == canonical(url)


FREAKS = [
    "http://\xa0",
    "http://a\u3000",
    "http://a%2Fb",
    "http://a%2541",
    "http://\uff0fa",
    "http://a /",
    "http://x\u3002.",
]


@pytest.mark.parametrize("url", FREAKS)
def test_a_host_that_would_end_early_stays_one_address(url):
    assert canonical(canonical(url)) == canonical(url)
    assert canonical(url) not in ("http://", "http://a/b", "http://aa", "http:///a")


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a.example:65535/", True),
        ("http://a.example:65536/", False),
        ("http://a.example:" + "9" * 5000, False),
        ("http://a.example:x/", False),
        ("http://[::1]/", True),
        ("http://[:::::]/", False),
        ("http:///x", False),
        ("http://a^b/", False),
        ("http://" + "맷" * 300, False),
    ],
)
def test_what_can_be_asked(url, asked):
    assert parsed(url).is_fetchable is asked


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://Blog.Example:8080/a", "blog.example"), ("http://[bad/", None), (None, None), ("a", None)],
)
def test_host_of(url, host):
    assert host_of(url) == host


def test_docstring_examples():
    outcome = doctest.testmod(urls)
    assert outcome.attempted >= 4 and not outcome.failed
