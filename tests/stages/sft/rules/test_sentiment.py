"""Ratings on a stated scale, never a guessed one."""

import pytest

KO = "배우들의 연기가 참 좋았고 끝까지 지루하지 않았다."
EN = "The acting was wonderful and I was never bored."


def meta(**values):
    return [{"key": key, "value": value} for key, value in values.items()]


@pytest.mark.parametrize(
    "values,share",
    [
        ({"rating": "9", "best": "10"}, 0),
        ({"rating": "2", "best": "10"}, 1),
        ({"label": "긍정"}, 0),
        ({"sentiment": "Negative"}, 1),
        ({"stars": "5", "bestRating": "5"}, 0),
    ],
)
def test_korean_in_one_register(mined, said, fact, values, share):
    rows, drops = mined("sentiment", KO, lang="ko", meta=meta(**values))
    question, answer = said(rows[0])
    assert not drops and KO in question and answer[:2] == ("긍정", "부정")[share]
    ends = {"formal": ("십시오.", "입니다."), "polite": ("요?", "이에요."), "plain": ("하라.", "이다.")}[
        fact(rows[0], "register")
    ]
    assert question.split("\n")[0].endswith(ends[0]) and answer.endswith(ends[1])


def test_english_with_the_scale_as_an_option(mined, said):
    rows, _ = mined("sentiment", EN, options={"best": 5}, lang="en", meta=meta(stars="1"))
    assert said(rows[0])[1] == "Negative." and rows[0]["confidence"] == 0.7


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rating": "4"},
        {"rating": "6", "best": "10"},
        {"rating": "11", "best": "10"},
        {"rating": "good?", "best": "10"},
        {"rating": "nan", "best": "5"},
    ],
)
def test_no_scale_no_row(mined, values):
    assert mined("sentiment", EN, lang="en", meta=meta(**values)) == ([], [])


def test_reviews_that_a_page_declares_with_their_rating(mined, said):
    blocks = [
        ("review", "맷돌이 튼튼하고 곱게 갈려서 아주 만족합니다.", 0, 100),
        ("review", "한 달 만에 손잡이가 부러져서 쓸 수가 없습니다.", 1, 20),
        ("review", "그저 그런 맷돌이라고 생각합니다.", 2, 60),
    ]
    rows, drops = mined("sentiment", "맷돌 상품평", blocks, lang="ko")
    assert len(rows) == 2 and not drops and said(rows[0])[1].startswith("긍정") and said(rows[1])[1].startswith("부정")
    assert "만족합니다" in said(rows[0])[0]
