def test_short_and_long_words(reasons):
    assert reasons("mean_word_length", ["a b", "word word", "x" * 11]) == [
        "mean_word_length.low",
        None,
        "mean_word_length.high",
    ]


def test_a_text_of_punctuation_has_no_mean(reasons):
    assert reasons("mean_word_length", ["... --- !!!"]) == ["mean_word_length.empty"]


def test_eojeol_are_shorter(reasons):
    assert reasons("mean_word_length", ["우리 함께 가요"], "ko") == [None]
    assert reasons("mean_word_length", ["우리 함께 가요"], "en") == ["mean_word_length.low"]
