"""Reasoning is told from the answer, in whatever pieces both come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.models.teacher.reply import spoken
from stages.serve.answering import Parting

CASES = [
    ("<think>two and two</think> 4", False, "two and two", "4"),
    ("<think>\nA\n</think>\n\n답은 4", False, "A", "답은 4"),
    ("two and two</think>4", True, "two and two", "4"),
    ("[THINK]x[/THINK]y", False, "x", "y"),
    ("the tag <think> opens", False, "", "the tag <think> opens"),
    ("a < b and [c] then <think", False, "", "a < b and [c] then <think"),
    ("<think>never ends", False, "never ends", ""),
    ("plain", False, "", "plain"),
    ("<thin", False, "", "<thin"),
    ("4 <think>x</think>", False, "", "4 <think>x</think>"),
]


@pytest.mark.parametrize("text, opened, reasoning, answer", CASES)
def test_reasoning_is_told_from_the_answer(text, opened, reasoning, answer):
    for size in range(1, len(text) + 1):
        part = Parting(opened)
        pieces = [piece for at in range(0, len(text), size) for piece in part.add(text[at : at + size])]
        pieces += part.add("", last=True)
        assert "".join(p.text for p in pieces if p.thought).strip() == reasoning
        assert "".join(p.text for p in pieces if not p.thought).strip() == answer


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "a", " ", "\n", "답", "[THINK]", "think>"]), max_size=12),
    st.integers(1, 9),
)
def test_pieces_of_any_size_say_the_same(words, size):
    text = "".join(words)
    whole, cut = Parting(), Parting()
    once = [*whole.add(text, last=True)]
    parts = [piece for at in range(0, len(text), size) for piece in cut.add(text[at : at + size])] + [
        *cut.add("", last=True)
    ]
    for kind in (True, False):
        assert "".join(p.text for p in once if p.thought is kind) == "".join(p.text for p in parts if p.thought is kind)


@pytest.mark.parametrize("text, opened, reasoning, answer", CASES)
def test_the_answer_is_what_the_reader_of_teachers_reads(text, opened, reasoning, answer):
    if (
        text != "4 <think>x</think>"
    ):  # a mark behind the answer belongs to it there and here; that reader cuts at its end
        assert spoken(text) == answer
