"""Folded questions; buttons and code are none."""

ANSWER_KO = "조합원 예순한 집 가운데 아홉 집은 다른 고장에 삽니다. 누구나 가입할 수 있습니다."
ANSWER_EN = "Nine of the sixty-one member households live elsewhere, so anyone may join the mill."


def test_korean_question(mined, said):
    text = f"솔내읍에 살지 않아도 가입할 수 있나요?\n\n{ANSWER_KO}"
    rows, _ = mined(
        "details", text, [("summary", "솔내읍에 살지 않아도 가입할 수 있나요?", 0), ("details", ANSWER_KO, 0)]
    )
    assert said(rows[0]) == ("솔내읍에 살지 않아도 가입할 수 있나요?", ANSWER_KO)
    assert rows[0]["confidence"] == 0.85 and rows[0]["span_start"] == text.index(ANSWER_KO)


def test_english_name_is_asked_about(mined, said):
    rows, _ = mined("details", ANSWER_EN, [("summary", "Joining the mill", 0), ("details", ANSWER_EN, 0)], lang="en")
    question, answer = said(rows[0])
    assert "oining the mill" in question and question != "Joining the mill" and answer == ANSWER_EN
    assert rows[0]["confidence"] == 0.7


def test_reasons(mined):
    blocks = []
    for group, name in enumerate(["더 보기", "Show more...", "fn map<U>(self) -> U", "Analytics cookies", "Short?"]):
        blocks += [
            ("summary", name, group),
            ("details", "Too short." if name == "Short?" else ANSWER_EN + str(group), group),
        ]
    rows, drops = mined("details", "x", blocks, lang="en")
    assert not rows
    assert drops == ["details.stub", "details.stub", "details.unclear", "details.unclear", "details.short_answer"]


def test_a_name_in_a_language_no_template_speaks(mined):
    rows, drops = mined(
        "details",
        "x",
        [("summary", "Mitglied werden", 0), ("details", "Neun der einundsechzig Haushalte wohnen anderswo.", 0)],
        lang="de",
    )
    assert not rows and drops == ["details.other_language"]
