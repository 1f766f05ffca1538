"""Phrases in stretches of text against plain counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.text.phrases import automaton, tally

PHRASES = st.lists(st.text("ab가 ", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


def count(text: str, groups: tuple, **options) -> list[int]:
    data = np.frombuffer(text.encode(), np.uint8)
    return tally(data, np.array([0]), np.array([len(data)]), automaton(groups), **options)[0].tolist()


def overlapping(text: str, phrase: str) -> int:
    return sum(text.startswith(phrase, at) for at in range(len(text)))


@settings(deadline=None, max_examples=200)
@given(st.text("ab가 ", max_size=30), PHRASES)
def test_every_occurrence_counts(text, phrases):
    groups = tuple((phrase,) for phrase in phrases)
    assert count(text, groups) == [overlapping(text, phrase) for phrase in phrases]


def test_case_of_ascii_does_not_matter():
    assert count("Use COOKIES", (("cookies",), ("USE",))) == [1, 1]


def test_whole_words_and_particles():
    groups = (("cat",), ("말",))
    assert count("cat cats the cat, concat cat은", groups, whole_words=True) == [3, 0]
    assert count("말 말을 거짓말", groups, whole_words=True) == [0, 2]


def test_a_shorter_phrase_counts_where_the_longer_does_not_stand_alone():
    assert count("xfoo bar", (("xfoo",), ("foo bar",), ("bar",)), whole_words=True) == [1, 0, 1]


def test_an_empty_phrase_is_refused():
    with pytest.raises(ValueError, match="empty"):
        automaton((("",),))
