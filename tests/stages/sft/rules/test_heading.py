"""Question headings and the sections below them."""

KO = "맷돌\n\n맷돌은 왜 돌로 만드나요?\n\n돌은 무겁고 단단해서 곡식을 고르게 누릅니다. 쇠는 뜨거워지기 쉽습니다.\n\n다른 이야기\n\n장터는 닷새마다 섭니다."
EN = "3.1. What is a bedstone?\n\nThe bedstone is the lower stone of a mill. It does not turn.\n\nKinds\n\nSome are of granite and some are of basalt, as the quarry gives.\n\nNext\n\nOther."


def test_korean(mined, said):
    rows, drops = mined(
        "heading",
        KO,
        [
            ("heading", "맷돌", None, 1),
            ("heading", "맷돌은 왜 돌로 만드나요?", None, 2),
            ("heading", "다른 이야기", None, 2),
        ],
        lang="ko",
    )
    assert [said(row) for row in rows] == [
        ("맷돌은 왜 돌로 만드나요?", "돌은 무겁고 단단해서 곡식을 고르게 누릅니다. 쇠는 뜨거워지기 쉽습니다.")
    ]
    assert rows[0]["confidence"] == 0.85 and not drops


def test_english_with_its_subsections_and_without_its_number(mined, said):
    rows, _ = mined(
        "heading",
        EN,
        [("heading", "3.1. What is a bedstone?", None, 2), ("heading", "Kinds", None, 3), ("heading", "Next", None, 2)],
        lang="en",
    )
    question, answer = said(rows[0])
    assert question == "What is a bedstone?"
    assert (
        answer.startswith("The bedstone") and answer.endswith("as the quarry gives.") and rows[0]["confidence"] == 0.75
    )


def test_a_section_too_long_gives_its_own_text(mined, said):
    rows, _ = mined(
        "heading",
        EN,
        [("heading", "3.1. What is a bedstone?", None, 2), ("heading", "Kinds", None, 3), ("heading", "Next", None, 2)],
        {"max_answer": 80},
        lang="en",
    )
    assert said(rows[0])[1] == "The bedstone is the lower stone of a mill. It does not turn."


def test_markdown_headings_where_there_are_no_blocks(mined, said):
    text = "# 안내\n\n## 어디서 사나요?\n\n솔내장터 다리머리에서 아침 여덟 시부터 팝니다. 일찍 오세요.\n\n```\n# 왜 이것은 아닌가요?\n```\n"
    rows, _ = mined("heading", text, lang="ko")
    assert [said(row)[0] for row in rows] == ["어디서 사나요?"]


def test_no_question_no_row(mined):
    assert mined("heading", KO, [("heading", "맷돌", None, 1), ("heading", "다른 이야기", None, 2)], lang="ko") == (
        [],
        [],
    )


def test_reasons(mined):
    names = ["Ready to start?", "What is it?", "Is it far?", "얼마나 걸리나요?"]
    bodies = [
        "We would be glad to help you with your new mill today.",
        "Short.",
        "north | south | east | west | all of the quarters",
        "It takes about three days to dress a pair of stones.",
    ]
    text = "\n\n".join(f"{name}\n\n{body}" for name, body in zip(names, bodies))
    rows, drops = mined("heading", text, [("heading", name, None, 2) for name in names], lang="en")
    assert not rows
    assert drops == ["heading.stub", "heading.short_answer", "heading.unclear", "heading.other_language"]


def test_threads_are_left_to_their_own_rule(mined):
    text = "Which stone?\n\nI want to buy a stone for wet beans, which one is it?\n\nBasalt, because its pores keep the edge."
    posts = [("post", text.split("\n\n")[1], 0), ("post", text.split("\n\n")[2], 1)]
    assert mined("heading", text, [("heading", "Which stone?", None, 1), *posts]) == ([], [])
