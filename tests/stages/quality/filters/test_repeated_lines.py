def test_lines(reasons):
    assert reasons("repeated_lines", ["one\ntwo\nthree\none\none", "one\ntwo"], max_characters=None) == [
        "repeated_lines.lines.high",
        None,
    ]


def test_characters(reasons):
    text = "\n".join(["a", "b", "c", "d", "long line " * 9, "long line " * 9])
    assert reasons("repeated_lines", [text]) == ["repeated_lines.characters.high"]


def test_korean_keeps_more(reasons):
    text = "가\n나\n다\n라\n마\n바\n가\n나\n다"
    assert reasons("repeated_lines", [text], "ko") == [None]
    assert reasons("repeated_lines", [text], "en", max_characters=None) == ["repeated_lines.lines.high"]
