"""Declared questions on real pages, counted against a reading of the markup that shares nothing with ours."""

from __future__ import annotations

import html
import json
import re
import tarfile

import pytest


def key(text: str) -> str:
    """Letters and digits of a text, tags and entities gone."""
    return re.sub(r"[\W_]+", "", html.unescape(re.sub(r"<[^>]+>", " ", html.unescape(text))).lower())


def walk(value):
    if isinstance(value, dict):
        kinds = value.get("@type")
        if "Question" in (kinds if isinstance(kinds, list) else [kinds]):
            yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def many(value):
    return value if isinstance(value, list) else [value] if value is not None else []


def json_questions(source: str):
    for match in re.finditer(r"<script[^>]*ld(?:\+|&#x2B;|&#43;)json[^>]*>(.*?)</script>", source, re.S | re.I):
        for attempt in (match[1], re.sub(r",(\s*[}\]])", r"\1", match[1])):
            try:
                found = json.loads(attempt, strict=False)
            except ValueError:
                continue
            for question in walk(found):
                answers = [a.get("text", "") for name in ("acceptedAnswer", "suggestedAnswer") for a in many(question.get(name)) if isinstance(a, dict)]
                yield str(question.get("name") or question.get("text") or ""), answers
            break


def microdata_questions(source: str):
    from lxml import html as lxml_html

    tree = lxml_html.fromstring(source.encode(), parser=lxml_html.HTMLParser(encoding="utf-8"))
    for noise in tree.xpath("//script|//style"):
        noise.drop_tree()
    for question in tree.xpath("//*[@itemtype]"):
        if re.fullmatch(r"https?://(www\.)?schema\.org/Question/?", question.get("itemtype").strip()):
            names = question.xpath('.//*[@itemprop="name"]')
            answers = question.xpath('.//*[contains(@itemprop,"Answer")]//*[@itemprop="text"]')
            yield (names[0].text_content() if names else ""), [answer.text_content() for answer in answers]


@pytest.fixture(scope="module")
def pages(shared):
    """(name, bytes) of the pages that carry a declared question."""
    with tarfile.open(shared / "B-wcxb-dev-sample.tar.xz") as archive:
        members = [m for m in archive if m.name.endswith(".html")]
        sources = ((m.name, archive.extractfile(m).read()) for m in members)
        return [(name, body) for name, body in sources if re.search(rb"Question", body)]


def test_declared_questions_are_found_and_nothing_else(pages):
    from stages.ingest import page as reader
    from stages.ingest.row import Raw
    from stages.sft import rule_of
    from stages.sft.mine import mine

    asked = found = mined_rows = right = 0
    for name, body in pages:
        source = body.decode("utf-8", "replace")
        truth: dict[str, set[str]] = {}
        for question, answers in (*json_questions(source), *microdata_questions(source)):
            good = {key(a) for a in answers if key(a)}
            if key(question) and good:
                truth.setdefault(key(question), set()).update(good)
        row = reader.read(Raw("page", name, body=body, url=f"http://wcxb.example/{name}")).values | {"id": "f" * 32, "source": name, "meta": []}
        made: dict[str, set[str]] = {}
        for item in mine([rule_of("faq", {})], row, 17).rows:
            question, answer = (key(m["content"]) for m in item["messages"])
            made.setdefault(question, set()).add(answer)
        asked += len(truth)
        found += sum(any(ours == theirs or ours.startswith(theirs) for ours in made) for theirs in truth)
        for question, answers in made.items():
            wanted = [w for theirs, w in truth.items() if question.startswith(theirs)]
            mined_rows += len(answers)
            right += sum(any(a in w or w in a for group in wanted for w in group) for a in answers)
    assert asked > 100
    assert found >= 0.95 * asked
    assert right >= 0.98 * mined_rows
