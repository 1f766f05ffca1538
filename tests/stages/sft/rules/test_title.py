"""Summarise, title, continue."""

import pytest

KO = """맷돌은 맷손을 잡고 위짝을 돌려 곡식을 가루로 만드는 돌이며, 움직이지 않는 아래짝의 중쇠가 위짝이 벗어나지 않게 한다.

맷돌의 위짝은 돌아가는 돌이다. 가운데에 곡식을 넣는 구멍이 있고, 옆에는 맷손이라는 손잡이가 박혀 있다. 사람은 맷손을 잡고 위짝을 돌린다.

아래짝은 움직이지 않는 돌이다. 한가운데에 중쇠라는 쇠막대가 박혀 있어서 위짝이 옆으로 벗어나지 않는다. 두 돌 사이에서 곡식이 갈린다.

가루의 굵기는 돌의 빠르기와 넣는 곡식의 양이 정한다. 빨리 돌리면 돌이 뜨거워져서 가루의 향이 날아가고 맛이 떨어진다고 한다.

"""
EN = """A runner turns over a bedstone, and how fine the flour gets depends on the speed of the upper stone and the grain that people feed it.

The runner is the upper stone. It has an eye in the middle for the grain, and a handle at the side. People hold the handle and turn the runner for hours.

The bedstone is the lower stone. It does not turn at all. An iron pin in its middle keeps the runner from sliding off while the grain is ground.

How fine the flour gets depends on the speed of the runner and on how much grain is fed into the eye. Fast stones get hot and spoil the flour.

"""


def one(mined, task, text, **columns):
    rows, drops = mined("title", text, options={"tasks": [task]}, **columns)
    assert not drops and len(rows) == 1
    return rows[0]


def test_korean_lead_summarises_the_rest(mined, said, fact):
    row = one(mined, "summarise", KO, lang="ko", title="맷돌")
    question, answer = said(row)
    assert answer == KO.split("\n\n")[0] and "아래짝은 움직이지 않는 돌이다." in question and answer not in question
    assert fact(row, "task") == "summarise" and fact(row, "register") == "plain" and row["confidence"] == 0.55


def test_english_lead_summarises_the_rest(mined, said):
    question, answer = said(one(mined, "summarise", EN, lang="en", title="Millstones"))
    assert answer == EN.split("\n\n")[0] and "The bedstone is the lower stone." in question


def test_a_declared_description_is_the_summary(mined, said):
    said_so = "A millstone is a runner that turns over a bedstone and grinds grain into flour."
    row = one(mined, "summarise", EN, lang="en", meta=[{"key": "description", "value": said_so}])
    assert said(row)[1] == said_so and row["span_start"] is None


def test_a_lead_that_says_something_else_is_no_summary(mined):
    other = "Our summer party takes place on Saturday evening, with music, lanterns and dancing for the whole village. Everybody is welcome."
    assert mined("title", other + "\n\n" + EN, options={"tasks": ["summarise"]}, lang="en") == ([], [])


@pytest.mark.parametrize(
    "text,title,lang",
    [
        (KO, "맷돌의 위짝과 아래짝 | 솔내 방앗간", "ko"),
        (EN, "3.1 Runner and bedstone of a millstone - The Handbook", "en"),
    ],
)
def test_title_without_the_site_and_number(mined, said, text, title, lang):
    question, answer = said(one(mined, "title", text, lang=lang, title=title))
    assert answer == {"ko": "맷돌의 위짝과 아래짝", "en": "Runner and bedstone of a millstone"}[lang]
    assert answer not in question


def test_a_title_the_text_does_not_speak_of(mined):
    assert mined("title", EN, options={"tasks": ["title"]}, lang="en", title="Welcome to our summer party") == ([], [])


@pytest.mark.parametrize("text,lang,title", [(KO, "ko", "맷돌 이야기"), (EN, "en", "Millstones")])
def test_continue(mined, said, text, lang, title):
    paragraphs = text.strip().split("\n\n")
    for seed in range(8):
        rows, _ = mined("title", text, options={"tasks": ["continue"]}, seed=seed, lang=lang, title=title)
        for row in rows:
            question, answer = said(row)
            assert paragraphs[paragraphs.index(answer) - 1] in question


def test_tasks_are_drawn_by_seed_and_id(mined, fact):
    few = {"per_page": 1}
    tasks = {
        fact(
            mined("title", EN, options=few, seed=seed, lang="en", title="Runner and bedstone of a millstone")[0][0],
            "task",
        )
        for seed in range(20)
    }
    assert tasks == {"summarise", "title", "continue"}
    again = [mined("title", EN, options=few, seed=3, lang="en", title="Runner and bedstone")[0] for _ in range(2)]
    assert again[0] == again[1] and len(again[0]) == 1


def test_nothing_in_a_language_no_template_speaks(mined):
    assert mined("title", EN, lang="de") == ([], [])


@pytest.mark.parametrize(
    "lang,paragraph",
    [
        ("ko", "The runner turns over the bedstone and nobody has translated this paragraph."),
        ("en", "위짝은 아래짝 위에서 돌아가며, 이 문단은 아무도 옮기지 않았다."),
    ],
)
def test_a_text_that_is_half_translated_is_not_shown(mined, lang, paragraph):
    parts = (KO if lang == "ko" else EN).strip().split("\n\n")
    mixed = "\n\n".join([*parts[:2], paragraph, *parts[2:]])
    assert mined(
        "title",
        mixed,
        options={"tasks": ["summarise", "title"]},
        lang=lang,
        title={"ko": "맷돌의 위짝과 아래짝", "en": "Runner and bedstone of a millstone"}[lang],
    ) == ([], [])
