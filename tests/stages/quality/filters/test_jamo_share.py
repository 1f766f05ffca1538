def test_chat(reasons):
    assert reasons("jamo_share", ["ㅇㅇ ㅋㅋ 응", "재밌다 ㅋㅋ 정말로", "no hangul"]) == ["jamo_share.high", None, None]


def test_decomposed_syllables(reasons):
    import unicodedata

    assert reasons("jamo_share", [unicodedata.normalize("NFD", "안녕하세요")]) == ["jamo_share.high"]
