"""Which passages are asked about, and what becomes of a reply."""

import json

import pytest

from stages.sft.grounding import Grounding
from stages.sft.page import Page, TextSpan
from stages.sft.teacher.replies import free_passages, read_reply

TEXT = """맷돌은 위짝과 아래짝으로 이루어진다. 위짝은 돌아가고 아래짝은 움직이지 않으며, 곡식은 두 돌 사이에서 갈린다.

우리 방앗간은 2009년에 스물세 집이 모여 시작했다. 지금은 예순한 집이 조합원이고 네 사람이 날마다 일하고 있다.

두부는 아침 여덟 시에 나온다. 열 모가 넘으면 사흘 전에 알려야 하고, 값은 한 모에 4,000원이다."""
PARTS = TEXT.split("\n\n")


@pytest.fixture
def page(page_row):
    return Page(page_row(TEXT, lang="ko", url="http://mill.example/"), 17)


def reply(page, pairs=None, task="qa", **more):
    text = (
        json.dumps([{"instruction": q, "answer": a} for q, a in pairs], ensure_ascii=False)
        if pairs is not None
        else None
    )
    base = {
        "id": "r" * 32,
        "doc_id": page.id,
        "start": 0,
        "end": len(page.text),
        "task": task,
        "text": text,
        "reason": None,
        "note": "",
        "key": "k",
        "model": "m",
        "written_by": "",
        "rating": None,
    }
    return base | more


def read(page, row):
    return read_reply(page, row, Grounding(), 4, {}, 0.7)


def test_passages_are_what_no_row_covers(page):
    start = TEXT.index(PARTS[1])
    assert free_passages(page, [(start + 5, start + 9)], 40, 500, 5) == [
        TextSpan(0, len(PARTS[0])),
        TextSpan(TEXT.index(PARTS[2]), len(TEXT)),
    ]
    assert free_passages(page, [], 40, 500, 5) == [TextSpan(0, len(TEXT))]
    assert len(free_passages(page, [], 40, 80, 5)) == 3 and len(free_passages(page, [], 40, 80, 2)) == 2
    assert free_passages(page, [], 400, 500, 5) == [] and free_passages(page, [(0, len(TEXT))], 40, 500, 5) == []


def test_a_grounded_pair_is_a_row_with_its_provenance(page, said, fact):
    parsed = read(
        page,
        reply(
            page,
            [("두부는 언제 나오나요?", "아침 여덟 시에 나옵니다."), ("값은 얼마인가요?", "값은 한 모에 4,000원이다.")],
        ),
    )
    assert not parsed.drops and [row["rule"] for row in parsed.rows] == ["teacher.qa"] * 2
    assert said(parsed.rows[0]) == ("두부는 언제 나오나요?", "아침 여덟 시에 나옵니다.")
    first, second = ((row["span_start"], row["span_end"]) for row in parsed.rows)
    assert (
        TEXT[slice(*first)] == "두부는 아침 여덟 시에 나온다." and TEXT[slice(*second)] == "값은 한 모에 4,000원이다."
    )
    assert (
        fact(parsed.rows[0], "teacher") == "m"
        and fact(parsed.rows[0], "call") == "k"
        and fact(parsed.rows[1], "grounding") == "1.000"
    )
    assert len({row["id"] for row in parsed.rows}) == 2 and parsed.rows[0]["confidence"] == 0.7


def test_what_the_passage_does_not_say_is_dropped_with_the_number_named(page):
    parsed = read(
        page,
        reply(
            page,
            [
                ("값은?", "값은 한 모에 5,000원이다."),
                ("누가 시작했나요?", "김두부 씨의 방앗간은 2009년에 스물세 집이 모여 시작했다."),
                ("날씨는?", "내일은 전국에 비가 내리고 바람이 세게 붑니다."),
            ],
        ),
    )
    assert parsed.rows == [] and parsed.drops == ["grounding.number", "grounding.name", "grounding.sentence"]
    assert parsed.notes[0] == "sentence 1: number 5000 is not in the passage" and "김두부" not in " ".join(parsed.notes)


@pytest.mark.parametrize(
    "more,drop",
    [
        ({"text": "no json at all"}, "teacher.bad_answer"), ({"reason": "teacher.truncated", "note": "cut"}, "teacher.truncated"), ({"reason": "teacher.unreachable"}, "teacher.unreachable"),
    ],
)  # fmt: skip
def test_replies_without_an_answer(page, more, drop):
    assert read(page, reply(page, [], **more)).drops == [drop]


def test_a_page_nobody_wrote_for_is_no_drop(page):
    assert read(page, reply(page, None, reason="teacher.not_recorded")) == ([], [], [])


def test_unfit_pairs(page):
    pairs = [
        ("이 글의 내용은?", "위짝은 돌아가고 아래짝은 움직이지 않는다."),
        ("What is it?", "위짝은 돌아가고 아래짝은 움직이지 않는다."),
        ("위짝은 돌아간다", "위짝은 돌아간다."),
    ]
    assert read(page, reply(page, pairs)).drops == ["teacher.unclear", "teacher.other_language", "teacher.bad_answer"]


def test_backtranslation_answers_with_the_passage_itself(page, said):
    row = reply(
        page, [("맷돌마을 방앗간을 소개해 주세요.", "")], "backtranslate", start=0, end=len(PARTS[0]), rating=5.0
    )
    parsed = read(page, row)
    assert said(parsed.rows[0]) == ("맷돌마을 방앗간을 소개해 주세요.", PARTS[0]) and (
        parsed.rows[0]["span_start"],
        parsed.rows[0]["span_end"],
    ) == (0, len(PARTS[0]))
    plain = read(page, row | {"text": "맷돌마을 방앗간을 소개해 주세요."})
    assert said(plain.rows[0])[0] == "맷돌마을 방앗간을 소개해 주세요."
    assert read(page, row | {"rating": 3.0}).drops == ["teacher.low_rating"]


def test_what_a_person_wrote_is_measured_and_kept(page, fact):
    parsed = read(
        page,
        reply(
            page,
            [("이 글은 무엇인가요?", "방앗간 이야기로, 하루가 어떻게 가는지 들려줍니다.")],
            written_by="hand",
            model="hand",
        ),
    )
    assert (
        len(parsed.rows) == 1
        and fact(parsed.rows[0], "written_by") == "hand"
        and float(fact(parsed.rows[0], "grounding")) < 0.6
    )
