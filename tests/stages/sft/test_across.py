"""Boilerplate and the cap per host, judged over all pages."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.sft.across import Seen, boilerplate, distinct, over_cap


def seen(rows):
    """rows: (question, answer, page, host, markup)."""
    columns = [np.array([row[n] for row in rows], dtype=np.uint64) for n in range(4)]
    return Seen(*columns, np.array([row[4] for row in rows], bool), np.arange(len(rows), dtype=np.uint64)[::-1].copy())


def test_an_answer_on_many_pages_is_boilerplate():
    rows = [(1, 9, page, 0, False) for page in range(4)] + [(2, 8, page, 0, False) for page in (0, 0, 0, 1)]
    assert boilerplate(seen(rows), 4).tolist() == [True] * 4 + [False] * 4
    assert not boilerplate(seen(rows), 0).any()


def test_declared_answers_only_under_as_many_questions():
    same = [(1, 9, page, 0, True) for page in range(6)]
    contact = [(10 + page, 7, page, 0, True) for page in range(4)]
    assert boilerplate(seen(same + contact), 4).tolist() == [False] * 6 + [True] * 4


def test_the_cap_spares_markup_and_what_already_fell():
    rows = [(n, n, n, 5, False) for n in range(6)] + [(n, n, n, 5, True) for n in range(3)] + [(9, 9, 9, 6, False)]
    free = np.zeros(len(rows), bool)
    free[5] = True
    over = over_cap(seen(rows), 2, free)
    assert over.sum() == 3 and not over[5:].any()
    assert over.tolist() == [True, True, True, False, False] + [False] * 5


def test_no_rows():
    nothing = Seen(*(np.zeros(0, np.uint64) for _ in range(4)), np.zeros(0, bool), np.zeros(0, np.uint64))
    assert len(boilerplate(nothing, 4)) == 0 and len(over_cap(nothing, 4, np.zeros(0, bool))) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_distinct_is_what_a_set_counts(pairs):
    key, value = (np.array(column, np.uint64) for column in zip(*pairs))
    wanted = [len({v for k, v in pairs if k == mine}) for mine, _ in pairs]
    assert distinct(key, value).tolist() == wanted


def test_short_answers_of_tasks_are_known_with_their_question_and_answers_to_questions_by_themselves():
    """`데이터` blanked out on a hundred pages is no boilerplate; "contact us" under a hundred questions is."""
    from stages.sft import rule_of
    from stages.sft.mine import answer_key
    from stages.sft.rule import Candidate

    cloze, heading = rule_of("cloze", {}), rule_of("heading", {})
    assert answer_key(Candidate("a", "b", keys=("one", "data")), cloze) != answer_key(
        Candidate("c", "b", keys=("two", "data")), cloze
    )
    assert answer_key(Candidate("a", "b", keys=("one", "contact us")), heading) == answer_key(
        Candidate("c", "b", keys=("two", "contact us")), heading
    )
    assert answer_key(Candidate("a", "b", keys=("one", "x" * 40)), cloze) == answer_key(
        Candidate("c", "b", keys=("two", "x" * 40)), cloze
    )
