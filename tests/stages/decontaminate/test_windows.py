"""Windows of normalised text: independent of case, marks and blanks; alignment against plain edit distance."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.decontaminate.windows import WEIGHT, all_windows, locate, marks, normalised, weight


def windows(*texts: str) -> list[list[int]]:
    array = pa.array(texts, pa.large_string())
    data, offsets = (
        np.frombuffer(array.buffers()[2], np.uint8),
        np.frombuffer(array.buffers()[1], np.int64)[: len(texts) + 1],
    )
    owner, _, _, hashes = all_windows(data, offsets)
    return [hashes[owner == row].tolist() for row in range(len(texts))]


def test_case_marks_and_blanks_do_not_matter():
    one, two = windows("The quick brown fox jumps over it", "THE QUICK, brown-fox\njumps (over) it!")
    assert one == two and len(one) > 1


def test_a_light_text_has_no_window():
    assert windows("x" * (WEIGHT - 1), "가" * 7, "x" * WEIGHT, "가" * 8) == [
        [],
        [],
        windows("x" * WEIGHT)[0],
        windows("가" * 8)[0],
    ]
    assert weight("가나 ab!") == 8 and normalised("Ａ-b 가１") == "ab가1"


@settings(deadline=None, max_examples=60)
@given(
    st.text("abc가나 .", max_size=20), st.text("abc가나 .", min_size=40, max_size=70), st.text("abc가나 .", max_size=20)
)
def test_what_is_quoted_is_found_wherever_it_stands(before, quoted, after):
    whole, part = windows(before + quoted + after, quoted)
    assert set(part) <= set(whole)


def slow_similarity(wanted: str, text: str) -> float:
    best = len(wanted)
    row = [0] * (len(text) + 1)
    for i, a in enumerate(wanted, 1):
        fresh = [i]
        for j, b in enumerate(text, 1):
            fresh.append(min(row[j - 1] + (a != b), row[j] + 1, fresh[-1] + 1))
        row = fresh
    best = min(row)
    return 1 - best / len(wanted)


@settings(deadline=None, max_examples=150)
@given(st.text("ab가", min_size=1, max_size=12), st.text("ab가 .", max_size=25))
def test_a_location_is_the_stretch_of_least_edit_distance(wanted, text):
    found = locate(marks(wanted), text)
    assert abs(found.share - slow_similarity(wanted, normalised(text))) < 1e-9
    if found.share:
        assert abs(found.share - slow_similarity(wanted, normalised(text[found.start : found.end]))) < 1e-9


def test_a_location_is_counted_in_code_points_and_as_long_as_it_can_be():
    assert locate(marks("나다"), "가, 나 (다)! 라") == (1.0, 3, 7)
    assert locate(marks("whichplant"), "so which plant plant")[:2] == (1.0, 3)
    assert locate(marks("abcdef"), "ab ab cdef").start in (0, 3) and locate(marks("가"), "") == (0.0, 0, 0)
