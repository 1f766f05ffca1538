"""Interviews: who asks, who answers, and what is no interview."""

A1 = "I came to the mill in the spring of 2009, when the old stones had been standing still for twenty years."
A2 = "Mostly barley in summer and wheat in autumn; the stones must be dressed once every three months for that."
A3 = "My daughter will, I hope. She has learned to dress the stones and knows every household of the village."
Q1, Q2, Q3 = "How did you come to the mill?", "What do you grind here in a year?", "Who will run the mill after you?"


def test_two_speakers_one_of_whom_asks(mined, said):
    text = f"Reporter: {Q1}\n\nMoon: {A1}\n\nReporter: {Q2}\n\nMoon: {A2}\n\nReporter: {Q3}\n\nMoon: {A3}\n\nThe mill is open from Tuesday."
    rows, drops = mined("interview", text, lang="en")
    assert [said(row) for row in rows] == [(Q1, A1), (Q2, A2), (Q3, A3)] and not drops and rows[0]["confidence"] == 0.7


def test_korean_speakers(mined, said):
    asked = ["방앗간에는 어떻게 오게 되셨습니까?", "한 해에 무엇을 주로 빻으십니까?", "뒤를 이을 분은 계십니까?"]
    answer = "이천구년 봄에 왔습니다. 그때는 맷돌이 스무 해 동안이나 서 있었고, 마을 사람들이 돈을 모아 다시 세웠습니다. 저는 그 일을 맡았습니다."
    text = "\n\n".join(f"기자: {question}\n\n문상길 대표: {answer}{n}번." for n, question in enumerate(asked))
    rows, _ = mined("interview", text, lang="ko")
    assert [said(row)[0] for row in rows] == asked and said(rows[0])[1].startswith("이천구년")


def test_question_paragraphs(mined, said):
    blocks = [
        ("paragraph", part)
        for part in ("We met Mr Moon at the mill.", f"— {Q1}", A1, f"— {Q2}", A2, f"— {Q3}", A3, A1.replace("I", "He"))
    ]
    rows, _ = mined("interview", "\n\n".join(text for _, text in blocks), blocks, lang="en")
    assert [said(row)[0] for row in rows] == [Q1, Q2, Q3] and said(rows[0])[1] == A1 and rows[0]["confidence"] == 0.6


def test_names_that_do_not_ask_are_no_interview(mined):
    text = "\n\n".join(
        f"Author: Moon number {n} of the mill.\n\nYear: two thousand and {n}, when it was built." for n in range(4)
    )
    assert mined("interview", text, lang="en") == ([], [])


def test_two_questions_are_no_interview(mined):
    blocks = [("paragraph", part) for part in (Q1, A1, Q2, A2)]
    assert mined("interview", "\n\n".join(text for _, text in blocks), blocks, lang="en") == ([], [])


def test_reasons(mined):
    blocks = [
        ("paragraph", part)
        for part in (Q1, A1, Q2, "No.", "Need more flour for your bakery?", A2, "And what comes after that?", A3)
    ]
    rows, drops = mined("interview", "\n\n".join(text for _, text in blocks), blocks, lang="en")
    assert len(rows) == 1 and drops == ["interview.short_answer", "interview.stub", "interview.unclear"]
