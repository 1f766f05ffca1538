def test_encoded_data(reasons):
    assert reasons("longest_word", ["x" * 1001, "x" * 1000]) == ["longest_word.high", None]
