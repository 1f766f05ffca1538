"""Declared questions: all answers kept, accepted first, answers put back where they stand."""

KO = "자주 묻는 질문\n\n맷돌은 얼마나 무겁나요?\n\n보통 이십 킬로그램쯤 됩니다.\n\n끝."
EN = "How heavy is a millstone?\n\nAbout twenty kilograms,  for a\nhand mill.\n\nEnd."


def test_korean_answer_stands_in_the_text(mined, said):
    rows, drops = mined(
        "faq", KO, [("question", "맷돌은 얼마나 무겁나요?", 0), ("answer", "보통 이십 킬로그램쯤 됩니다.", 0)]
    )
    assert not drops
    assert said(rows[0]) == ("맷돌은 얼마나 무겁나요?", "보통 이십 킬로그램쯤 됩니다.")
    assert rows[0]["span_start"] == KO.index("보통") and rows[0]["lang"] == "ko" and rows[0]["confidence"] == 0.95


def test_english_answer_is_attached_across_white_space(mined, said):
    rows, _ = mined(
        "faq",
        EN,
        [("question", "How heavy is a millstone?", 0), ("answer", "About twenty kilograms, for a hand mill.", 0)],
    )
    assert said(rows[0])[1] == "About twenty kilograms,  for a\nhand mill."
    assert rows[0]["lang"] == "en"


def test_all_answers_are_kept_and_the_accepted_one_comes_first(mined, said, fact):
    blocks = [
        ("question", "Why is it slow?", 3),
        ("answer", "It is old.", 3),
        ("accepted_answer", "The stone is worn.", 3),
        ("answer", "Feed less.", 3),
    ]
    rows, _ = mined("faq", "Nothing of it stands here.", blocks)
    assert [said(row)[1] for row in rows] == ["The stone is worn.", "It is old.", "Feed less."]
    assert [fact(row, "accepted") for row in rows] == ["true", "false", "false"]
    assert [row["confidence"] for row in rows] == [0.95, 0.8, 0.8]
    assert all(row["span_start"] is None for row in rows)


def test_dropped_only_for_an_empty_question_or_answer(mined):
    blocks = [
        ("question", "?!", 0),
        ("answer", "Yes.", 0),
        ("question", "Open?", 1),
        ("answer", " - ", 1),
        ("question", "Who?", 2),
        ("answer", "Me", 2),
        ("question", "Alone?", 4),
    ]
    rows, drops = mined("faq", "x", blocks)
    assert drops == ["faq.empty_question", "faq.empty_answer", "faq.empty_answer"]
    assert [row["messages"][1]["content"] for row in rows] == ["Me"]


def test_the_same_pair_in_two_syntaxes_is_one_row(mined):
    blocks = [
        ("question", "Open?", 0),
        ("answer", "From nine to five.", 0),
        ("question", "Open ?", 1),
        ("answer", "From nine to five", 1),
    ]
    rows, drops = mined("faq", "x", blocks)
    assert len(rows) == 1 and drops == ["faq.duplicate"]


def test_questions_without_a_group_take_the_answers_that_follow(mined, said):
    rows, _ = mined(
        "faq",
        "x",
        [
            ("question", "어디에 있나요?", None),
            ("answer", "솔내읍에 있습니다.", None),
            ("question", "언제 여나요?", None),
            ("answer", "아홉 시에 엽니다.", None),
        ],
    )
    assert [said(row) for row in rows] == [
        ("어디에 있나요?", "솔내읍에 있습니다."),
        ("언제 여나요?", "아홉 시에 엽니다."),
    ]


def test_a_page_of_ten_thousand_questions(mined):
    pieces = [(f"Question number {n}?", f"Answer number {n} is this.") for n in range(10_000)]
    text = "\n".join(f"{q}\n{a}" for q, a in pieces)
    blocks = [item for n, (q, a) in enumerate(pieces) for item in (("question", q, n), ("answer", a, n))]
    rows, drops = mined("faq", text, blocks)
    assert len(rows) == 10_000 and not drops
