"""Threads of posts."""

FIRST = "I bought a pair of basalt stones at the market and they smell of metal. How do I get rid of the smell?"
GOOD = "Grind a litre of coarse salt with half a litre of uncooked rice, throw it away, and stand both stones in the shade for two days."
MORE = "Sunlight helped mine, but only in short turns: an hour in the morning and an hour in the late afternoon, for about one week."
FIRST_KO = "오 리터 솥에 콩물 사 리터를 붓고 끓였더니 거품이 솥 밖으로 넘쳤습니다. 어떻게 해야 하나요?"
GOOD_KO = "거품이 오르면 찬물을 반 컵씩 뿌리고 불을 줄이세요. 솥은 반만 채우는 것이 가장 중요하고, 넓은 솥일수록 덜 넘칩니다. 저는 두 번에 나누어 끓입니다. 들기름을 두 방울 넣는 사람도 있습니다."


def test_english_replies_in_order(mined, said):
    posts = [
        FIRST,
        "Thanks, following this thread with interest because I have the very same problem with mine.",
        GOOD,
        "Did you try salt, and if so how much of it did you use on the stones, and for how many days?",
        MORE,
    ]
    rows, _ = mined(
        "thread",
        "\n\n".join(posts),
        [("post", post, n) for n, post in enumerate(posts)],
        lang="en",
        title="Stone smell | The Mill Forum",
    )
    assert [said(row)[1] for row in rows] == [GOOD, MORE]
    assert said(rows[0])[0] == f"Stone smell\n\n{FIRST}" or said(rows[0])[0] == f"The Mill Forum\n\n{FIRST}"
    assert [row["confidence"] for row in rows] == [0.5, 0.45]


def test_korean(mined, said):
    rows, _ = mined("thread", f"{FIRST_KO}\n\n{GOOD_KO}", [("post", FIRST_KO, 0), ("post", GOOD_KO, 1)], lang="ko")
    assert [said(row) for row in rows] == [(FIRST_KO, GOOD_KO)] and rows[0]["lang"] == "ko"


def test_a_thread_that_asks_nothing_or_is_declared(mined):
    told = [("post", "I sharpened my stones today.", 0), ("post", GOOD, 1)]
    assert mined("thread", "x", told, lang="en", title="My day") == ([], [])
    declared = [("question", FIRST, 0), ("answer", GOOD, 0), ("post", FIRST, 1), ("post", GOOD, 2)]
    assert mined("thread", "x", declared, lang="en") == ([], [])


def test_reason(mined):
    long = "Why? " + "word " * 700
    rows, drops = mined("thread", "x", [("post", long, 0), ("post", GOOD, 1)], lang="en")
    assert not rows and drops == ["thread.long_question"]
