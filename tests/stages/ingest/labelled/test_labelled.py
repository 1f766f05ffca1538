"""Labelled sets in the forms in which they are passed around."""

from __future__ import annotations

import pytest

from stages.ingest.labelled import Misfit, chat, pair, ranking, verdict


def turns(messages):
    return [(turn["role"][0], turn["content"]) for turn in messages]


@pytest.mark.parametrize(
    "row, expected, rule",
    [
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, [("u", "Q"), ("a", "A")], "messages"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"}, [("s", "S"), ("u", "Q"), ("a", "A")], "sharegpt"),
        ({"instruction": "I", "input": "in", "output": "O", "history": [["q", "a"]]}, [("u", "q"), ("a", "a"), ("u", "I\nin"), ("a", "O")], "alpaca"),
        ({"instruction": "I", "input": "", "output": "O"}, [("u", "I"), ("a", "O")], "alpaca"),
        ({"prompt": "P", "completion": "C"}, [("u", "P"), ("a", "C")], "prompt_completion"),
        ({"prompt": [{"role": "user", "content": "P"}], "completion": [{"role": "assistant", "content": "C"}]}, [("u", "P"), ("a", "C")], "prompt_completion"),
        ({"question": "Q", "answer": "A"}, [("u", "Q"), ("a", "A")], "prompt_completion"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "e\u0301"}]}, {"role": "assistant", "content": "A"}, {"role": "user", "content": "left"}]},
         [("u", "é"), ("a", "A")], "messages"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "function_call", "value": "{}"}, {"from": "observation", "value": "r"}, {"from": "gpt", "value": "A"}]},
         [("u", "Q"), ("a", "{}"), ("t", "r"), ("a", "A")], "sharegpt"),
        ({"prompt": "P", "completion": "C", "label": True}, [("u", "P"), ("a", "C")], "prompt_completion"),
        ({"prompt": "P", "completion": "C", "label": "0"}, [("u", "P"), ("a", "C")], "prompt_completion"),
    ],
)  # fmt: skip
def test_conversations(row, expected, rule):
    found = chat(row)
    assert turns(found.messages) == expected and found.rule == f"ingest.{rule}"


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"text": "x"}, "ingest.wrong_columns"),
        ({"prompt": "P"}, "ingest.wrong_columns"),
        ({"prompt": "P", "completion": "C", "label": False}, "ingest.label_false"),
        ({"messages": []}, "ingest.wrong_columns"),
        ({"messages": ["x"]}, "ingest.wrong_columns"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "ingest.wrong_columns"),
        ({"messages": [{"role": "user", "content": "only asked"}]}, "ingest.empty"),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": " "}]}, "ingest.empty"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "ingest.wrong_columns"),
    ],
)
def test_misfits(row, reason):
    with pytest.raises(Misfit) as fault:
        chat(row)
    assert fault.value.reason == reason


ASK, GOOD, BAD = (
    [{"role": "user", "content": "P"}],
    [{"role": "assistant", "content": "G"}],
    [{"role": "assistant", "content": "B"}],
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "P", "chosen": "G", "rejected": "B"},
        {"prompt": ASK, "chosen": GOOD, "rejected": BAD},
        {"prompt": "P", "chosen": ASK + GOOD, "rejected": ASK + BAD},
        {"chosen": ASK + GOOD, "rejected": ASK + BAD},
        {"chosen": "\n\nHuman: P\n\nAssistant: G", "rejected": "\n\nHuman: P\n\nAssistant: B"},
        {
            "conversations": [{"from": "human", "value": "P"}],
            "chosen": {"from": "gpt", "value": "G"},
            "rejected": {"from": "gpt", "value": "B"},
        },
        {"instruction": "P", "input": "", "chosen": "G", "rejected": "B"},
        {"instruction": "P", "output": ["G", "B"]},
    ],
)
def test_preferences(row):
    found = pair({**row, "score_chosen": 8, "score_rejected": 2.5})
    assert (found.prompt, found.chosen, found.rejected) == (ASK, GOOD, BAD) and (
        found.score_chosen,
        found.score_rejected,
    ) == (8.0, 2.5)


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"prompt": "P", "chosen": "same", "rejected": " same "}, "ingest.equal_pair"),
        ({"prompt": "P", "chosen": "G"}, "ingest.wrong_columns"),
        ({"chosen": "G", "rejected": "B"}, "ingest.wrong_columns"),
        ({"prompt": "P", "chosen": " ", "rejected": "B"}, "ingest.empty"),
    ],
)
def test_no_preferences(row, reason):
    with pytest.raises(Misfit) as fault:
        pair(row)
    assert fault.value.reason == reason


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "P", "answers": ["best", "worst", "middle"], "scores": [9, 1, 5]},
        {"prompt": "P", "responses": ["best", "worst", "middle"], "ranks": [1, 3, 2]},
        {"prompt": "P", "answers": ["best", "middle", "worst"]},
        {
            "prompt": "P",
            "candidates": [{"text": "worst", "score": 1}, {"text": "best", "score": 9}, {"text": "middle", "score": 5}],
        },
        {
            "prompt": "P",
            "completions": [
                {"response": "middle", "rank": 2},
                {"response": "best", "rank": 1},
                {"response": "worst", "rank": 3},
            ],
        },
    ],
)
@pytest.mark.parametrize(
    "which, expected",
    [
        ("best-worst", [("best", "worst")]),
        ("best-rest", [("best", "middle"), ("best", "worst")]),
        ("all", [("best", "middle"), ("best", "worst"), ("middle", "worst")]),
    ],
)
def test_rankings(row, which, expected):
    found = ranking(row, which)
    assert [(p.chosen[0]["content"], p.rejected[0]["content"]) for p in found] == expected
    assert all(p.score_chosen > p.score_rejected for p in found)


def test_rankings_without_a_difference_or_with_odd_scores():
    for row, reason in (
        ({"prompt": "P", "answers": ["a", "b"], "scores": [1, 1]}, "ingest.equal_pair"),
        ({"prompt": "P", "answers": ["a"]}, "ingest.unpaired"),
        ({"prompt": "P", "answers": ["a", "b"], "scores": [1]}, "ingest.wrong_columns"),
        ({"prompt": "P", "answers": [{"x": 1}, "b"]}, "ingest.wrong_columns"),
        ({"prompt": "P", "answers": ["a", "b"], "scores": [int("9" * 400), 1]}, "ingest.wrong_columns"),
        ({"prompt": "P", "answers": ["a", "b"], "ranks": [1, -int("9" * 400)]}, "ingest.wrong_columns"),
        (
            {"prompt": "P", "answers": [{"text": "a", "score": int("9" * 400)}, {"text": "b", "score": 1}]},
            "ingest.wrong_columns",
        ),
        ({"prompt": "P", "answers": ["a", "b"], "scores": [float("nan"), 1]}, "ingest.wrong_columns"),
    ):
        with pytest.raises(Misfit) as fault:
            ranking(row, "all")
        assert fault.value.reason == reason


def test_kto_rows_are_known_by_a_true_or_false():
    assert verdict({"prompt": "P", "completion": "C", "label": "False"}).good is False
    assert verdict({"messages": ASK + GOOD, "kto_tag": True}).answer == GOOD
    assert (
        verdict({"prompt": "P", "completion": "C", "label": 1}) is None
        and verdict({"prompt": "P", "completion": "C"}) is None
    )
