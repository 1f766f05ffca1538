"""A value of any type in any field of a row, labelled or not: a row's fault with a reason, or kept; never the task's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stages.ingest.mutation_fuzz.hunt import read

TURNS = [
    {"role": "user", "content": "Ask", "name": "u"},
    {"role": "assistant", "content": [{"type": "text", "text": "Say"}], "reasoning_content": "think", "weight": 1},
]
CALLS = [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
         {"role": "tool", "tool_call_id": "1", "content": "{}"}, {"role": "assistant", "content": "Said"}]  # fmt: skip
TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "document": [{"text": "A text.", "title": "T", "url": "http://x.org/", "lang": "en", "date": "2026-01-02", "licence": "MIT", "id": "7", "score": 1.5, "tags": ["a"], "deep": {"a": [{"b": 1}]}}],
    "chat": [
        {"messages": TURNS, "tools": TOOLS}, {"messages": CALLS, "tools": json.dumps(TOOLS)},
        {"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", "weight": 0}]},
        {"instruction": "I", "input": "in", "output": "O", "history": [["q", "a"]], "system": "S"},
        {"instruction": "I", "context": "C", "response": "R", "category": "c"}, {"query": "Q", "response": "R"}, {"system_prompt": "S", "question": "Q", "response": "A"},
        {"prompt": "P", "completion": "C", "history": []}, {"prompt": TURNS[:1], "completion": TURNS[1:]},
    ],
    "pair": [
        {"prompt": "P", "chosen": "C", "rejected": "R", "score_chosen": 2.0, "score_rejected": 1}, {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No"}]},
        {"prompt": [TURNS[0]], "completion": [TURNS[1]], "label": True}, {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}},
        {"question": "Q", "response_0": "A", "response_1": "B", "better_response_id": 0},
    ],
    "ranking": [
        {"prompt": "P", "answers": ["A", "B", "C"], "scores": [3.0, 2.0, 1.0]}, {"prompt": "P", "answers": ["A", "B"], "rank": [1, 2]},
        {"instruction": "I", "completions": [{"model": "m", "response": "A", "overall_score": 7.5}, {"model": "n", "response": "B", "overall_score": 2}]},
    ],
}  # fmt: skip
NUMBER = "\ue000"
"""Stands for a number that Python's JSON cannot write."""
ODD: list[Any] = [
    None, True, 0, -1, 17, 1.5, float("nan"), float("inf"), 10**400, NUMBER, "", " ", "x", "\ud800", "17", "NaN", "[]", "{", "null", [], [None], [[]], [[[]]], [17, "a", None], {}, {"": None},
    {"role": 1}, [{"role": None, "content": {}}], [{"from": [], "value": 0}], {"text": [None]}, [["a"]], [["a", "b", "c"]], [True, {"a": float("nan")}],
]  # fmt: skip


def replaced(value: Any) -> Iterator[Any]:
    """The value with each of its parts, itself too, taken away or put in place by each odd one, one at a time."""
    yield from ODD
    if isinstance(value, dict):
        for name in value:
            yield {key: own for key, own in value.items() if key != name}
            yield from ({**value, name: odd} for odd in replaced(value[name]))
    elif isinstance(value, list):
        for i in range(len(value)):
            yield value[:i] + value[i + 1 :]
            yield from ([*value[:i], odd, *value[i + 1 :]] for odd in replaced(value[i]))


@pytest.mark.parametrize(
    "shape, number", [(shape, number) for shape, rows in ROWS.items() for number in range(len(rows))]
)
def test_any_value_in_any_field(tmp_path, shape, number):
    sound = json.dumps(ROWS[shape][number])
    lines = [json.dumps(row).replace(json.dumps(NUMBER), "1e999") for row in replaced(ROWS[shape][number])]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*lines, sound]) + "\n")
    made = read(path, {"as": shape})
    assert made.raws == len(lines) + 1
    reasons = made.ledger["reason"].to_pylist()
    assert "ingest.failed" not in reasons, [
        note for note, reason in zip(made.ledger["note"].to_pylist(), reasons) if reason == "ingest.failed"
    ][:5]
    if "label" not in ROWS[shape][number]:  # which waits for its counterpart
        assert reasons[-1] is None, made.ledger.slice(len(made.ledger) - 1).to_pylist()
