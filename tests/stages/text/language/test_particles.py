"""Korean words without their particles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.text.language.particles import fold, is_function, josa, stem, words


@pytest.mark.parametrize(
    "word,base",
    [
        ("서울에서는", "서울"), ("학교를", "학교"), ("사이", "사이"), ("회의", "회의"), ("회의에서", "회의"), ("사용합니다", "사용"), ("김철수는", "김철수"),
        ("데이터베이스로", "데이터베이스"), ("이용자들에게", "이용자"), ("설치하려면", "설치"), ("Linux", "linux"), ("mill's", "mill"), ("도로", "도로"),
    ],
)  # fmt: skip
def test_stem(word, base):
    assert stem(word) == base


@pytest.mark.parametrize(
    "word,pair,whole",
    [
        ("서울", "을/를", "서울을"),
        ("학교", "을/를", "학교를"),
        ("서울", "으로/로", "서울로"),
        ("집", "으로/로", "집으로"),
        ("PC", "은/는", "PC는"),
        ("3", "을/를", "3을"),
        ("2", "을/를", "2를"),
        ("‘돌’", "이/가", "‘돌’이"),
    ],
)
def test_josa(word, pair, whole):
    assert josa(word, pair) == whole


def test_words_and_function_words():
    assert words("서울에서 Linux 5.10을, don't") == ["서울에서", "Linux", "5.10", "을", "don't"]
    assert (
        is_function("그리고")
        and is_function("the")
        and is_function("까지")
        and not is_function("맷돌")
        and not is_function("mill")
    )


@given(st.text(alphabet="가나다라은는이가을를에서로의도", min_size=1, max_size=8))
def test_a_stem_is_a_head_of_its_word_and_never_empty(word):
    assert word.startswith(stem(word)) and stem(word)


def test_fold_makes_full_width_plain():
    assert fold("ＡＢ１２’s") == "ab12's"
