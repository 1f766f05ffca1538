def test_a_blank_after_every_syllable(reasons):
    assert reasons("spacing", ["안 녕 하 세 요 반 갑 다", "안녕하세요 반갑습니다"], "ko") == [
        "spacing.single.high",
        None,
    ]


def test_no_blanks_at_all(reasons):
    assert reasons("spacing", ["아버지가방에들어가신다고어머니가말씀하셨습니다"], "ko") == ["spacing.unspaced.high"]


def test_other_languages_are_not_judged(reasons):
    assert reasons("spacing", ["a b c"], "en") == [None]
