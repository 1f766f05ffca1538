"""The made-up Korean pages of the benchmark: as many as are said, the same every time, their gold and furniture in the page."""

from __future__ import annotations

import re
from collections import Counter

from stages.ingest import charset
from stages.ingest.flat.build import build
from stages.ingest.flat.render import render
from tests.bench.ingest.korean.pages import made
from tests.bench.ingest.korean.parts import TEMPLATES

WORD = re.compile(r"\w+")


def plain(text: str) -> str:
    return " ".join(text.split())


def test_half_of_the_templates_are_held_out_and_there_are_150_pages():
    held = Counter(template.held_out for template in TEMPLATES)
    assert abs(held[True] - held[False]) <= 1 and len(list(made())) >= 150
    assert {page.held_out for page in made(1, held_out=True)} == {True} and {
        page.held_out for page in made(1, held_out=False)
    } == {False}


def test_the_same_pages_every_time():
    assert list(made(2)) == list(made(2))


def test_all_gold_and_all_furniture_stand_in_the_page():
    for page in made(2):
        decoded = charset.decode(page.html, None)
        text = plain(render(build(decoded.text).tree).text)
        found = Counter(WORD.findall(text))
        assert not decoded.replaced and not Counter(WORD.findall(page.gold)) - found, page.name
        assert all(plain(snippet) in text for snippet in page.must + page.must_not), page.name
        assert all(plain(snippet) in plain(page.gold) for snippet in page.must), page.name
        assert len(page.must_not) == 4 and not any(plain(snippet) in plain(page.gold) for snippet in page.must_not), (
            page.name
        )
        assert len(WORD.findall(page.gold)) < 0.9 * found.total(), page.name
