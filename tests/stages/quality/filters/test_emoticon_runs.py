def test_runs_are_shortened(edited):
    assert edited("emoticon_runs", "재밌다 ㅋㅋㅋㅋㅋ ㅠㅠㅠ 진짜!!!! 하하하") == "재밌다 ㅋㅋ ㅠㅠ 진짜!! 하하하"


def test_texts_of_nothing_else_may_go(reasons):
    assert reasons("emoticon_runs", ["ㅋㅋㅋㅋㅋㅋㅋㅋㅋ", "재밌다 ㅋㅋ"], max=0.5) == ["emoticon_runs.high", None]
