"""Terms with definitions; names with values are none."""


def test_korean_term_is_asked_in_the_register_of_its_definition(mined, said, fact):
    meaning = "맷돌의 위짝을 돌리는 나무 손잡이이다. 물푸레나무로 만든 것이 가장 오래 간다."
    rows, _ = mined(
        "definition",
        f"맷손\n{meaning}",
        [("term", "맷손", 0), ("definition", meaning, 0)],
        lang="ko",
        title="낱말 풀이",
    )
    question, answer = said(rows[0])
    assert "맷손" in question and answer == meaning
    assert fact(rows[0], "register") == "plain" and not question.endswith(("요.", "요?", "십시오.", "니까?"))


def test_english_term(mined, said):
    meaning = "The upper stone of a mill, which turns over the bedstone and carries the eye."
    rows, _ = mined("definition", meaning, [("term", "Runner stone:", 0), ("definition", meaning, 0)], lang="en")
    assert "Runner stone" in said(rows[0])[0] and said(rows[0])[1] == meaning and rows[0]["confidence"] == 0.75


def test_a_question_in_a_term_is_asked_as_it_is(mined, said):
    rows, _ = mined(
        "definition",
        "x",
        [
            ("term", "간수는 어디서 구하나요?", 0),
            ("definition", "방앗간에서 작은 병에 담아 나누어 드립니다. 빈 병을 가져오시면 됩니다.", 0),
        ],
        lang="ko",
    )
    assert said(rows[0])[0] == "간수는 어디서 구하나요?" and rows[0]["confidence"] == 0.85


def test_every_definition_of_a_term_is_kept(mined):
    a, b = "A wooden frame in which curds are pressed.", "A measure of grain, about eighteen litres in all."
    rows, _ = mined(
        "definition", f"{a}\n{b}", [("term", "Box", 0), ("definition", a, 0), ("definition", b, 0)], lang="en"
    )
    assert [row["messages"][1]["content"] for row in rows] == [a, b]


def test_reasons(mined):
    blocks = [
        ("term", "2024-01-05", 0), ("definition", "The day on which the new stone was set into the mill.", 0),
        ("term", "Author", 1), ("definition", "Kim Dol-soe", 1),
        ("term", "1.2. Scope", 2), ("definition", "1.2.1. What it covers 1.2.2. What it does not cover at all", 2),
        ("term", "Meule", 3), ("definition", "", 3),
    ]  # fmt: skip
    rows, drops = mined("definition", "x", blocks, lang="en")
    assert not rows
    assert drops == ["definition.unclear", "definition.short_answer", "definition.unclear", "definition.empty_answer"]
