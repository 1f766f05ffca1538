TEXT = "첫 문장은 한국어이다. 둘째 문장도 그렇고 셋째 문장도 그렇다.\nThis is a line that was not translated.\nfor (i = 0; i < n; i++) total += values[i];"


def test_english_prose_goes_and_code_stays(edited):
    assert "not translated" not in edited("untranslated_lines", TEXT, "ko")
    assert "total += values" in edited("untranslated_lines", TEXT, "ko")


def test_english_pages_are_left_alone(edited):
    assert edited("untranslated_lines", TEXT, "en") == TEXT


def test_a_page_that_is_mostly_english_goes(reasons):
    text = "제목\nThis is a line that was not translated.\nAnd this one is of the same kind."
    assert reasons("untranslated_lines", [text], "ko") == ["untranslated_lines.removed.high"]
