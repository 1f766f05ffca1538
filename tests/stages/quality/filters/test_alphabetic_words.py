def test_numbers_in_place_of_words(reasons):
    assert reasons("alphabetic_words", ["1 2 3 four", "one 둘 три 4th"]) == ["alphabetic_words.low", None]
