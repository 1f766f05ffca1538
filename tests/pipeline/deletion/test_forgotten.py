"""The list of what was forgotten: marks, what they hide, and that nothing can be read out of it."""

import json

import pytest

from pipeline.deletion import forgotten
from pipeline.deletion.forgotten import Forgotten, mark
from pipeline.errors import DamagedStore
from pipeline.storage.files import filesystem


def hides(kind, value, **row):
    return bool(Forgotten(frozenset([mark(kind, value)])).hides(row))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/a/b?x=1",
        "https://Shop.EXAMPLE/a/b?x=1#part",
        "https://shop.example:443/a/b/?x=1",
        " http://shop.example./a/b?x=1",
    ],
)
def test_an_address_is_itself_however_it_is_written(url):
    assert hides("url", "http://shop.example/a/b?x=1", url=url)
    assert hides("url", url, source="http://shop.example/a/b?x=1")


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/a/b",
        "http://shop.example/a/b?x=2",
        "http://shop.example:8080/a/b?x=1",
        "http://other.example/a/b?x=1",
        None,
        "",
    ],
)
def test_another_address_is_another(url):
    assert not hides("url", "http://shop.example/a/b?x=1", url=url)


@pytest.mark.parametrize(
    "url, hit",
    [
        ("http://a.shop.example/x", True),
        ("https://SHOP.example", True),
        ("http://myshop.example/", False),
        ("http://example/", False),
        ("http://shop.example.org/", False),
        ("notes/shop.example/a.txt", False),
    ],
)
def test_a_domain_takes_the_hosts_below_it_and_no_others(url, hit):
    assert hides("domain", "shop.example", url=url) is hit


@pytest.mark.parametrize(
    "url, same",
    [("http://a.example/%EB%A7%B7?q=%ea%b0%80", "http://a.example/맷?q=가"), ("http://a.example/%7ekim/%2d", "http://a.example/~kim/-"), ("http://a.example/a b", "http://a.example/a%20b"),
     ("http://a.example/%B0%A1", "http://a.example/%b0%a1"), ("http://a.example/a%2fb", "http://a.example/a%2Fb"), ("http://a.example/100%", "http://a.example/100%")],
)  # fmt: skip
def test_one_address_in_either_percent_encoding(url, same):
    assert hides("url", url, url=same) and hides("url", same, url=url)
    assert hides("url", url.replace("a.ex", "b.ex"), url=same) is False
    assert mark("url", "http://a.example/a%2fb") != mark("url", "http://a.example/a/b"), "an encoded slash is no slash"
    old = forgotten._mark("url", url.removeprefix("http://"))
    assert Forgotten(frozenset([old])).at(url), "what an earlier version noted still hides it"


def test_a_korean_host_is_one_name_in_either_spelling():
    for named in ("맷돌.한국", "xn--pq1bz0j.xn--3e0b707e", "https://맷돌.한국/소개"):
        assert hides("domain", named, url="https://www.xn--pq1bz0j.xn--3e0b707e/a") and hides(
            "domain", named, url="http://맷돌.한국/a"
        )
    assert hides("url", "https://맷돌.한국/a", url="http://xn--pq1bz0j.xn--3e0b707e/a/")


def test_licence_and_id_and_the_name_of_a_file():
    assert hides("licence", "CC BY-NC 4.0", licence="cc  by-nc 4.0") and not hides(
        "licence", "CC BY 4.0", licence="CC BY-NC 4.0"
    )
    assert hides("id", "ab" * 16, id="ab" * 16) and not hides("id", "ab" * 16, id="cd" * 16)
    assert hides("url", "folder/a.txt", source="folder/a.txt")
    assert not Forgotten().hides({"id": "ab" * 16, "url": "http://a.example/"})


def test_the_list_says_nothing_that_could_be_read(tmp_path):
    root = filesystem(tmp_path)
    assert not forgotten.load(root)
    marks = [("url", mark("url", "http://hong.example/kim-younghee")), ("domain", mark("domain", "hong.example"))]
    forgotten.note(root, "t" * 32, marks)
    forgotten.note(root, "u" * 32, marks[:1])
    text = (tmp_path / forgotten.NAME).read_text()
    assert "hong" not in text and "kim" not in text and len(text.splitlines()) == 2
    assert forgotten.load(root).at("https://www.hong.example/else")


def test_a_damaged_list_is_an_error_and_never_an_empty_one(tmp_path):
    (tmp_path / forgotten.NAME).write_text(json.dumps({"kind": "url", "mark": "a", "takedown": "b"}) + "\n{")
    with pytest.raises(DamagedStore, match="line 2"):
        forgotten.load(filesystem(tmp_path))
