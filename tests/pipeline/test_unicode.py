"""Unicode forms: the standard's, of texts cut so that no run of marks is sorted in quadratic time."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import unicode
from pipeline.unicode import JOINER, MARKS, compared, normalised, stream_safe

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
ODD = st.text(st.sampled_from("ae한\u0301\u0323\u0344\u0f73\u1e69\u1100\u1161\u0345\u3099\u200b\ufe0f "), max_size=8)


def runs(text: str) -> list[int]:
    """Lengths of the runs of marks of the decomposed text: what a sort by insertion squares."""
    marked = (unicodedata.combining(char) > 0 for char in unicodedata.normalize("NFKD", text))
    return [len(list(run)) for mark, run in itertools.groupby(marked) if mark]


@settings(deadline=None, max_examples=200)
@given(ODD, ODD, st.sampled_from(["\u0301", "\u0323", "\u0344", "\u0301\u0323", "\u0f73\u0301"]), st.integers(0, 80))
def test_no_run_is_longer_than_the_standard_allows_and_nothing_but_joiners_is_added(before, after, mark, times):
    text = before + mark * times + after
    safe = stream_safe(text)
    assert max(runs(safe), default=0) <= MARKS
    assert safe.replace(JOINER, "") == text.replace(JOINER, "") and stream_safe(safe) == safe
    if max(runs(text), default=0) <= MARKS:
        assert safe == text
        assert all(normalised(form, text) == unicodedata.normalize(form, text) for form in FORMS)
    for form in FORMS:
        assert normalised(form, normalised(form, text)) == normalised(form, text)


@pytest.mark.parametrize(
    "marks", ["\u0301\u0323", "\u0344", "\u0301", "\u0f73\u0f72", "a\u0301\u0323" * 3 + "\u0301" * 40]
)
def test_twice_the_marks_are_twice_the_work(monkeypatch, marks):
    calls = 0
    plain = unicode._opening_marks

    def counted(char: str) -> int:
        nonlocal calls
        calls += 1
        return plain(char)

    unicode._long_runs()  # made once, not part of the work
    monkeypatch.setattr(unicode, "_opening_marks", counted)
    work = []
    for times in (2_000, 4_000):
        calls = 0
        safe = stream_safe("e" + marks * times)
        work.append(calls + sum(run * run for run in runs(safe)))
    assert 2_000 < work[0] and work[1] <= 2.05 * work[0]


def test_what_nobody_sees_is_not_compared_and_what_is_seen_is():
    assert compared("m\u00adi\u200bl\u2060l\ufe0f\U000e0061") == "mill"
    assert compared("cafe\u0301") == "café" and compared("Mill  x") == "Mill  x"


MIXED = st.text(
    st.one_of(
        st.sampled_from(
            "aA  \t\n\r\v\f\x1c\x1f\x85\xa0\u3000\u2028\u200b\xad\ufeffßÉİſΣςKŁ가각힣ᄀ\u0301\U0001d465\U0001f600\ud800\ud83d\udc00\uffa0ㅤꭰ"
        ),
        st.characters(),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=400)
@given(MIXED, st.sampled_from(["", "가 나다  라\n" * 30, "The  words.\n\n" * 12, "\u201c안녕\u201d " * 40]))
def test_long_texts_fold_as_short_ones_do(odd, plain):
    """By looking up units of UTF-16 and folding bytes, or character by character: the same words."""
    for text in (odd + plain, plain + odd, odd * 5):
        assert unicode.folded(text) == " ".join(compared(text).casefold().split()).encode("utf-8", "surrogatepass")


def test_every_character_folds_in_a_long_text_as_in_a_short_one():
    for point in (
        *range(0x3400),
        *range(0xA000, 0xAC00),
        *range(0xD7A4, 0x1_0100),
        0x1D465,
        0x1E900,
        *range(0x1F000, 0x1FC00),
        0xE0041,
    ):
        text = chr(point) + "가나 " * 50
        assert unicode.folded(text) == " ".join(compared(text).casefold().split()).encode("utf-8", "surrogatepass")


def test_every_character_folds_in_a_short_text_as_word_by_word():
    for point in (*range(0x1_0100), 0x1D465, 0x1E900, *range(0x1F000, 0x1FC00), 0xE0041):
        text = f"A 가{chr(point)}나  다"  # behind a syllable, to which a jamo would be put
        assert unicode.folded(text) == " ".join(compared(text).casefold().split()).encode("utf-8", "surrogatepass")
