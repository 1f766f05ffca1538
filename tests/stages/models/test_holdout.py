"""Held out is a pure function of key and share, and prompts that ask the same thing are one key."""

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.models import holdout
from stages.models.holdout import document_keys, held_out, prompt_key


def test_examples_in_docstrings():
    assert doctest.testmod(holdout).failed == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=20), max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_all_that_a_smaller_one_does(keys, one, other):
    small, large = sorted((one, other))
    assert not (held_out(keys, small) & ~held_out(keys, large)).any()


def test_nothing_and_everything():
    keys = [str(n) for n in range(2000)]
    assert not held_out(keys, 0.0).any()
    assert 60 < held_out(keys, 0.05).sum() < 140
    assert held_out(keys, 1.0).sum() >= 1999


@pytest.mark.parametrize(
    "spelling", ["맷돌은  무엇입니까", "맷돌은 무엇입니까?", "맷돌은\n무엇입니까!!", "맷돌은 무엇입니까 "]
)
def test_spellings_of_one_question_share_a_side(spelling):
    first = prompt_key([{"role": "user", "content": "맷돌은 무엇입니까?"}, {"role": "assistant", "content": "답 하나"}])
    assert prompt_key([{"role": "system", "content": "x"}, {"role": "user", "content": spelling}]) == first


def test_different_questions_differ_and_odd_rows_have_keys():
    assert prompt_key([{"role": "user", "content": "a 1"}]) != prompt_key([{"role": "user", "content": "a 2"}])
    assert prompt_key([{"role": "user", "content": "?!"}]) == "?!"
    assert prompt_key(None) == "" and prompt_key([{"role": "user", "content": None}]) == ""


def test_copies_of_one_text_share_a_side():
    import pyarrow as pa

    table = pa.table({"id": ["a", "b", "c", "d"], "content_id": ["same", "same", None, ""]})
    assert document_keys(table).to_pylist() == ["same", "same", "c", "d"]
    assert document_keys(table.select(["id"])).to_pylist() == ["a", "b", "c", "d"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=30))
def test_a_column_hashes_as_its_texts_do(keys):
    import pyarrow as pa

    for kind in (pa.string(), pa.large_string()):
        assert holdout.hashes(pa.array(keys, kind)).tolist() == holdout.hashes(keys).tolist()
