"""Keywords of a passage, and a passage from its keywords."""

KO = "맷돌은 위짝과 아래짝으로 이루어진다. 위짝은 돌아가고 아래짝은 움직이지 않는다. 곡식은 위짝의 구멍으로 들어가 두 돌 사이에서 갈린다. 맷돌의 아래짝에는 중쇠가 박혀 있어서 위짝이 벗어나지 않고, 중쇠가 닳으면 위짝이 흔들린다. 곡식을 한꺼번에 많이 넣으면 맷돌이 무거워지고, 곡식을 너무 적게 넣으면 돌끼리 닿아서 닳는다. 그러므로 곡식은 한 숟가락씩 넣는다."
EN = "The runner turns over the bedstone. Grain falls through the eye of the runner and is ground between the runner and the bedstone. An iron pin in the bedstone keeps the runner in its place, and when the pin wears out the runner begins to wobble. Too much grain makes the runner heavy, and too little grain lets the stones touch."


def both(mined, text, **columns):
    made = {}
    for seed in range(30):
        rows, drops = mined("keyword", text, seed=seed, **columns)
        assert not drops and len(rows) == 1
        made[next(item["value"] for item in rows[0]["meta"] if item["key"] == "task")] = rows[0]
    return made


def test_korean(mined, said):
    made = both(mined, KO, lang="ko", title="맷돌의 구조")
    question, answer = said(made["write"])
    assert answer == KO and made["write"]["span_start"] == 0 and made["write"]["confidence"] == 0.5
    assert all(word in question for word in ("위짝", "아래짝", "곡식"))
    question, answer = said(made["keywords"])
    assert (
        KO in question
        and set(answer.split(", ")) >= {"위짝", "아래짝", "곡식"}
        and made["keywords"]["confidence"] == 0.4
    )


def test_english(mined, said):
    made = both(mined, EN, lang="en", title="Runner and bedstone")
    assert said(made["write"])[1] == EN
    assert {"runner", "bedstone", "grain"} <= {word.lower() for word in said(made["keywords"])[1].split(", ")}


def test_a_page_without_repeated_words_gives_nothing(mined):
    assert mined("keyword", "A quick brown fox jumps. " * 2, lang="en") == ([], [])


def test_an_english_passage_on_a_korean_page_is_left_out(mined):
    assert mined("keyword", EN, lang="ko") == ([], [])
