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
                answers = [
                    a.get("text", "")
                    for name in ("acceptedAnswer", "suggestedAnswer")
                    for a in many(question.get(name))
                    if isinstance(a, dict)
                ]
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
    from stages.ingest.html import page as reader
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


@pytest.fixture(scope="module")
def answers(shared):
    """500 mined answers with the text around them: English pages of all kinds and Korean manuals, drawn by seed."""
    from stages.ingest.html import page as reader
    from stages.ingest.row import Raw

    found = []
    for archive, ending in (
        ("B-wcxb-dev-sample", ".html"),
        ("C-starter/debian-faq-ko", ".html"),
        ("C-starter/installation-guide-amd64-12-ko", ".html"),
    ):
        with tarfile.open(shared / f"{archive}.tar.xz") as opened:
            for member in opened:
                if member.name.endswith(ending):
                    document = reader.read(
                        Raw(
                            "page",
                            member.name,
                            body=opened.extractfile(member).read(),
                            url=f"http://page.example/{member.name}",
                        )
                    )
                    if not document.reason:
                        row = document.values | {"id": f"{len(found):032x}", "source": member.name, "meta": []}
                        found += [
                            (row["text"], item)
                            for item in rows_of(row, "faq", "heading", "howto", "qa_text", "section", "definition")
                            if item["span_start"] is not None
                        ]
    dice = random.Random(29)
    dice.shuffle(found)
    return found[:500]


@pytest.mark.slow
def test_planted_faults_are_found_in_500_mined_answers(answers):
    """A fault is a number changed, a name exchanged, or a sentence added; names and sentences come from other answers of the
    same 500, by nothing but their position in the text: no table is shared with the gate."""
    from stages.sft.grounding import Grounding, sentences

    dice = random.Random(29)
    said = [item["messages"][1]["content"] for _, item in answers]
    name = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]+)*")
    names = sorted({found for answer in said for found in name.findall(answer)})
    gate, rejected = Grounding(), 0
    planted: dict[str, list[bool]] = {"number": [], "name": [], "sentence": []}
    for (text, item), answer in zip(answers, said):
        passage = text[max(0, item["span_start"] - 1500) : item["span_end"] + 1500]
        rejected += gate.check(answer, passage).reason is not None
        for kind, fault in _faults(answer, dice.choice(said), dice.choice(names), passage, name, dice, sentences):
            found = gate.check(fault, passage)
            planted[kind].append(found.reason is not None)
            assert all(f.note().startswith(f"sentence {f.sentence + 1}: ") for f in found.faults)
    assert len(answers) == 500 and rejected <= 0.03 * 500
    assert min(map(len, planted.values())) >= 150
    for kind, caught in planted.items():
        assert sum(caught) >= 0.95 * len(caught), kind


def _faults(answer, other, strange, passage, name, dice, sentences):
    """(kind, answer with one fault), where the answer can hold it."""
    start, end = dice.choice(sentences(other))
    if end - start > 40 and other[start:end] not in passage:
        yield "sentence", f"{answer} {other[start:end]}"
    if (found := list(re.finditer(r"\d+", answer))) and (match := dice.choice(found)):
        yield (
            "number",
            answer[: match.start()] + str(int(match.group()) + dice.choice([1, 3, 10, 100])) + answer[match.end() :],
        )
    if (found := list(name.finditer(answer))) and strange.split()[0] not in passage and (match := dice.choice(found)):
        yield "name", answer[: match.start()] + strange + answer[match.end() :]
