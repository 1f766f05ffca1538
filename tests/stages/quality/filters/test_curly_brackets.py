def test_code(reasons):
    assert reasons("curly_brackets", ["if (x) {", "if (x)"]) == ["curly_brackets.high", None]
