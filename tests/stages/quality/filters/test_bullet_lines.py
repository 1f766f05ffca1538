import pytest


def test_bullets(reasons):
    assert reasons("bullet_lines", ["- a\n  • b", "- a\nb"]) == ["bullet_lines.high", None]


@pytest.mark.parametrize("mark", [*"·ㆍ・∙•‣○●◎▪■□◦◆◇◈▶▷►▲△▣★☆※☞✓①⑳㉮❶", "- ", "* ", "– ", "— ", "― ", "⑴ "])
def test_marks_of_lists_on_korean_pages(reasons, mark):
    page = "\n".join(f"  {mark}항목 {number}의 설명" for number in range(10))
    assert reasons("bullet_lines", [page, page + "\n이어지는 글이 한 줄 있다." * 2]) == ["bullet_lines.high", None]
    gopher = dict.fromkeys(("min_words", "min_mean_length", "min_alphabetic", "min_stop_words"))
    assert reasons("gopher_quality", [page], "ko", **gopher) == ["gopher_quality.bullet_lines.high"]


@pytest.mark.parametrize(
    "line",
    [
        "서울·부산·대구의 시장",
        "**굵은** 글자로 시작하는 줄",
        "–5도까지 내려갔다",
        "가. 나. 다.",
        "1-1-1-1",
        "…그리고 말했다",
    ],
)
def test_marks_inside_or_before_a_word_are_none(reasons, line):
    assert reasons("bullet_lines", ["\n".join([line] * 10)]) == [None]


def test_gopher_decides_as_datatrove_does_outside_korean(reasons):
    page = "\n".join("· thesewords of a line that have to be long" for _ in range(20))
    dash = page.replace("·", "-")
    assert [reasons("gopher_quality", [page, dash], lang, min_mean_length=None) for lang in (None, "en")] == [
        [None, "gopher_quality.bullet_lines.high"]
    ] * 2
