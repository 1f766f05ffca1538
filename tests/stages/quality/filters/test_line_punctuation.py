def test_lines_without_an_end(reasons):
    assert reasons("line_punctuation", ["Menu\nHome\nAbout", "Home\nThis ends.", "これは文です。"]) == [
        "line_punctuation.low",
        None,
        None,
    ]


def test_a_blank_after_the_mark_is_no_end(reasons):
    assert reasons("line_punctuation", ["This ends. "]) == ["line_punctuation.low"]


def test_korean_as_fineweb_2(reasons):
    text = "\n".join(["줄"] * 14 + ["끝이다."])  # one in fifteen
    assert reasons("line_punctuation", [text], "ko") == [None]
    assert reasons("line_punctuation", [text], "en") == ["line_punctuation.low"]
