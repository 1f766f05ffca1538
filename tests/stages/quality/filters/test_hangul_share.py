def test_korean_pages_hold_hangul(reasons):
    texts = ["제목 only English words stand here after all", "한국어 문장에 some English"]
    assert reasons("hangul_share", texts, "ko") == ["hangul_share.low", None]


def test_other_languages_are_not_judged(reasons):
    assert reasons("hangul_share", ["English alone"], "en") == [None]


def test_an_english_corpus_may_refuse_hangul(reasons):
    assert reasons("hangul_share", ["English 안녕 words"], "en", max=0.1) == ["hangul_share.high"]
