"""Signs of a bad answer in both languages, and clean answers that must not be taken for one."""

import pytest

from stages.models.answer_checks import leaks, refuses, repetition


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>assistant\n쌀입니다.", "[INST] 쌀은? [/INST]", "### Response:\nRice.", "### 응답:\n쌀입니다.", "Assistant: Rice.", "사용자: 쌀은 무엇입니까?",
        "Below is an instruction that describes a task. Answer it.", "아래는 작업을 설명하는 명령어입니다.", "{instruction}에 답하세요.", "Hello {{ user.name }}", "{질문}",
        "좋습니다.\n<end_of_turn>", "[입력] 언제?", "네.\n [Output] 아홉 시", "Sure, as requested in the prompt, here it is.",
    ],
)  # fmt: skip
def test_leaks(text):
    assert leaks(text)


@pytest.mark.parametrize(
    "text",
    [
        "## 응답 시간\n평균 3초입니다.", "The response was quick: three seconds.", "Human rights: a short history.", "if (x) { return input; }", "집합 {1, 2, 3}의 합은 6입니다.", "값은 data[input]에 있습니다.",
        "Use `<div>` and `</div>`.", "배열은 [1, 2]처럼 적습니다.", "The assistant of the mill weighs the grain.", "요청하신 대로 정리했습니다.",
    ],
)  # fmt: skip
def test_no_leak(text):
    assert not leaks(text)


def test_repetition_is_of_the_text_and_not_of_its_language():
    clean = "맷돌은 위짝과 아래짝으로 되어 있고, 위짝을 돌리면 가운데 구멍으로 넣은 곡식이 사이에서 갈려 나옵니다. 손잡이는 나무로 만들어 끼웁니다."
    assert repetition(clean) < 0.05 and repetition(clean * 6) > 0.8
    assert (
        repetition("The stone turns and the grain is ground between the two faces; the meal falls from the rim. " * 5)
        > 0.7
    )
    assert repetition("짧음") == 0.0


def test_refusal_opens_an_answer():
    assert refuses("죄송하지만 그 질문에는 답변할 수 없습니다.") and refuses("I'm sorry, but I cannot help with that.")
    assert not refuses("미안하다는 말은 이렇게 씁니다.") and not refuses("곡식을 갈 수 없는 날은 비가 오는 날입니다.")
