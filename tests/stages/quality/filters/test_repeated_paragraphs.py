def test_paragraphs(reasons):
    text = "one\n\ntwo\n\none\n\none"
    assert reasons("repeated_paragraphs", [text, "one\n\ntwo"], max_characters=None) == [
        "repeated_paragraphs.paragraphs.high",
        None,
    ]


def test_characters(reasons):
    text = "\n\n".join(["a", "b", "c", "d", "long " * 20 + "end", "long " * 20 + "end"])
    assert reasons("repeated_paragraphs", [text]) == ["repeated_paragraphs.characters.high"]


def test_a_single_line_feed_parts_no_paragraphs(reasons):
    assert reasons("repeated_paragraphs", ["same\nsame\nsame\nsame"]) == [None]
