"""Every reason against a pair, and what must not raise one."""

import pytest

from stages.dpo.checks import Limits, check, similarity, trim, whole
from stages.models.answer_checks import refuses, same_script, script

LABEL = "맷돌은 곡식을 가는 돌입니다. 위짝을 돌려 곡식을 갑니다."


def reasons(chosen, rejected, truncated=False, **limits):
    return check(chosen, rejected, truncated, Limits(**limits)).reasons


@pytest.mark.parametrize(
    "chosen, rejected, expected",
    [
        (LABEL, "", "dpo.empty"),
        (LABEL, " \n\t ", "dpo.empty"),
        ("", LABEL, "dpo.empty"),
        (LABEL, LABEL, "dpo.equal"),
        ("Stone  Grinds\nGrain", "stone grinds grain", "dpo.equal"),
        ("가각", "가각", "dpo.equal"),
        (LABEL, LABEL + "!", "dpo.near_equal"),
        (LABEL, "A millstone is a stone for grinding grain.", "dpo.wrong_language"),
        (LABEL, "짧다.", "dpo.length_ratio"),
        ("짧은 답.", "아주 길고 길고 길고 길고 긴 답입니다 그렇습니다.", "dpo.length_ratio"),
        ("I'm sorry, but I cannot help with that.", "Grind it slowly, with a lot of water.", "dpo.refusal"),
        ("죄송하지만 그 질문에는 답변드릴 수 없습니다.", "물을 조금씩 부으며 천천히 돌리세요.", "dpo.refusal"),
    ],
)
def test_each_reason(chosen, rejected, expected):
    assert reasons(chosen, rejected)[0] == expected


def test_a_pair_that_stands():
    good = check(LABEL, "맷돌은 돌로 만든 바퀴이고 수레를 끄는 데 씁니다.", False, Limits())
    assert good.reasons == [] and 0 < good.similarity < 0.5 and 0.5 < good.length_ratio < 2


def test_limits_move_each_threshold():
    other = "물레방아는 물의 힘으로 돌아가는 바퀴를 말합니다."
    assert reasons(LABEL, other, similarity_min=0.5) == ["dpo.unrelated"]
    assert reasons(LABEL, LABEL + "!", similarity_max=1.0) == []
    assert reasons(LABEL, "짧다. 그렇다.", length_ratio=10.0) == []
    assert reasons(LABEL, "It is a stone for grinding grain.", same_language=False) == []
    assert reasons("I'm sorry, I cannot.", "I am able to do it.", refusals=True) == []
    assert reasons(LABEL, other, truncated=True) == ["dpo.truncated"]


def test_all_reasons_are_kept_in_order():
    assert reasons(LABEL, "No", truncated=True) == ["dpo.truncated", "dpo.length_ratio"]


@pytest.mark.parametrize(
    "text",
    [
        "죄송합니다라는 말은 사과할 때 씁니다.",
        "I can grind it for you.",
        "할 수 없이 손으로 갈았습니다.",
        "Sorry is a word.",
        "미안한 마음을 전하는 편지를 써 보세요.",
    ],
)
def test_what_is_no_refusal(text):
    assert not refuses(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("abc", None), ("hello there", "latin"), ("안녕하세요 여러분", "hangul"), ("これは漢字です", "kana"), ("石磨是一种工具", "han"),
        ("жернов это камень", "cyrillic"), ("123 !!! ---", None), ("맷돌 millstone 곡식갈기", "latin"), ("", None),
    ],
)  # fmt: skip
def test_script(text, expected):
    assert script(text) == expected


def test_numbers_and_code_are_in_no_wrong_language():
    assert same_script("42", LABEL) and same_script(LABEL, "= 3 + 4")


def test_similarity_is_symmetric_and_bounded():
    for one, two in (("", ""), ("a", ""), ("abc", "abc"), ("맷돌이 돈다", "맷돌은 돈다")):
        assert similarity(one, two) == similarity(two, one) and 0 <= similarity(one, two) <= 1
    assert similarity("같은 말입니다", "같은 말입니다") == 1


@pytest.mark.parametrize(
    "mode, text, expected",
    [
        ("drop", "하나. 두", ("하나. 두", True)),
        ("keep", "하나. 두", ("하나. 두", False)),
        ("trim", "하나. 두", ("하나.", False)),
        ("trim", "끝이 없는 말", ("끝이 없는 말", True)),
        ("trim", 'He said "stop." Then', ('He said "stop."', False)),
        ("trim", "3.14 is pi", ("3.14 is pi", True)),
    ],
)
def test_cut_answers(mode, text, expected):
    assert whole(text, True, mode) == expected
    assert whole(text, False, mode) == (text, False)


def test_trim_keeps_whole_lines():
    assert trim("- one\n- two\n- th") == "- one\n- two"


def test_answers_are_cut_to_about_the_labels_length():
    from stages.dpo.checks import as_long_as

    label = "가" * 100
    assert [len(as_long_as("나" * 400, label, draw)) for draw in (0.0, 0.5, 1.0)] == [70, 120, 170]
    assert as_long_as("짧다", label, 0.5) == "짧다"
