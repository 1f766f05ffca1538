def test_advertising(reasons):
    texts = [
        "카지노 바카라 먹튀 없는 토토사이트",
        "경찰이 카지노 사건을 수사했다.",
        "Online casino with free spins, bet now, 100% free",
    ]
    assert reasons("spam", texts) == ["spam.different.high", None, "spam.different.high"]
