"""What follows a connective of consequence."""


def test_korean(mined, said):
    text = "빨리 돌리면 돌과 곡식이 비벼지면서 열이 난다. 열이 나면 가루의 향이 날아가고 기름이 빨리 상한다. 따라서 손맷돌은 일 분에 마흔 바퀴를 넘지 않게 돌리는 것이 좋다."
    rows, drops = mined("effect", text, options={"tasks": ["effect"]}, lang="ko")
    question, answer = said(rows[0])
    assert not drops and answer == "따라서 손맷돌은 일 분에 마흔 바퀴를 넘지 않게 돌리는 것이 좋다."
    assert (
        "열이 나면 가루의 향이 날아가고 기름이 빨리 상한다." in question
        and "따라서" not in question
        and rows[0]["confidence"] == 0.5
    )


def test_english(mined, said):
    text = "A stone that turns fast rubs hot against the grain. The heat drives the scent out of the flour and turns its oil. Therefore a hand mill should not make more than forty turns a minute."
    rows, _ = mined("effect", text, options={"tasks": ["effect"]}, lang="en")
    assert said(rows[0])[1].startswith("Therefore a hand mill")


def test_nothing_to_follow_from(mined):
    assert mined(
        "effect",
        "Therefore this page begins with a connective and has nothing before it, which says nothing about causes.",
        lang="en",
    ) == ([], [])


def test_reason(mined):
    text = "A stone that turns fast rubs hot against the grain, and the heat drives the scent out of the flour. Therefore go slow."
    assert mined("effect", text, lang="en") == ([], ["effect.short_answer"])


CAUSE = "A stone that turns fast rubs hot against the grain, and the heat drives the scent out of the flour. {} a hand mill should not make more than forty turns a minute."
OTHER = "The village library opens at nine on Tuesday and closes at six. Visitors may borrow up to five books for two weeks at a time."


def test_why(mined, said):
    text = "A hand mill should not make more than forty turns a minute, whatever is ground. This is because a stone that turns fast rubs hot against the grain."
    question, answer = said(mined("effect", text, lang="en")[0][0])
    assert (
        answer.startswith("This is because")
        and "forty turns" in question
        and ("reason" in question or "Why" in question)
    )
    korean = "손맷돌은 무엇을 갈든지 언제나 일 분에 마흔 바퀴를 넘지 않게 돌린다. 왜냐하면 빨리 도는 돌은 곡식과 비벼지면서 뜨거워지기 때문이다."
    question, answer = said(mined("effect", korean, lang="ko")[0][0])
    assert answer.startswith("왜냐하면") and question.endswith(
        ("써라.\n\n손맷돌은 무엇을 갈든지 언제나 일 분에 마흔 바퀴를 넘지 않게 돌린다.", "왜 그런가?")
    )


def test_which_of_two_follows(mined, said, fact):
    """Drawn for about half of the consequences: the other sentence is from another paragraph and about other things."""
    tasks = set()
    for seed in range(12):
        rows, _ = mined("effect", CAUSE.format("Therefore") + "\n\n" + OTHER, seed=seed, lang="en")
        question, answer = said(rows[0])
        tasks.add(fact(rows[0], "task"))
        if fact(rows[0], "task") == "entail":
            assert (
                answer[:3] in ("A. ", "B. ")
                and answer[3:] == "A hand mill should not make more than forty turns a minute."
            )
            assert (
                answer in question
                and "Therefore" not in question
                and question.count("A. ") == question.count("B. ") == 1
            )
    assert tasks == {"effect", "entail"}


def test_what_hangs_on_something_before_is_no_cause(mined):
    text = "However, these fields move when the text above them is changed by anybody. Therefore page numbers belong into the header or the footer of a page."
    assert mined("effect", text, lang="en") == ([], [])
