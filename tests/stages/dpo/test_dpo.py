"""student_reject: pairs, provenance, reasons, the overlap with SFT, and what is done again."""

import pytest

from pipeline.errors import OptionError, UsageError
from pipeline.schema import bare, child_id, shape_of
from pipeline.storage.ledger import check
from stages.dpo import Dpo
from stages.models.inference.generate import Generation

LABEL = "맷돌은 곡식을 가는 도구이고, {0}번째 이야기는 이렇습니다."


def held(chats_store, pairs):
    """The ledger law, and the ledger as rows."""
    ledger = pairs.ledgers()
    check(chats_store.table()["id"], pairs.table()["id"], ledger, "dpo")
    return ledger.to_pylist()


def test_pairs_are_conversational_and_carry_their_provenance(chats, make_pairs, scripted):
    scripted()
    of = chats(range(10), shards=2)
    pairs = make_pairs(of)
    assert shape_of(pairs.schema) == "PAIR" and len(pairs.shards()) == 2
    row = pairs.table().to_pylist()[3]
    chat = of.table().to_pylist()[3]
    assert row["prompt"] == chat["messages"][:1]
    assert [bare(turn) for turn in row["chosen"]] == [{"role": "assistant", "content": LABEL.format(3)}]
    assert [bare(turn) for turn in row["rejected"]] == [
        {"role": "assistant", "content": "맷돌은 무거운 돌이라고만 0번 들었습니다. 잘은 모릅니다."}
    ]
    assert row["id"] == child_id(chat["id"], "dpo", "student_reject", 0)
    assert [row[name] for name in ("chat_id", "doc_id", "url", "rule", "span_start", "licence", "method", "in_sft")] == [
        chat["id"], chat["doc_id"], chat["url"], "heading.how", 3, "CC0-1.0", "student_reject", None,
    ]  # fmt: skip
    assert all(entry["reason"] is None and 0 < entry["dpo.similarity"] < 1 for entry in held(of, pairs))


def test_every_answer_that_makes_no_pair_has_its_reason(chats, make_pairs, scripted):
    said = [
        "", LABEL.format(1), LABEL.format(2) + "!", Generation("맷돌은 돌이고 또", "length", 9, 5), "A millstone is a heavy stone, they say.",
        "돌.", Generation("", "over_context", 0, 999), Generation("", "chat.control_token", 0, 0),
    ]  # fmt: skip
    scripted(lambda prompt, _: said[int(prompt.split("번째")[0].split()[-1])])
    of = chats(range(8))
    pairs = make_pairs(of)
    assert [entry["reason"] for entry in sorted(held(of, pairs), key=lambda e: of.table()["id"].to_pylist().index(e["id"]))] == [
        "dpo.empty", "dpo.equal", "dpo.near_equal", "dpo.truncated", "dpo.wrong_language", "dpo.length_ratio", "dpo.over_context", "chat.control_token",
    ]  # fmt: skip
    assert pairs.table().num_rows == 0 and shape_of(pairs.schema) == "PAIR"


def test_cut_answers_of_a_student_that_never_ends(chats, make_pairs, scripted):
    cut = Generation("맷돌은 그냥 무거운 돌입니다. 그래서 무엇을 하는지는", "length", 16, 5)
    scripted(lambda *_: cut)
    of = chats(range(3))
    assert make_pairs(of, name="drop").table().num_rows == 0
    assert {r["rejected"][0]["content"] for r in make_pairs(of, name="keep", truncated="keep").table().to_pylist()} == {
        cut.text
    }
    trimmed = make_pairs(of, name="trim", truncated="trim", length_ratio=3.0).table().to_pylist()
    assert {r["rejected"][0]["content"] for r in trimmed} == {"맷돌은 그냥 무거운 돌입니다."}


def test_samples_and_the_cap_per_prompt(chats, make_pairs, scripted):
    scripted(
        lambda prompt, k: (
            LABEL.format(prompt.split("번째")[0].split()[-1])
            if k == 0
            else f"맷돌은 {k}번 돌려야 한다고 들었습니다. 그 밖에는 모릅니다."
        )
    )
    of = chats(range(6))
    one = make_pairs(of, name="one", samples=4)
    entries = held(of, one)
    assert one.table().num_rows == 6 and all(entry["note"] == "dpo.equal 1" for entry in entries)
    two = make_pairs(of, name="two", samples=4, per_prompt=2)
    assert two.table().num_rows == 12 and len(held(of, two)) == 12
    assert len({row["rejected"][0]["content"] for row in two.table().to_pylist()}) == 2


def test_rows_of_one_prompt_share_its_cap(make_rows_store, make_pairs, scripted, chats):
    from pipeline.schema import CHAT

    scripted()
    rows = chats(range(2)).table().to_pylist()
    twin = {
        **rows[0],
        "id": child_id("x", "sft", "t", 9),
        "messages": [{"role": "user", "content": " 맷돌에 대해  0번째로 알려주세요!"}, rows[0]["messages"][1]],
    }
    of = make_rows_store("CHAT", [{name: row[name] for name in CHAT.names} for row in (*rows, twin)])
    entries = {entry["id"]: entry["reason"] for entry in held(of, make_pairs(of))}
    assert entries == {rows[0]["id"]: None, rows[1]["id"]: None, twin["id"]: "dpo.prompt_cap"}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_overlap_is_reached_and_written_down(chats, make_pairs, scripted, share):
    scripted()
    of, sft = chats(range(400), shards=3), chats(range(240))
    pairs = make_pairs(of, sft, sft_overlap=share)
    rows = pairs.table().to_pylist()
    seen = {row["messages"][0]["content"] for row in sft.table().to_pylist()}
    inside = [row["prompt"][0]["content"] in seen for row in rows]
    assert abs(sum(inside) / len(rows) - share) <= 0.005
    assert [row["in_sft"] for row in rows] == inside
    facts = pairs.receipt(0).notes["sft_overlap"]
    assert facts["asked"] == share and facts["prompts"] == len(rows) and facts["prompts_in_sft"] == sum(inside)
    assert facts["share_with_near_copies"] >= facts["share"]
    assert {entry["reason"] for entry in held(of, pairs)} == {None, "dpo.overlap"}


def test_overlap_holds_after_checks_that_fall_unevenly(chats, make_pairs, scripted):
    """The student has learned half of what it was trained on by heart: those pairs fall, and the share stands all the same."""

    def say(prompt, _):
        number = int(prompt.split("번째")[0].split()[-1])
        return LABEL.format(number) if number < 100 else "맷돌은 무거운 돌이라고만 들었습니다. 잘은 모릅니다."

    student = scripted(say)
    of, sft = chats(range(400)), chats(range(200))
    pairs = make_pairs(of, sft, sft_overlap=0.5)
    rows = pairs.table().to_pylist()
    assert len(student.asked) == 400 and len(rows) == 200
    assert sum(row["in_sft"] for row in rows) == 100
    reasons = [entry["reason"] for entry in held(of, pairs)]
    assert reasons.count("dpo.equal") == 100 and reasons.count("dpo.overlap") == 100


def test_only_chosen_prompts_are_asked(chats, make_pairs, scripted):
    student = scripted()
    of = chats(range(300))
    pairs = make_pairs(of, chats(range(100)), sft_overlap=0.5, max_prompts=60)
    assert len(student.asked) == 60 and pairs.table().num_rows == 60
    pairs = make_pairs(of, name="capped", max_prompts=50)
    assert {entry["reason"] for entry in held(of, pairs)} == {None, "dpo.beyond_max"}


def test_an_overlap_that_cannot_be_is_said_before_anything_is_asked(chats, make_pairs, scripted):
    student = scripted()
    of = chats(range(20))
    with pytest.raises(UsageError, match="split"):
        make_pairs(of, of, sft_overlap=0.5)
    with pytest.raises(UsageError, match="sft:"):
        make_pairs(of, sft_overlap=0.5)
    assert student.asked == []


def test_a_changed_check_asks_nobody_again(chats, make_pairs, scripted):
    student = scripted()
    of = chats(range(140), shards=2)
    first = make_pairs(of)
    assert len(student.asked) == 140
    before = first.hashes()
    again = make_pairs(of)
    assert len(student.asked) == 140 and again.hashes() == before
    make_pairs(of, similarity_min=0.9, similarity_max=0.99)
    assert len(student.asked) == 140
    assert set(again.ledgers()["reason"].to_pylist()) == {"dpo.unrelated"}
    make_pairs(of, seed=18)
    assert len(student.asked) == 280


def test_a_lost_shard_of_answers_is_made_again_alone(chats, make_pairs, scripted):
    student = scripted()
    of = chats(range(300))
    pairs = make_pairs(of)
    before = pairs.hashes()
    pairs.drop(0)
    pairs.sub("passes/student").drop(1)
    student.asked.clear()
    assert make_pairs(of).hashes() == before
    assert len(student.asked) == 128


def test_a_student_with_a_stock_phrase_is_told(chats, make_pairs, scripted):
    scripted(lambda prompt, _: f"잘 모르겠지만 {prompt} 그것은 아마도 돌입니다.")
    sides = make_pairs(chats(range(200))).receipt(0).notes["sides"]
    assert sides["probe_accuracy"] > 0.95 and "surface" in sides["warning"]


def test_rows_without_a_label_and_an_empty_store(make_rows_store, make_pairs, scripted, chats):
    scripted()
    rows = chats(range(2)).table().to_pylist()
    rows[0]["messages"] = rows[0]["messages"][:1]
    of = make_rows_store("CHAT", rows)
    assert [entry["reason"] for entry in held(of, make_pairs(of))] == ["dpo.no_label", None]
    empty = make_pairs(make_rows_store("CHAT", []), name="none")
    assert empty.table().num_rows == 0


@pytest.mark.parametrize(
    "given, word",
    [
        ({"method": "teacher_vs_student"}, "teacher"), ({"method": "best_of_n", "samples": 1}, "two answers"), ({"margin_min": 2, "margin_max": 1}, "margin_max"), ({"sft_overlap": 1.5}, "sft_overlap"),
        ({"samples": 2, "sampling": {"temperature": 0}}, "temperature"), ({"similarity_min": 0.96}, "below"), ({"length_ratio": 0.5}, "length_ratio"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(given, word):
    with pytest.raises(OptionError, match=word):
        Dpo.build(given, "dpo")
