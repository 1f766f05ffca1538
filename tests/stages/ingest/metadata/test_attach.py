"""Where facts stand in the text: exact slices, whole words, order, and a search that stays linear."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.html.render import Rendered, Span
from stages.ingest.metadata import attach
from stages.ingest.metadata.facts import Fact


def located(text: str, *facts: Fact, marks=()) -> list[tuple[str, str, int | None]]:
    found = attach.blocks(Rendered(text, [], list(marks)), list(facts))
    return [(block["kind"], block["text"], block["start"]) for block in found]


def test_white_space_signs_and_bullets_do_not_matter():
    text = "Why?\n\nBecause:\n\n- one\n- two, of course!"
    assert located(text, Fact("question", "Why?"), Fact("answer", "Because: one two of course!", group=0), marks=[(16, 18), (22, 24)]) == [
        ("question", "Why?", 0), ("answer", "Because:\n\n- one\n- two, of course!", 6),
    ]  # fmt: skip


def test_numbers_of_a_list_are_passed_over_only_where_they_are_marks():
    text = "1. wash\n2. dry"
    assert located(text, Fact("answer", "wash dry"), marks=[(0, 3), (8, 11)])[0][2] == 3
    assert located(text, Fact("answer", "wash dry"))[0][2] is None


def test_words_are_found_whole():
    assert located("The start of art.", Fact("term", "art")) == [("term", "art", 13)]
    assert located("starting", Fact("term", "art")) == [("term", "art", None)]


def test_what_does_not_stand_there_keeps_its_words_and_comes_last():
    found = located("alpha beta", Fact("answer", "gamma"), Fact("term", "Beta"), Fact("term", "..."))
    assert found == [("term", "beta", 6), ("answer", "gamma", None), ("term", "...", None)]


def test_repeats_are_found_one_after_the_other():
    found = located(
        "Q one\nA\nQ two\nA",
        Fact("question", "Q one"),
        Fact("answer", "A"),
        Fact("question", "Q two"),
        Fact("answer", "A"),
    )
    assert [start for _, _, start in found] == [0, 6, 8, 14]


def test_own_blocks_and_facts_stand_in_order():
    rendered = Rendered("Head\n\nbody text", [Span("heading", 0, 4, 1), Span("paragraph", 6, 15)])
    found = attach.blocks(rendered, [Fact("summary", "head", group=3)])
    assert [(b["kind"], b["group"]) for b in found] == [("heading", None), ("summary", 3), ("paragraph", None)]


TEXT = st.text(st.sampled_from("ab한 .\n-1İß"), max_size=40)


@settings(deadline=None, max_examples=400)
@given(TEXT, st.lists(TEXT, max_size=6))
def test_a_block_with_a_position_is_the_text_there(text, facts):
    for block in attach.blocks(Rendered(text), [Fact("answer", fact) for fact in facts]):
        if block["start"] is not None:
            assert text[block["start"] : block["end"]] == block["text"] != ""
    for fact in facts:
        if fact and fact in text and len(attach.letters_of(fact, [])[0]) and (f" {fact} " in f" {text} "):
            assert attach.blocks(Rendered(text), [Fact("answer", fact)])[0]["start"] is not None


def test_after_the_budget_only_near_positions_are_searched(monkeypatch):
    monkeypatch.setattr(attach, "SEARCH", 0)
    monkeypatch.setattr(attach, "NEAR", 10)
    assert located("near far away words and more words end", Fact("term", "near"), Fact("term", "end"))[0] == (
        "term",
        "near",
        0,
    )
    assert located("near far away words and more words end", Fact("term", "end")) == [("term", "end", None)]
