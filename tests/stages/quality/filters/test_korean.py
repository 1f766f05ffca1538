def test_each_rule(reasons):
    texts = [
        "제목 but everything else is English text only",
        "ㅋㅋㅋㅋㅋ 웃겨 ㅠㅠㅠㅠ",
        "안 녕 하 세 요 반 갑 다",
        "아버지가방에들어가신다고어머니가말씀하셨습니다",
        "글자가 \ufffd\ufffd 깨졌다",
        "평범한 한국어 문장이다.",
    ]
    wanted = [
        "korean.hangul.low",
        "korean.jamo.high",
        "korean.single.high",
        "korean.unspaced.high",
        "korean.broken.high",
        None,
    ]
    assert reasons("korean", texts, "ko") == wanted


def test_other_languages_by_decoding_alone(reasons):
    assert reasons("korean", ["An English sentence.", "broken \ufffd text"], "en") == [None, "korean.broken.high"]
