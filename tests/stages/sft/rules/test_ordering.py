"""Steps shuffled, to be put in order."""

KO = "콩물 내기\n\n1. 콩을 물에 여덟 시간 불립니다.\n2. 불린 콩을 맷돌에 한 숟가락씩 넣습니다.\n3. 물을 조금씩 부으면서 돌립니다.\n4. 나온 콩물을 베 보자기에 거릅니다.\n\n끝."


def test_korean_numbered_lines(mined, said, fact):
    rows, drops = mined("ordering", KO, [("heading", "콩물 내기", None, 2)], lang="ko")
    question, answer = said(rows[0])
    steps = KO.split("\n\n")[1]
    assert not drops and answer == steps and rows[0]["span_start"] == KO.index("1. ")
    shown = [line[2:] for line in question.splitlines() if line.startswith("- ")]
    assert sorted(shown) == sorted(line[3:] for line in steps.splitlines()) and shown != [
        line[3:] for line in steps.splitlines()
    ]
    assert "콩물 내기" in question and fact(rows[0], "task") == "order"


def test_english_declared_steps(mined, said):
    steps = [f"Do thing number {n} with care." for n in ("one", "two", "three", "four", "five")]
    rows, _ = mined("ordering", "x", [("heading", "The five things", 0), *(("step", s, 0) for s in steps)], lang="en")
    question, answer = said(rows[0])
    assert answer.splitlines() == [f"{n}. {s}" for n, s in enumerate(steps, 1)] and "The five things" in question
    assert rows[0]["span_start"] is None


def test_lists_that_are_too_short_or_start_elsewhere(mined):
    short = "Steps\n\n1. Take the stone in hand.\n2. Put it back again.\n"
    later = "Steps\n\n4. Take the stone in hand.\n5. Look at it closely.\n6. Put it back again.\n7. Go home at last.\n"
    assert mined("ordering", short, lang="en", title="Steps") == ([], [])
    assert mined("ordering", later, lang="en", title="Steps") == ([], [])
