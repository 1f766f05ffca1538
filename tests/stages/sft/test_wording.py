"""Templates: every task in every register, particles that fit, politeness of one kind in a row."""

import random

import pytest

from stages.sft.wording import EN, KO, REGISTERS, ask, fill, register

SLOTS = {
    "choices": "본문입니다.",
    "text": "본문입니다.",
    "title": "맷돌",
    "heading": "구조",
    "term": "중쇠",
    "act": "콩을 가는",
    "n": "3",
    "words": "돌, 물",
}
ENDS = {
    "formal": ("십시오.", "니까?", "십시오: 돌, 물", "합니다: 돌, 물", "십시오. (주제: 맷돌)"),
    "polite": ("세요.", "요?", "세요: 돌, 물", "세요. (주제: 맷돌)"),
    "plain": ("라.", "가?", "라: 돌, 물", "한다: 돌, 물", "하라. (주제: 맷돌)"),
}
WORDS = {
    "formal": ("십시오", "니까", "습니다", "입니다"),
    "polite": ("세요", "요?", "어요", "에요"),
    "plain": ("하라", "써라", "한다", "는가", "이다."),
}


@pytest.mark.parametrize("task", sorted(KO))
@pytest.mark.parametrize("level", REGISTERS)
def test_korean_templates_keep_their_register(task, level):
    assert set(KO[task]) == set(REGISTERS)
    for template in KO[task][level]:
        asked = fill(template, SLOTS).replace("본문입니다.", "").strip()
        assert asked.endswith(ENDS[level]), asked
        assert not any(word in asked for other in REGISTERS if other != level for word in WORDS[other]), asked


def test_both_languages_have_every_task():
    assert set(EN) - {"how_ing"} == set(KO)


@pytest.mark.parametrize(
    "answer,level",
    [
        ("돌을 씻습니다. 말립니다.", "formal"),
        ("돌을 씻어요. 말리면 돼요.", "polite"),
        ("돌을 씻는다. 그늘에 말린다.", "plain"),
        ("위짝, 아래짝", None),
        ("", None),
    ],
)
def test_register_of_an_answer(answer, level):
    assert register(answer) == level
    if level:
        assert ask("about", "ko", random.Random(1), answer, heading="구조")[1] == level


def test_particles_fit_their_words():
    assert fill("{term:이란/란} 무엇인가?", {"term": "맷손"}) == "맷손이란 무엇인가?"
    assert fill("{term:이란/란} 무엇인가?", {"term": "중쇠"}) == "중쇠란 무엇인가?"
    assert fill("{term:을/를} 설명하라.", {"term": "PC"}) == "PC를 설명하라."


def test_what_a_slot_holds_is_no_template():
    assert fill("{text} {title}", {"text": "{title} {n}", "title": "T"}) == "{title} {n} T"


def test_a_template_without_its_slot_is_not_drawn():
    drawn = {ask("continue", "en", random.Random(n), text="x", title="")[0] for n in range(20)}
    assert drawn == {"Write the next paragraph of this text.\n\nx"}
    with pytest.raises(KeyError):
        ask("section", "en", random.Random(1), heading="")
