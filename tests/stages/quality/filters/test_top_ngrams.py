def test_one_pair_makes_up_the_text(reasons):
    filler = " ".join(f"word{n}" for n in range(40))
    assert reasons("top_ngrams", ["buy now " * 30 + filler, filler]) == ["top_ngrams.top_2.high", None]


def test_a_text_of_one_word_has_no_pair(reasons):
    assert reasons("top_ngrams", ["word"]) == [None]
