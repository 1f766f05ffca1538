def test_a_long_phrase_again(reasons):
    phrase = "the quick brown fox jumps over the lazy dog today"
    filler = " ".join(f"word{n}" for n in range(20))
    assert reasons("repeated_ngrams", [f"{phrase} {filler} {phrase}", filler]) == [
        "repeated_ngrams.repeated_5.high",
        None,
    ]


def test_limits_can_be_switched_off_one_by_one(reasons):
    phrase = "the quick brown fox jumps over the lazy dog today"
    filler = " ".join(f"word{n}" for n in range(20))
    off = {f"max_{n}": None for n in range(5, 10)}
    assert reasons("repeated_ngrams", [f"{phrase} {filler} {phrase}"], **off) == ["repeated_ngrams.repeated_10.high"]
