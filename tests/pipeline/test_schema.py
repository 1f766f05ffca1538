"""Edits are the one way text is ever changed: blocks must follow them exactly."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema import Edit, apply_edits, child_id, child_ids, content_id, doc_id
from tests.edits import merge_edits

TEXT = "맷돌은 곡식을 간다. mail a@b.kr now. 끝."


def block(start, end, text=TEXT):
    return {"kind": "paragraph", "text": text[start:end], "start": start, "end": end, "level": None, "group": None}


def test_an_edit_inside_a_block_changes_the_block_and_moves_the_next():
    at = TEXT.index("a@b.kr")
    blocks = [block(0, 11), block(12, 28), block(29, len(TEXT))]
    text, moved = apply_edits(TEXT, [Edit(at, at + 6, "<EMAIL>", "email")], blocks)
    assert "a@b.kr" not in text and "<EMAIL>" in text
    assert [text[b["start"] : b["end"]] for b in moved] == [b["text"] for b in moved]
    assert moved[0]["text"] == blocks[0]["text"] and moved[2]["text"] == blocks[2]["text"]
    assert "<EMAIL>" in moved[1]["text"]


def test_a_block_wholly_removed_loses_its_position_and_its_text():
    text, moved = apply_edits(TEXT, [Edit(0, 12, "")], [block(0, 11), block(12, 20)])
    assert moved[0]["text"] == "" and moved[0]["start"] is None
    assert text[moved[1]["start"] : moved[1]["end"]] == TEXT[12:20]


def test_a_block_without_position_is_left_alone():
    free = {"kind": "question", "text": "왜?", "start": None, "end": None}
    assert apply_edits(TEXT, [Edit(0, 3, "")], [free])[1] == [free]


def test_overlapping_or_unsorted_edits_are_refused():
    with pytest.raises(ValueError, match="sorted"):
        apply_edits(TEXT, [Edit(5, 9, ""), Edit(7, 10, "")])
    assert merge_edits([Edit(7, 10, ""), Edit(5, 9, "x")]) == [Edit(5, 9, "x")]


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=0, max_size=60), st.data())
def test_blocks_always_equal_their_slice_after_any_edits(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edits = [Edit(a, b, data.draw(st.text(max_size=4))) for a, b in zip(cuts[::2], cuts[1::2])]
    edits = merge_edits(edits)
    spans = [sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))))) for _ in range(4)]
    edited, moved = apply_edits(text, edits, [block(a, b, text) for a, b in spans])
    slow, at = "", 0
    for edit in edits:
        slow += text[at : edit.start] + edit.replacement
        at = edit.end
    assert edited == slow + text[at:]
    for b in moved:
        if b["start"] is not None:
            assert 0 <= b["start"] <= b["end"] <= len(edited)
            assert edited[b["start"] : b["end"]] == b["text"]


def test_identities():
    assert doc_id("a", "bc") != doc_id("ab", "c") and doc_id("a", "b", 1) != doc_id("a", "b")
    assert content_id("한글  텍스트\n") == content_id("한글 텍스트") != content_id("한글텍스트")
    assert child_id("p", "sft", "faq", 0) != child_id("p", "sft", "faq", 1)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.text("abc가", max_size=4), min_size=1, max_size=4), max_size=8))
def test_many_child_ids_are_those_of_one_at_a_time(families):
    """Of parents of one length and of several."""
    for parents in (families, [[name.ljust(4, "x")[:4] for name in family] for family in families]):
        flat = pa.array(["before", *(name for family in parents for name in family)], pa.large_string())[1:]
        ends = np.cumsum([len(family) for family in parents]).astype(np.int64)
        made = child_ids(flat, ends, "pack", "rule", list(range(len(parents))))
        assert made == [child_id(family, "pack", "rule", n) for n, family in enumerate(parents)]
