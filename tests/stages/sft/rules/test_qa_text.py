"""Labelled questions and answers in running text."""

import pytest

KO_FORMS = [
    ("Q: 언제 여나요?\nA: 아침 아홉 시에 엽니다.", "언제 여나요?"),
    ("Q1. 언제 여나요?\nA1. 아침 아홉 시에 엽니다.", "언제 여나요?"),
    ("[질문] 언제 여나요?\n[답변] 아침 아홉 시에 엽니다.", "언제 여나요?"),
    ("질문: 언제 여나요?\n답변: 아침 아홉 시에 엽니다.", "언제 여나요?"),
    ("문: 언제 여는가.\n답: 아침 아홉 시에 엽니다.", "언제 여는가."),
    ("문1) 언제 여는가.\n답1) 아침 아홉 시에 엽니다.", "언제 여는가."),
    ("묻다: 언제 여나요?\n답하다: 아침 아홉 시에 엽니다.", "언제 여나요?"),
    ("■ 질문 3\n언제 여나요?\n■ 답변 3\n아침 아홉 시에 엽니다.", "언제 여나요?"),
    ("**질문:** 언제 여나요?\n**답변:** 아침 아홉 시에 엽니다.", "언제 여나요?"),
]
EN_FORMS = [
    "Q: When do you open?\nA: At nine in the morning.",
    "Q. When do you open?\n\nA. At nine in the morning.",
    "Question 4: When do you open?\nAnswer 4: At nine in the morning.",
    "- **Question** When do you open?\n- **Answer** At nine in the morning.",
    "Q\nWhen do you open?\nA\nAt nine in the morning.",
    "Q: When do you open? A: At nine in the morning.",
]


@pytest.mark.parametrize("text,question", KO_FORMS)
def test_korean_forms(mined, said, text, question):
    rows, drops = mined("qa_text", f"도움말\n\n{text}\n", lang="ko")
    assert [said(row) for row in rows] == [(question, "아침 아홉 시에 엽니다.")] and not drops
    assert rows[0]["confidence"] == 0.85


@pytest.mark.parametrize("text", EN_FORMS)
def test_english_forms(mined, said, text):
    rows, _ = mined("qa_text", f"Help\n\n{text}\n", lang="en")
    assert [said(row) for row in rows] == [("When do you open?", "At nine in the morning.")]


def test_several_pairs_and_answers_of_several_paragraphs(mined, said):
    text = "Q: One?\nA: First answer here.\n\nWith more to say.\n\nQ: Two?\nA: Second answer here.\n\nMore of it.\n\nA closing paragraph of the page."
    rows, _ = mined("qa_text", text)
    assert [said(row)[1] for row in rows] == [
        "First answer here.\n\nWith more to say.",
        "Second answer here.\n\nMore of it.",
    ]


def test_the_answer_ends_at_a_heading(mined, said):
    text = "Q: One?\nA: The only answer here.\nHistory\nOnce upon a time."
    rows, _ = mined("qa_text", text, [("heading", "History", None, 2)])
    assert said(rows[0])[1] == "The only answer here."


def test_numbered_questions_need_two(mined, said):
    two = "1. 언제 여나요?\n아침 아홉 시에 문을 엽니다.\n\n2. 언제 닫나요?\n저녁 여섯 시에 문을 닫습니다."
    rows, _ = mined("qa_text", two, lang="ko")
    assert [said(row)[0] for row in rows] == ["언제 여나요?", "언제 닫나요?"] and rows[0]["confidence"] == 0.75
    assert mined("qa_text", two.split("\n\n")[0], lang="ko") == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        "문 앞에 두세요.\n답 없는 이야기입니다.",
        "A dog ran.\nQ fever is a disease.",
        "Answer the phone.\nQuestions are welcome.",
        "A1 motorway\nQ1 results",
    ],
)
def test_words_that_are_no_labels(mined, text):
    assert mined("qa_text", text) == ([], [])


def test_labels_in_code_are_none(mined):
    code = "Q: not asked\nA: not answered at all"
    assert mined("qa_text", f"See:\n{code}", [("code", code)]) == ([], [])


def test_reasons(mined):
    rows, drops = mined("qa_text", "Q: Open?\nA: Yes.\n\nQ: ?\nA: It is open all day long.\n\nQ: Really now?\nA:\n")
    assert not rows and drops == ["qa_text.short_answer", "qa_text.empty_question", "qa_text.empty_answer"]
