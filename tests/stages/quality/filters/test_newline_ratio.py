def test_a_break_every_word(reasons):
    assert reasons("newline_ratio", ["a\nb\nc", "a b c d e\nf"]) == ["newline_ratio.high", None]
