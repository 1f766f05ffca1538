"""Sections under headings that name something."""

import pytest

BODY = "The runner stone turns above the bed stone and grinds the grain between its furrows. It weighs close to forty kilograms, so that two people lift it together when the runner stone is dressed in spring."
KO_BODY = "위짝은 아래짝 위에서 돌며 곡식을 간다. 무게가 마흔 근에 가까워서 위짝을 쪼을 때에는 두 사람이 함께 든다. 위짝의 아가리로 곡식을 한 줌씩 넣고 천천히 돌린다. 손잡이는 물푸레나무로 깎아 위짝의 가장자리에 박는다."


def page(heading, body):
    return f"{heading}\n\n{body}", [("heading", heading, None, 2), ("paragraph", body)]


def test_english(mined, said):
    rows, drops = mined(
        "section", *page("2.1 The Runner Stone", BODY), title="Parts of a hand mill - Mill Museum", lang="en"
    )
    question, answer = said(rows[0])
    assert (
        not drops
        and answer == BODY
        and "the runner stone" in question
        and "Parts of a hand mill" in question
        and "Museum" not in question
    )
    assert rows[0]["confidence"] == 0.6


def test_korean_in_the_register_of_its_text(mined, said, fact):
    rows, _ = mined("section", *page("위짝", KO_BODY), title="맷돌의 구조", lang="ko")
    assert (
        "‘위짝’" in said(rows[0])[0]
        and said(rows[0])[0].endswith(("써라.", "설명하라. (주제: 맷돌의 구조)"))
        and fact(rows[0], "register") == "plain"
    )


@pytest.mark.parametrize(
    "heading,body",
    [
        ("Overview", BODY),
        ("What is it?", BODY),
        ("How to lift the stone", BODY),
        ("The water wheel", BODY),
        ("The runner stone", "However, " + BODY),
        ("The runner stone", "Short."),
        ("Parts of a hand mill", BODY),
    ],
)
def test_what_is_no_section_to_ask_for(mined, heading, body):
    assert mined("section", *page(heading, body), title="Parts of a hand mill", lang="en") == ([], [])


def test_a_page_without_title_gives_no_context(mined):
    assert mined("section", *page("The runner stone", BODY), lang="en") == ([], [])


def test_links_at_the_end_are_cut_off_and_untranslated_sections_dropped(mined, said):
    text, blocks = page("The runner stone", BODY)
    rows, _ = mined(
        "section", f"{text}\n\nSee also\n\nThe bed stone\n\nFurrows", blocks, title="Parts of a hand mill", lang="en"
    )
    assert said(rows[0])[1] == BODY
    text, blocks = page("위짝", KO_BODY)
    text = text.replace("위짝의 아가리로", "\n\nThe runner stone is lifted by two people in spring.\n\n위짝의 아가리로")
    blocks = [blocks[0], ("paragraph", text.split("\n\n")[1].strip())]
    assert mined("section", text, blocks, title="맷돌의 구조", lang="ko")[1] == ["section.other_language"]


def test_per_page(mined):
    text = "\n\n".join(f"The runner stone {n}\n\n{BODY}" for n in range(9))
    blocks = [part for n in range(9) for part in (("heading", f"The runner stone {n}", None, 2), ("paragraph", BODY))]
    assert len(mined("section", text, blocks, {"per_page": 2}, title="Parts of a hand mill", lang="en")[0]) <= 2
