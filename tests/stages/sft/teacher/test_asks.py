"""What a teacher is asked, and how its answer is read."""

import json

import pytest

from stages.sft.teacher.asks import TASKS, fault_in, pairs_in, prompt_for, rating

PAIR = '[{"instruction": "언제 여나요?", "answer": "아홉 시에 엽니다."}]'


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("lang", ["ko", "en"])
def test_every_task_has_its_slots_in_both_languages(task, lang):
    messages = prompt_for(task, lang, 3).render("PASSAGE")
    assert messages[0][0] == "system" and "PASSAGE" in messages[-1][1] and "JSON" in messages[-1][1]
    assert "{n}" not in messages[0][1]
    if task == "qa":
        assert [role for role, _ in messages] == ["system", "user", "assistant", "user"] and "3" in messages[0][1]
        assert pairs_in(messages[2][1])[0]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_examples_none_one_or_a_few_and_reasoning_first(lang):
    for shots in range(4):
        messages = prompt_for("qa", lang, 3, shots=shots).render("PASSAGE")
        assert [role for role, _ in messages].count("assistant") == shots
    answers = [pairs_in(text)[0] for role, text in messages if role == "assistant"]
    assert [len(pairs) for pairs in answers] == [1, 2, 0]
    plain, reasoned = (prompt_for("qa", lang, 3, steps=steps).render("P")[0][1] for steps in (False, True))
    assert reasoned.startswith(plain) and len(reasoned) > len(plain)


@pytest.mark.parametrize(
    "text,pairs",
    [
        (PAIR, [("언제 여나요?", "아홉 시에 엽니다.")]),
        (f"```json\n{PAIR}\n```", [("언제 여나요?", "아홉 시에 엽니다.")]),
        (f"Here you are: {PAIR} Enjoy.", [("언제 여나요?", "아홉 시에 엽니다.")]),
        ('{"instruction": "a", "answer": "b"}', [("a", "b")]),
        ('{"pairs": [{"instruction": "a", "answer": "b"}]}', [("a", "b")]),
        ('[{"instruction": "a"}]', [("a", "")]),
        ("[]", []),
    ],
)
def test_read_strictly_with_one_repair(text, pairs):
    assert pairs_in(text) == (pairs, "")


@pytest.mark.parametrize(
    "text",
    [
        "Sure!",
        "[{]",
        '[{"question": "a"}]',
        '[{"instruction": 1, "answer": "b"}]',
        '"text"',
        "[" * 5000,
        '[{"instruction": "a", "answer": ["b"]}]',
    ],
)
def test_nonsense_says_what_is_wrong(text):
    pairs, fault = pairs_in(text)
    assert pairs is None and fault


@pytest.mark.parametrize(
    "instruction,answer,reason",
    [
        ("언제 여나요?", "아홉 시에 엽니다.", None), ("When?", "At nine.", None), ("", "x", "teacher.bad_answer"), ("x", "", "teacher.bad_answer"),
        ("언제?", "죄송하지만 도와드릴 수 없습니다.", "teacher.refusal"), ("When?", "As an AI language model, I do not know.", "teacher.refusal"),
        ("What predicts words?", "A language model does.", None), ("왜?", "죄송하지만은 않은 일입니다.", None),
        ("[입력] 언제?", "아홉 시.", "teacher.template_leak"), ("When?", "<|user|> nine", "teacher.template_leak"),
        ("이 글에서 말하는 시간은?", "아홉 시.", "teacher.unclear"), ("What does the text say?", "Nine.", "teacher.unclear"),
    ],
)  # fmt: skip
def test_unfit_on_sight(instruction, answer, reason):
    assert fault_in(instruction, answer) == reason


def test_rating_shows_both():
    shown = rating("ko", "지시입니다", "답입니다")[-1][1]
    assert "지시: 지시입니다" in shown and "답입니다" in shown and json.dumps("score") in shown
