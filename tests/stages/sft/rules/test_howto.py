"""How-to headings and declared steps."""

import pytest

KO_BODY = "먼저 전원을 켜고 케이블을 꽂습니다. 화면에서 프린터를 고르고 다음을 누릅니다. 끝으로 시험 인쇄를 하여 종이에 줄이 없는지 봅니다."
EN_BODY = "Turn the printer on and plug in the cable. Choose the printer on the screen and press Next. Print a test page and look for streaks."


@pytest.mark.parametrize(
    "heading,part",
    [
        ("프린터를 설치하는 방법", "프린터를 설치하는 방법"),
        ("3. 종이 만들기", "종이 만드는 방법"),
        ("창 바꾸기", "창 바꾸는 방법"),
        ("네트워크 프린터 설치", "네트워크 프린터 설치"),
    ],
)
def test_korean_headings(mined, said, fact, heading, part):
    rows, drops = mined("howto", f"{heading}\n\n{KO_BODY}", [("heading", heading, None, 2)], lang="ko")
    question, answer = said(rows[0])
    assert part in question and answer == KO_BODY and not drops
    assert fact(rows[0], "register") == "formal" and question.endswith(("십시오.", "니까?"))


@pytest.mark.parametrize(
    "heading,part",
    [
        ("How to Install a Printer", "install a printer"),
        ("Set up a printer", "set up a printer"),
        ("Installing a printer", "installing a printer"),
        ("2.1 Add a Printer on Debian", "add a printer on Debian"),
    ],
)
def test_english_headings(mined, said, heading, part):
    rows, _ = mined("howto", f"{heading}\n\n{EN_BODY}", [("heading", heading, None, 2)], lang="en")
    question, answer = said(rows[0])
    assert part in question and answer == EN_BODY and rows[0]["confidence"] == 0.75


@pytest.mark.parametrize(
    "heading,lang",
    [
        ("소개", "ko"),
        ("옛날 이야기", "ko"),
        ("분위기", "ko"),
        ("Introduction", "en"),
        ("Morning news of the mill", "en"),
        ("What is it?", "en"),
        ("Installation", "de"),
    ],
)
def test_other_headings(mined, heading, lang):
    assert mined(
        "howto", f"{heading}\n\n{EN_BODY if lang == 'en' else KO_BODY}", [("heading", heading, None, 2)], lang=lang
    ) == ([], [])


def test_declared_steps_in_korean(mined, said):
    steps = ["콩을 물에 불립니다.", "불린 콩을 맷돌에 갑니다.", "콩물을 베에 거릅니다."]
    rows, _ = mined("howto", "x", [("heading", "콩물 내기", 0), *(("step", s, 0) for s in steps)], lang="ko")
    question, answer = said(rows[0])
    assert (
        "콩물 내는 방법" in question
        and answer == "1. 콩을 물에 불립니다.\n2. 불린 콩을 맷돌에 갑니다.\n3. 콩물을 베에 거릅니다."
    )
    assert rows[0]["confidence"] == 0.9 and rows[0]["span_start"] is None


def test_declared_steps_that_stand_together_have_a_span(mined, said):
    steps = [
        "1. Soak the beans overnight in cold water.",
        "2. Grind them with a little water.",
        "3. Strain the milk through a cloth.",
    ]
    text = "Soy milk\n\n" + "\n".join(steps)
    rows, _ = mined("howto", text, [("heading", "Make soy milk", 0), *(("step", s, 0) for s in steps)], lang="en")
    assert said(rows[0])[1] == "\n".join(steps) and rows[0]["span_start"] == text.index("1. Soak")
    assert "make soy milk" in said(rows[0])[0].lower()


def test_reasons(mined):
    text = f"Set up a printer\n\nSee below.\n\nInstalling a scanner\n\n{'menu | file | scan ' * 6}"
    rows, drops = mined(
        "howto",
        text,
        [("heading", "Set up a printer", None, 2), ("heading", "Installing a scanner", None, 2)],
        lang="en",
    )
    assert not rows and drops == ["howto.short_answer", "howto.unclear"]


LONG = "먼저 대화 상자를 열고 목록에서 조건을 고릅니다. 이름을 입력한 다음 확인을 클릭합니다. 조건이 목록에 나타나면 저장합니다. 다시 고치려면 조건을 두 번 클릭합니다."


@pytest.mark.parametrize(
    "heading,asked",
    [
        ("조건 추가", "‘양식 편집기’에서 조건 추가"),
        ("셀을 편집", "셀을 편집하는 방법"),
        ("새 구역을 삽입하려면", "새 구역을 삽입하려면 어떻게"),
        ("데이터베이스 필드 자동 변경", "데이터베이스 필드 자동 변경"),
    ],
)
def test_korean_headings_are_asked_naturally(mined, said, heading, asked):
    rows, drops = mined(
        "howto", f"{heading}\n\n{LONG}", [("heading", heading, None, 2)], lang="ko", title="양식 편집기"
    )
    assert not drops and asked in said(rows[0])[0]


@pytest.mark.parametrize("heading", ["바꾸기", "에서 시작하기", "Add it"])
def test_what_says_too_little_is_unclear(mined, heading):
    text, lang = (LONG, "ko") if heading[0] >= "가" else (EN_BODY, "en")
    assert mined("howto", f"{heading}\n\n{text}", [("heading", heading, None, 2)], lang=lang) == ([], ["howto.unclear"])


@pytest.mark.parametrize("heading", ["내보내기와 가져오기", "발음 표기"])
def test_what_no_template_asks_for(mined, heading):
    assert mined("howto", f"{heading}\n\n{LONG}", [("heading", heading, None, 2)], lang="ko") == ([], [])


def test_english_left_in_a_korean_answer(mined):
    text = f"조건 추가하기\n\n{LONG}\n\nChoose Tools - Detective - Remove Dependents.\n\n{LONG}"
    assert mined("howto", text, [("heading", "조건 추가하기", None, 2)], lang="ko")[1] == ["howto.other_language"]


def test_related_links_and_captions_are_cut_off(mined, said):
    text = f"창 크기 바꾸기\n\n{LONG}\n\n조건 아이콘\n\n관련 주제\n\n대화 상자 지침"
    assert said(mined("howto", text, [("heading", "창 크기 바꾸기", None, 2)], lang="ko")[0][0])[1] == LONG
