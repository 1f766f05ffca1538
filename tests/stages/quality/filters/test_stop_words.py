def test_prose_and_lists(reasons):
    assert reasons("stop_words", ["the cat and the dog", "cat dog the bird"]) == [None, "stop_words.low"]


def test_korean_has_a_list_of_eojeol(reasons):
    assert reasons("stop_words", ["이 책은 볼 수 있는 글이다", "사과 배 포도"], "ko") == [None, "stop_words.low"]


def test_a_language_without_a_list_is_not_judged(reasons):
    assert reasons("stop_words", ["ein Satz ohne Liste"], "de") == [None]


def test_a_list_of_ones_own(reasons):
    assert reasons("stop_words", ["der Hund und die Katze"], "de", words={"de": ["der", "und"]}) == [None]
    assert reasons("stop_words", ["der Hund die Katze"], "de", words={"de": ["der", "und"]}) == ["stop_words.low"]
