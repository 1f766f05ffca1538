"""One page, one address."""

from __future__ import annotations

import doctest
import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.crawl.urls import canonical


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("http://a.example", "http://a.example/"),
        ("HTTPS://A.Example:443/%7Eme/./x/../y", "https://a.example/~me/y"),
        ("http://a.example:8080/", "http://a.example:8080/"),
        ("http://a.example./x#part", "http://a.example/x"),
        ("http://a.example/x?b=1&a=2&utm_medium=mail&fbclid=9", "http://a.example/x?a=2&b=1"),
        ("http://me:secret@a.example/", "http://a.example/"),
        (
            "http://a.example/두부?이름=맷돌",
            "http://a.example/%EB%91%90%EB%B6%80?%EC%9D%B4%EB%A6%84=%EB%A7%B7%EB%8F%8C",
        ),
        ("http://솔내.example/", "http://xn--220b033a.example/"),
        ("http://[::1]:80/", "http://[::1]/"),
    ],
)
def test_canonical(url, form):
    assert canonical(url) == form


@pytest.mark.parametrize(
    "url",
    [
        "mailto:a@b.example",
        "javascript:void(0)",
        "//a.example/x",
        "http:///x",
        "http://a.example:99999/",
        "file:///etc/passwd",
        "",
        "http://[",
    ],
)
def test_what_is_not_an_address_to_ask(url):
    assert canonical(url) is None


@settings(deadline=None)
@given(st.text(alphabet="abc/.?&=%#:@한~+ ;-0", max_size=40))
def test_the_form_of_a_form_is_itself(rest):
    form = canonical("http://a.example/" + rest)
    if form is not None:
        assert canonical(form) == form


@pytest.mark.parametrize("name", ["urls", "address", "robots"])
def test_docstring_examples(name):
    outcome = doctest.testmod(importlib.import_module(f"stages.ingest.crawl.{name}"))
    assert outcome.attempted and not outcome.failed
