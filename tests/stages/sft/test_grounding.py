"""The gate: planted faults are found, what stands in the passage passes."""

import json
import lzma
import random
import re

import pytest

from stages.sft.grounding import Grounding, Passage, number, numbers, sentences

KO = "서울시는 2024년 3월 5일 공공자전거 1,200대를 새로 들여왔다고 밝혔다. 이용 요금은 한 시간에 1,000원이다. 김민수 과장은 시민의 불편을 줄이겠다고 말했다."
EN = "Debian was founded by Ian Murdock on August 16, 1993. The project now has over 1,000 developers around the world. It runs on 10 architectures."
GATE = Grounding()


@pytest.mark.parametrize(
    "answer,passage",
    [
        ("이용 요금은 한 시간에 1000원입니다.", KO), ("한 시간에 1,000원을 냅니다.", KO), ("김민수 과장이 시민의 불편을 줄이겠다고 했다.", KO), ("2024년 3월에 공공자전거 1,200대를 새로 들여왔다.", KO), (KO, KO),
        ("Debian was founded by Ian Murdock in 1993.", EN), ("It runs on 10 architectures, and the project has over 1000 developers.", EN), (EN, EN), ("", EN),
    ],
)  # fmt: skip
def test_grounded(answer, passage):
    assert GATE.check(answer, passage).reason is None


@pytest.mark.parametrize(
    "answer,passage,reason,token",
    [
        ("이용 요금은 한 시간에 2,000원이다.", KO, "grounding.number", "2000"),
        ("이용 요금은 한 시간에 1,200원이다.", KO, "grounding.number", "1200"),
        ("이영희 과장은 시민의 불편을 줄이겠다고 말했다.", KO, "grounding.name", "이영희"),
        ("부산시는 2024년 3월 5일 공공자전거 1,200대를 새로 들여왔다고 밝혔다.", KO, "grounding.name", "부산시는"),
        ("김민수 과장은 시민의 불편을 줄이겠다고 말했다. 그는 다음 달에 물러난다.", KO, "grounding.sentence", ""),
        ("Debian was founded by Linus Torvalds on August 16, 1993.", EN, "grounding.name", "Linus"),
        ("The project now has over 10 developers around the world.", EN, "grounding.number", "10"),
        ("Debian was founded by Ian Murdock on August 17, 1993.", EN, "grounding.number", "17"),
        ("It runs on 10 architectures. Most users live in cities near the sea.", EN, "grounding.sentence", ""),
    ],
)
def test_planted(answer, passage, reason, token):
    found = GATE.check(answer, passage)
    assert found.reason == reason and any(f.token == token for f in found.faults if reason == f"grounding.{f.kind}")


def test_the_note_names_sentence_and_number_but_no_name():
    assert (
        GATE.check("It runs on 12 architectures.", EN).faults[0].note() == "sentence 1: number 12 is not in the passage"
    )
    assert "Torvalds" not in GATE.check("Debian was founded by Linus Torvalds in 1993.", EN).faults[0].note()


@pytest.mark.parametrize(
    "given,plain",
    [
        ("1,200", "1200"),
        ("1,200.50", "1200.5"),
        ("007", "7"),
        ("3.0", "3"),
        ("2024.01.05", "2024.1.5"),
        ("1,2", "1.2"),
        ("0", "0"),
    ],
)
def test_numbers_in_one_form(given, plain):
    assert number(given) == plain


def test_full_width_digits_are_digits():
    assert numbers("１２３개와 2024.01.05") >= {"123", "2024", "1", "5"}


def test_sentences_of_both_languages():
    text = 'Dr. Smith left. He said "no." Version 3.5 came!\n다음 줄입니다. 끝'
    assert [text[a:b] for a, b in sentences(text)] == [
        "Dr. Smith left.",
        'He said "no."',
        "Version 3.5 came!",
        "다음 줄입니다.",
        "끝",
    ]


def test_spacing_of_korean_does_not_matter():
    assert GATE.check("서울 대학교는 관악구에 있다.", "서울대학교는 관악구에 있다.").reason is None


def test_thresholds_are_options():
    assert Grounding(exact_numbers=False).check("It runs on 12 architectures.", EN).reason is None
    assert (
        Grounding(min_coverage=1.0).check("Debian was founded by Ian Murdock in the year 1993.", EN).reason
        == "grounding.sentence"
    )


def test_planted_korean_names_numbers_and_sentences_on_real_sentences(shared):
    """Four sentences are a passage, one of them the answer; what is planted comes from other sentences of the same source."""
    rows = [json.loads(line) for line in lzma.open(shared / "E-klue-ner-spans.jsonl.xz", "rt", encoding="utf-8")]
    dice = random.Random(11)
    dice.shuffle(rows)
    names: dict[str, list[str]] = {}
    for row in rows:
        for span in row["spans"]:
            if re.fullmatch("[가-힣]{2,}", span["value"]):
                names.setdefault(span["label"], []).append(span["value"])
    clean = rejected = planted = found = 0
    for at in range(0, 1600, 4):
        passage = Passage(" ".join(row["text"] for row in rows[at : at + 4]))
        row = dice.choice(rows[at : at + 4])
        clean += 1
        rejected += GATE.check(row["text"], passage).reason is not None
        for fault in (
            _other_name(row, names, passage.text, dice),
            _other_number(row, dice),
            row["text"] + " " + rows[(at + 700) % 1600]["text"],
        ):
            if fault is not None:
                planted += 1
                found += GATE.check(fault, passage).reason is not None
    assert planted > 500
    assert rejected <= 0.03 * clean
    assert found >= 0.95 * planted


def _other_name(row, names, passage, dice):
    spans = [s for s in row["spans"] if s["label"] in ("PS", "LC", "OG") and re.fullmatch("[가-힣]{2,}", s["value"])]
    if not spans:
        return None
    span = dice.choice(spans)
    other = dice.choice(names[span["label"]])
    return None if other in passage else row["text"][: span["start"]] + other + row["text"][span["end"] :]


def _other_number(row, dice):
    digits = list(re.finditer(r"\d+", row["text"]))
    if not digits:
        return None
    match = dice.choice(digits)
    return (
        row["text"][: match.start()]
        + str(int(match.group()) + dice.choice([1, 2, 3, 10, 17, 100]))
        + row["text"][match.end() :]
    )
