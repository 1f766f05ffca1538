"""What follows a connective of consequence."""


def test_korean(mined, said):
    text = "빨리 돌리면 돌과 곡식이 비벼지면서 열이 난다. 열이 나면 가루의 향이 날아가고 기름이 빨리 상한다. 따라서 손맷돌은 일 분에 마흔 바퀴를 넘지 않게 돌리는 것이 좋다."
    rows, drops = mined("effect", text, lang="ko")
    question, answer = said(rows[0])
    assert not drops and answer == "따라서 손맷돌은 일 분에 마흔 바퀴를 넘지 않게 돌리는 것이 좋다."
    assert "열이 나면 가루의 향이 날아가고 기름이 빨리 상한다." in question and "따라서" not in question and rows[0]["confidence"] == 0.5


def test_english(mined, said):
    text = "A stone that turns fast rubs hot against the grain. The heat drives the scent out of the flour and turns its oil. Therefore a hand mill should not make more than forty turns a minute."
    rows, _ = mined("effect", text, lang="en")
    assert said(rows[0])[1].startswith("Therefore a hand mill")


def test_nothing_to_follow_from(mined):
    assert mined("effect", "Therefore this page begins with a connective and has nothing before it, which says nothing about causes.", lang="en") == ([], [])


def test_reason(mined):
    text = "A stone that turns fast rubs hot against the grain, and the heat drives the scent out of the flour. Therefore go slow."
    assert mined("effect", text, lang="en") == ([], ["effect.short_answer"])
