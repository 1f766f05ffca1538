def test_few_sentences(reasons):
    assert reasons("sentence_count", ["One. Two. Three. Four.", "One. Two! Three? Four. 다섯이다."]) == [
        "sentence_count.low",
        None,
    ]


def test_abbreviations_with_dots_inside_are_one(judge):
    assert judge("sentence_count", ['He said "go." Then 3.5 km in the U.S. were left'], min=None, max=9).ledger[
        "sentence_count.sentences"
    ].to_pylist() == [3.0]
