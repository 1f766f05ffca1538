def test_headings_go(edited):
    assert edited("terminal_lines", "제목\n문장이다.\n이어지는…\n中文。\n(End.)") == "문장이다.\n中文。\n(End.)"


def test_a_document_may_lose_too_much(reasons):
    assert reasons("terminal_lines", ["one two three four\nEnd."], max_removed=0.5) == ["terminal_lines.removed.high"]
