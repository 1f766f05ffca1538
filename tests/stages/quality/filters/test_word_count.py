def test_short_and_long(reasons):
    assert reasons("word_count", ["a b", "a b c", "a b c d"], min=3, max=3) == [
        "word_count.low",
        None,
        "word_count.high",
    ]


def test_words_of_punctuation_do_not_count(reasons):
    assert reasons("word_count", ["a - ... b"], min=3) == ["word_count.low"]


def test_korean_has_a_limit_of_its_own(reasons):
    text = " ".join(["낱말"] * 40)
    assert reasons("word_count", [text], "ko") == [None]
    assert reasons("word_count", [text], "en") == ["word_count.low"]


def test_a_given_limit_holds_for_every_language(reasons):
    assert reasons("word_count", ["한 두 세"], "ko", min=3) == [None]
    assert reasons("word_count", ["한 두 세"], "ko", min=3, languages={"ko": {"min": 4}}) == ["word_count.low"]
