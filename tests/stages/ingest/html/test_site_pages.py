"""The project's own site is what its README says: the planted data, the answers, the near-duplicates, the links."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml

WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
"""Of the check digit of a resident registration number issued before October 2020."""


@pytest.fixture(scope="module")
def site(repo: Path) -> Path:
    return repo / "configs" / "site"


@pytest.fixture(scope="module")
def bodies(site: Path) -> dict[str, str]:
    """host/path -> the visible text of a page's article, tags taken out."""
    found = {}
    for file in (site / "pages").rglob("*.html"):
        raw = file.read_bytes()
        text = raw.decode("cp949") if "1998" in file.name else raw.decode("utf-8", "replace")
        inner = re.search(
            r"(?s)<article.*?</article>|<div id=\"content\".*?<div class=\"footer\">|<div class=\"body\">.*?<div class=\"links\">|<H1>.*?</TABLE>",
            text,
        )
        host, *rest = file.relative_to(site / "pages").with_suffix("").parts
        key = f"{host}/" + "/".join(rest if rest != ["index"] else [])
        visible = re.sub(r"(?s)<[^>]*>", " ", inner.group() if inner else text)
        found[key] = re.sub(r"\s+", " ", visible.replace("&amp;", "&").replace("&#x27;", "'"))
    return found


def test_some_sixty_pages_half_and_half(bodies):
    korean = sum(len(re.findall("[가-힣]", text)) > len(text) / 4 for text in bodies.values())
    assert len(bodies) > 60 and 0.4 < korean / len(bodies) < 0.7


def test_planted_values_stand_in_their_pages_and_nowhere_else(site, bodies):
    planted = json.loads((site / "planted.json").read_text("utf-8"))
    values = [(page, value) for page, entities in planted.items() for given in entities.values() for value in given]
    assert len(values) > 20 and {e for entities in planted.values() for e in entities} == {
        "email",
        "phone",
        "kr_rrn",
        "card",
    }
    for page, value in values:
        assert value in bodies[page]
        assert [other for other, text in bodies.items() if value in text] == [page]


def test_planted_numbers_carry_valid_check_digits(site):
    planted = json.loads((site / "planted.json").read_text("utf-8"))
    numbers = {
        kind: [v for entities in planted.values() for v in entities.get(kind, ())] for kind in ("kr_rrn", "card")
    }
    for number in numbers["kr_rrn"]:
        digits = [int(c) for c in number if c.isdigit()]
        assert (11 - sum(a * b for a, b in zip(digits, WEIGHTS)) % 11) % 10 == digits[12]
    for number in numbers["card"]:
        digits = [int(c) for c in reversed(number) if c.isdigit()]
        assert sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0
    assert len(numbers["kr_rrn"]) == 4 and len(numbers["card"]) == 2


def test_planted_values_stand_right_before_particles(site, bodies):
    planted = json.loads((site / "planted.json").read_text("utf-8"))
    glued = [
        v
        for page, entities in planted.items()
        for given in entities.values()
        for v in given
        if re.search(re.escape(v) + "[가-힣]", bodies[page])
    ]
    assert len(glued) >= 8


def test_answers_stand_in_their_pages(site, bodies):
    answers = yaml.safe_load((site / "answers.yaml").read_text("utf-8"))
    assert 100 < len(answers) < 150
    pages = {item["url"] for item in answers}
    assert len(pages) > 55
    for item in answers:
        assert (
            set(item) == {"url", "task", "instruction", "answer", "lang", "written_by"} and item["written_by"] == "hand"
        )
        assert item["task"] in ("qa", "summary", "title", "explain", "list") and item["lang"] in ("ko", "en")
        text = bodies[item["url"].removeprefix("http://")]
        answer = re.sub(r"(?<!\d)\d\. ", "", item["answer"])
        for number in re.findall(r"\d[\d,]*\d|\d", answer):
            assert number in text, (item["url"], number)
        words = re.findall(r"[A-Za-z]{4,}|[가-힣]{2,}", answer)
        stems = [word[:2] if not word.isascii() else word.lower() for word in words]
        there = sum(stem in text.lower() for stem in stems)
        assert len(stems) - there <= max(2, 0.3 * len(stems)), (item["url"], item["answer"])


def test_answers_carry_none_of_the_planted_values(site):
    text = (site / "answers.yaml").read_text("utf-8")
    planted = json.loads((site / "planted.json").read_text("utf-8"))
    assert not [v for entities in planted.values() for given in entities.values() for v in given if v in text]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def alike(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


GROUPS = [
    ("maetdol.example/notice/safety", "maetdol.example/notice/safety-2025", "maetdol.example/notice/safety-print"),
    ("maetdol.example/tools/brush", "maetdol.example/tools/brush-old"),
    ("en.maetdol.example/notice/safety", "en.maetdol.example/notice/safety-2025"),
    ("en.maetdol.example/tools/knives", "en.maetdol.example/tools/knives-mobile"),
]


def test_near_duplicates_are_near_and_nothing_else_is(bodies):
    pairs = {pair for group in GROUPS for pair in combinations(sorted(group), 2)}
    for one, other in combinations(sorted(bodies), 2):
        if (one, other) in pairs:
            assert alike(bodies[one], bodies[other]) > 0.85, (one, other)
        else:
            assert alike(bodies[one], bodies[other]) < 0.5, (one, other)


def test_the_cp949_page_says_nothing_of_its_charset(site):
    raw = (site / "pages/maetdol.example/old/1998-notice.html").read_bytes()
    assert b"charset" not in raw.lower() and "찦차" in raw.decode("cp949")
    with pytest.raises(UnicodeDecodeError):
        raw.decode("euc-kr")
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")


def test_the_broken_page_is_broken(site):
    raw = (site / "pages/maetdol.example/broken/half-page.html").read_bytes()
    assert b"</html>" not in raw
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")


def test_structured_markup_is_valid_json_and_says_what_the_page_says(site, bodies):
    kinds = []
    for file in (site / "pages").rglob("*.html"):
        text = file.read_bytes().decode("utf-8", "replace")
        for block in re.findall(r'(?s)<script type="application/ld\+json">(.*?)</script>', text):
            data = json.loads(block)
            kinds.append(data["@type"])
            host, *rest = file.relative_to(site / "pages").with_suffix("").parts
            for question in data.get("mainEntity", []):
                assert question["name"] in bodies["/".join([host, *rest])]
    assert kinds.count("FAQPage") == 3 and kinds.count("HowTo") == 4
