"""The licence a page states."""

from __future__ import annotations

import pytest

from stages.ingest.html.tree import parse
from stages.ingest.metadata.card import Head
from stages.ingest.metadata.licence import of_page, spdx


@pytest.mark.parametrize(
    "stated, word",
    [
        ("https://creativecommons.org/licenses/by-sa/4.0/deed.ko", "CC-BY-SA-4.0"),
        ("//creativecommons.org/licenses/by-nc-nd/2.0/kr/", "CC-BY-NC-ND-2.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://www.gnu.org/licenses/old-licenses/gpl-2.0.html", "GPL-2.0"),
        ("https://www.gnu.org/licenses/fdl-1.3", "GFDL-1.3"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("  The  MIT License ", "MIT"),
        ("All rights reserved", "All rights reserved"),
        ("x" * 500, None),
        ("", None),
        (None, None),
    ],
)
def test_words(stated, word):
    assert spdx(stated) == word


def licence(html: str, card=None):
    return of_page(Head(parse(html).root), card or {})


def test_the_strongest_statement_wins():
    html = '<a href="https://creativecommons.org/licenses/by/3.0/">a picture</a><a rel="nofollow license" href="/licences#mit">MIT</a>'
    assert licence(html) == "/licences#mit"
    assert licence('<a href="https://creativecommons.org/licenses/by/3.0/">x</a>', {"licence": "MIT License"}) == "MIT"


def test_one_creative_commons_link_is_a_statement_many_are_a_subject():
    one = '<footer><a href="https://creativecommons.org/licenses/by/4.0/">CC</a><a href="https://creativecommons.org/licenses/by/4.0/deed.ko">CC</a></footer>'
    assert licence(one) == "CC-BY-4.0"
    assert licence(one + '<a href="https://creativecommons.org/licenses/by-sa/4.0/">SA</a>') is None


def test_meta_tags():
    assert (
        licence(
            '<head><meta name="DCTERMS.license" content="https://creativecommons.org/publicdomain/mark/1.0/"></head><body>x'
        )
        == "CC-PDM-1.0"
    )
