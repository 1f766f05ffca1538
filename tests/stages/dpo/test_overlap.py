"""The share is reached by construction, with as many prompts as allow it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from stages.dpo.overlap import PromptKey, candidate, choose, counts


def some(inside, outside):
    return [PromptKey(n, True, None) for n in range(inside)] + [
        PromptKey(10_000 + n, False, None) for n in range(outside)
    ]


@settings(deadline=None, max_examples=200)
@given(
    inside=st.integers(0, 3000),
    outside=st.integers(0, 3000),
    share=st.floats(0, 1),
    most=st.none() | st.integers(1, 2000),
)
def test_counts_keep_to_what_there_is(inside, outside, share, most):
    n_in, n_out = counts(inside, outside, share, most)
    assert 0 <= n_in <= inside and 0 <= n_out <= outside and (most is None or n_in + n_out <= most)
    if n_in + n_out >= 1000:
        assert abs(n_in / (n_in + n_out) - share) <= 0.001


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.77, 1.0])
def test_share_is_reached_and_hardly_a_prompt_is_wasted(share):
    chosen, measured = choose(some(900, 700), share, None, 17)
    assert abs(measured.share - share) <= 0.005 and measured.prompts == len(chosen)
    most = min(900 / share if share else 9e9, 700 / (1 - share) if share < 1 else 9e9)
    assert len(chosen) >= most - 10


def test_choices_are_nested_and_seeded():
    small, _ = choose(some(900, 700), 0.5, 200, 17)
    large, _ = choose(some(900, 700), 0.5, 600, 17)
    assert small < large and choose(some(900, 700), 0.5, 200, 17)[0] == small
    assert choose(some(900, 700), 0.5, 200, 18)[0] != small


def test_without_an_overlap_everything_is_taken_and_measured():
    chosen, measured = choose(some(30, 10), None, None, 17)
    assert len(chosen) == 40 and measured.share == 0.75
    assert len(choose(some(30, 10), None, 12, 17)[0]) == 12


@pytest.mark.parametrize(
    "inside, outside, share, word",
    [(10, 0, 0.5, "outside"), (0, 10, 0.5, "inside"), (0, 10, 1.0, "inside"), (10, 0, 0.0, "outside")],
)
def test_a_side_that_is_empty_names_the_hint(inside, outside, share, word):
    with pytest.raises(UsageError, match=f"prompts {word} the SFT set.*\n.*split"):
        choose(some(inside, outside), share, None, 17)


def test_one_prompt_counts_once_whatever_its_rows():
    rows = [PromptKey(1, True, None)] * 50 + [PromptKey(2, False, None)]
    assert choose(rows, 0.5, None, 17)[0] == {1, 2}


def test_rows_without_a_label():
    ask, say = {"role": "user", "content": "왜?"}, {"role": "assistant", "content": "그래서."}
    assert candidate([ask, say], None).reason is None
    for messages in (None, [], [ask], [say], [ask, say, ask], [ask, {"role": "assistant", "content": " "}]):
        assert candidate(messages, None).reason == "dpo.no_label"
    assert candidate([ask, say], {candidate([ask, say], None).key}).in_sft is True
    assert candidate([{"role": "user", "content": " 왜 "}, say], {candidate([ask, say], None).key}).in_sft is True
