"""Real pages: declared questions counted against a reading of the markup that shares nothing with ours, and planted faults."""

from __future__ import annotations

import html
import json
import random
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
    """(source, DOCUMENT row) of the pages that carry a declared question."""
    from stages.ingest import page as reader
    from stages.ingest.row import Raw

    found = []
    with tarfile.open(shared / "B-wcxb-dev-sample.tar.xz") as archive:
        for member in archive:
            body = archive.extractfile(member).read() if member.name.endswith(".html") else b""
            if b"Question" in body:
                document = reader.read(Raw("page", member.name, body=body, url=f"http://wcxb.example/{member.name}"))
                row = document.values | {"id": f"{len(found):032x}", "source": member.name, "meta": []}
                found.append((body.decode("utf-8", "replace"), row))
    return found


def rows_of(row, *rules):
    from stages.sft import rule_of
    from stages.sft.mine import mine

    return mine([rule_of(name, {}) for name in rules], row, 17).rows


def test_declared_questions_are_found_and_nothing_else(pages):
    asked = found = mined_rows = right = 0
    for source, row in pages:
        truth: dict[str, set[str]] = {}
        for question, answers in (*json_questions(source), *microdata_questions(source)):
            good = {key(a) for a in answers if key(a)}
            if key(question) and good:
                truth.setdefault(key(question), set()).update(good)
        made: dict[str, set[str]] = {}
        for item in rows_of(row, "faq"):
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


def test_faults_planted_in_mined_answers_are_found(pages):
    """The passage is the answer's surroundings; names, numbers and sentences come from other mined answers."""
    from stages.models.grounding import Grounding, sentences

    mined = [(row["text"], item) for _, row in pages for item in rows_of(row, "faq", "heading", "howto", "qa_text") if item["span_start"] is not None]
    dice = random.Random(29)
    answers = [item["messages"][1]["content"] for _, item in mined]
    name = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]+)*")
    names = sorted({found for answer in answers for found in name.findall(answer)})
    gate, clean, rejected, planted, caught = Grounding(), 0, 0, 0, 0
    for (text, item), answer in zip(mined, answers):
        passage = text[max(0, item["span_start"] - 1500) : item["span_end"] + 1500]
        clean += 1
        rejected += gate.check(answer, passage).reason is not None
        other = dice.choice(answers)
        start, end = dice.choice(sentences(other))
        faults = [f"{answer} {other[start:end]}" if end - start > 40 and other[start:end] not in passage else None]
        for found, new in ((list(name.finditer(answer)), dice.choice(names)), (list(re.finditer(r"\d+", answer)), None)):
            if found and (new is None or new.split()[0] not in passage):
                match = dice.choice(found)
                new = new or str(int(match.group()) + dice.choice([1, 3, 10, 100]))
                faults.append(answer[: match.start()] + new + answer[match.end() :])
        planted += sum(fault is not None for fault in faults)
        caught += sum(gate.check(fault, passage).reason is not None for fault in faults if fault is not None)
    assert planted > 300
    assert rejected <= 0.03 * clean
    assert caught >= 0.95 * planted
