"""Keys of a turn: each is a field of the row, or is named in the note of the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.labelled import Misfit, chat, pair, ranking, verdict

ASK = {"role": "user", "content": "Q"}
CALL = {"id": None, "name": "w", "arguments": '{"city": "서울"}'}
BIG = int("9" * 400)


def last(*turns, **columns):
    """The last turn of a conversation of `turns` behind a question, and the note."""
    found = chat({"messages": [ASK, *turns], **columns})
    return found.messages[-1], found.note


@pytest.mark.parametrize(
    "turn, place",
    [
        ({"reasoning": "r"}, {"reasoning": "r"}),
        ({"reasoning_content": "r"}, {"reasoning": "r"}),
        ({"thinking": "r"}, {"reasoning": "r"}),
        ({"thinking": "e\u0301"}, {"reasoning": "é"}),
        ({"content": "<think>r</think>A"}, {"content": "<think>r</think>A"}),
        ({"weight": 0}, {"train": False}),
        ({"weight": 1.0}, {"train": True}),
        ({"train": False}, {"train": False}),
        ({"training": "true"}, {"train": True}),
        ({"trainable": True}, {"train": True}),
        ({"loss": False}, {"train": False}),
        ({"loss_weight": 0.0}, {"train": False}),
        ({"mask": True}, {"train": False}),
        ({"masked": 0}, {"train": True}),
        ({"train": True, "weight": 0}, {"train": False}),
        ({"name": "kim"}, {"name": "kim"}),
        ({"content": None, "tool_calls": [{"type": "function", "function": {"name": "w", "arguments": {"city": "서울"}}}]}, {"content": "", "tool_calls": [CALL]}),
        ({"content": "", "tool_calls": [{"name": "w", "parameters": {"city": "서울"}}]}, {"content": "", "tool_calls": [CALL]}),
        ({"content": "", "tool_calls": {"name": "w", "args": {"city": "서울"}}}, {"content": "", "tool_calls": [CALL]}),
        ({"content": None, "tool_calls": json.dumps([{"name": "w", "arguments": {"city": "서울"}}])}, {"content": "", "tool_calls": [CALL]}),
        ({"content": None, "tool_calls": [json.dumps({"name": "w", "arguments": {"city": "서울"}})]}, {"content": "", "tool_calls": [CALL]}),
        ({"content": None, "tool_calls": [{"id": "c1", "function": {"name": "w", "arguments": '{"city":  "서울"}'}}]}, {"content": "", "tool_calls": [CALL | {"id": "c1", "arguments": '{"city":  "서울"}'}]}),
        ({"content": None, "function_call": {"name": "w", "arguments": '{"city": "서울"}'}}, {"content": "", "tool_calls": [CALL]}),
        ({"content": None, "tool_calls": [{"function": {"name": "w", "arguments": None}}]}, {"content": "", "tool_calls": [CALL | {"arguments": "{}"}]}),
        ({"content": "", "tool_calls": [{"function": "w", "arguments": {"city": "서울"}}]}, {"content": "", "tool_calls": [CALL]}),
        ({"content": [{"type": "text", "text": "a"}, "b", {"text": "c"}, {"type": "text", "value": "d"}]}, {"content": "a\nb\nc\nd"}),
        ({"content": {"content_type": "text", "parts": ["a", "b"]}}, {"content": "a\nb"}),
        ({"content": [{"type": "output_text", "text": "a"}]}, {"content": "a"}),
        ({"content": [{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "a"}, {"type": "tool_use", "id": "c1", "name": "w", "input": {"city": "서울"}}]},
         {"content": "a", "reasoning": "r", "tool_calls": [CALL | {"id": "c1"}]}),
        ({"content": None, "refusal": "no"}, {"content": "no"}),
        ({"value": "A", "content": None}, {"content": "A"}),
        ({"text": "A", "content": None}, {"content": "A"}),
        ({"name": None, "weight": None, "tool_calls": None, "reasoning": "", "train": None}, {}),
    ],
)  # fmt: skip
def test_each_key_is_a_field(turn, place):
    made, note = last({"role": "assistant", "content": "A", **turn})
    assert made == {"role": "assistant", "content": "A", **place} and note is None


@pytest.mark.parametrize(
    "turn, words",
    [
        ({"emotion": "glad", "score": 0}, ["emotion", "score"]),
        ({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]}, ["train_detail"]),
        ({"weight": 0.5}, ["weight is neither 0 nor 1"]),
        ({"weight": "much"}, ["weight"]),
        ({"value": "other words"}, ["value"]),
        ({"reasoning": {"effort": "high"}}, ["reasoning"]),
        ({"reasoning": "a", "thinking": "b"}, ["thinking"]),
        ({"content": [{"type": "text", "text": "a", "cache_control": {"x": 1}}]}, ["cache_control"]),
        ({"tool_calls": [{"name": "w", "arguments": {}, "index": 3}]}, ["tool_calls.index"]),
        ({"tool_calls": [{"name": "w", "arguments": "{'a': 1}"}]}, ["no JSON"]),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:x"}}]},
            ["no text: image"],
        ),
        ({"content": [{"image": "x.png"}, {"text": "a"}]}, ["no text: image"]),
        ({"content": [{"type": "input_audio", "input_audio": {}}, "a"]}, ["no text: audio"]),
        ({f"key{n}": 1 for n in range(20)}, ["key0", "and 8 more"]),
    ],
)
def test_what_is_no_field_is_named(turn, words):
    _, note = last({"role": "assistant", "content": "A", **turn})
    assert note and all(word in note for word in words)


def test_a_part_that_is_no_text_is_marked_where_it_stood():
    found = chat(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "http://x"}},
                        {"type": "text", "text": "What?"},
                    ],
                },
                {"role": "assistant", "content": "A"},
            ]
        }
    )
    assert found.messages[0]["content"] == "<image>\nWhat?" and "http" not in found.note


@pytest.mark.parametrize("role", ["tool", "function", "observation", "ipython", "tool_response", "TOOL"])
def test_results_of_tools_keep_name_and_id(role):
    found = chat(
        {
            "messages": [
                ASK,
                {"role": role, "content": "21", "name": "w", "tool_call_id": "c1"},
                {"role": "assistant", "content": "A"},
            ]
        }
    )
    assert (
        found.messages[1] == {"role": "tool", "content": "21", "name": "w", "tool_call_id": "c1"} and found.note is None
    )
    found = chat({"messages": [ASK, {"role": role, "content": {"temp": 21}}, {"role": "assistant", "content": "A"}]})
    assert found.messages[1]["content"] == '{"temp": 21}'
    found = chat(
        {
            "messages": [
                ASK,
                {"role": role, "content": [{"temp": 21}, {"temp": 3}]},
                {"role": "assistant", "content": "A"},
            ]
        }
    )
    assert found.messages[1]["content"] == '[{"temp": 21}, {"temp": 3}]'


def test_results_inside_a_users_turn_are_turns_of_the_tool():
    said = [
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "21"}]},
        {"type": "text", "text": "And?"},
    ]
    found = chat(
        {
            "messages": [
                ASK,
                {"role": "user", "content": said},
                {"role": "user", "content": said[:1]},
                {"role": "assistant", "content": "A"},
            ]
        }
    )
    result = {"role": "tool", "content": "21", "tool_call_id": "c1"}
    assert found.messages[1:4] == [result, {"role": "user", "content": "And?"}, result]


def test_sharegpt_calls_and_what_is_none():
    turns = [
        {"from": "human", "value": "Q"},
        {"from": "function_call", "value": '{"name": "w", "arguments": {"city": "서울"}}'},
        {"from": "observation", "value": "21"},
        {"from": "gpt", "value": "A"},
    ]
    found = chat({"conversations": turns, "tools": '[{"name": "w", "parameters": {}}]'})
    assert (
        found.messages[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
        and found.tools == '[{"name": "w", "parameters": {}}]'
    )
    turns[1]["value"] = "call w please"
    found = chat({"conversations": turns})
    assert found.messages[1] == {"role": "assistant", "content": "call w please"} and "left as text" in found.note


@pytest.mark.parametrize(
    "tools, kept",
    [
        ([{"name": "w", "parameters": None}], '[{"name": "w", "parameters": null}]'),
        ('[{"name":"w"}]', '[{"name":"w"}]'),
        ({"name": "w"}, '[{"name": "w"}]'),
        (['{"name": "w"}'], '[{"name": "w"}]'),
        ([], None),
        ("", None),
        ("a tool that finds things", None),
        ([1], None),
    ],
)
def test_tools_beside_a_conversation(tools, kept):
    found = chat({"messages": [ASK, {"role": "assistant", "content": "A"}], "tools": tools})
    assert found.tools == kept and ("tools" in found.used) == (kept is not None)
    assert (found.note is not None) == (kept is None and bool(tools))
    if isinstance(tools, list) and kept:
        assert chat({"messages": [ASK, {"role": "assistant", "content": "A"}], "functions": tools}).tools == kept


def test_an_empty_system_turn_is_none():
    for row in (
        {"messages": [{"role": "system", "content": " \n"}, ASK, {"role": "assistant", "content": "A"}]},
        {"messages": [{"role": "system", "content": ""}, ASK, {"role": "assistant", "content": "A"}]},
        {"system": "", "instruction": "Q", "output": "A"},
        {"system_prompt": "  ", "question": "Q", "response": "A"},
    ):
        assert [turn["role"] for turn in chat(row).messages] == ["user", "assistant"]


@pytest.mark.parametrize(
    "value", [1, True, float("nan"), 2.5, {"a": 1}, "text", ["a"], [["a"]], [["a", None]], [1], [["a", "b", "c"]]]
)
def test_a_history_that_is_none_is_the_rows_fault(value):
    with pytest.raises(Misfit) as fault:
        chat({"instruction": "a", "output": "b", "history": value})
    assert fault.value.reason == "ingest.wrong_columns"


ODD = [
    1,
    BIG,
    True,
    float("nan"),
    float("inf"),
    2.5,
    {"a": 1},
    {"role": 3, "content": 4},
    [],
    [1],
    [None],
    [[]],
    "",
    " ",
    "[",
    '[{"role": 1}]',
    [{"role": "user"}],
    None,
]


@pytest.mark.parametrize("value", ODD, ids=lambda v: repr(v)[:20])
def test_a_value_of_an_unexpected_type_is_the_rows_fault(value):
    columns = "messages conversations conversation data chat system system_prompt instruction input context prompt completion response history tools chosen rejected label kto_tag answers scores ranks winner response_a response_b score_chosen functions reasoning better_response_id".split()
    rows = [
        {"instruction": "a", "output": "b"},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "answers": ["b", "c"], "scores": [1, 2]},
        {"prompt": "a", "response_a": "b", "response_b": "c", "winner": "model_a"},
    ]
    keys = "role from content value tool_calls function_call name tool_call_id weight train mask reasoning".split()
    turn = {"role": "assistant", "content": "A"}
    rows = [{**row, name: value} for row in rows for name in columns] + [
        {"messages": [ASK, {**turn, key: value}]} for key in keys
    ]
    rows += [
        {"prompt": "a", "answers": [{"text": "b", key: value}, {"text": "c", key: 1}]}
        for key in ("text", "score", "rank", "overall_score")
    ]
    for row in rows:
        for read in (chat, pair, verdict, lambda row: ranking(row, "all")):
            try:
                read(row)
            except Misfit:
                pass


WORDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["user", "assistant", "tool", "[", "{}", "true"]),
)
NESTED = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "role from content value text type tool_calls function name arguments id parts input output".split()
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from(
            "messages conversations data chat prompt instruction input context system history tools output response answers chosen rejected label scores response_0 response_1 winner".split()
        ),
        NESTED,
        max_size=5,
    )
)
def test_any_row_is_read_or_refused(row):
    for read in (chat, pair, verdict, lambda row: ranking(row, "best-rest")):
        try:
            found = read(row)
        except Misfit as fault:
            assert fault.reason.startswith("ingest.")
            continue
        for one in found if isinstance(found, list) else [found]:
            for side in ("messages", "prompt", "chosen", "rejected", "answer"):
                for turn in getattr(one, side, ()):
                    assert isinstance(turn["content"], str) and turn["role"] in ("system", "user", "assistant", "tool")


@pytest.mark.parametrize("score", [BIG, -BIG, float("nan"), float("inf"), True, "9", [9], {"a": 1}, None])
def test_a_score_that_is_no_number_is_the_rows_fault(score):
    for row in (
        {"prompt": "P", "answers": ["a", "b"], "scores": [1, score]},
        {"prompt": "P", "answers": [{"text": "a", "score": 1}, {"text": "b", "score": score}]},
    ):
        with pytest.raises(Misfit) as fault:
            ranking(row, "all")
        assert fault.value.reason == "ingest.wrong_columns"
    row = {"prompt": "P", "chosen": "a", "rejected": "b", "score_chosen": score, "score_rejected": 1}
    if isinstance(score, (float, int)) and not isinstance(score, bool):
        with pytest.raises(Misfit):
            pair(row)
    else:  # what is no number at all is not among the scores: it goes to `meta`
        assert "score_chosen" not in pair(row).used and pair(row).score_rejected == 1.0


def test_deep_and_long_values_are_the_rows_fault():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, {"a": deep}, 10**5000):
        for row in (
            {
                "messages": [
                    ASK,
                    {"role": "assistant", "content": "A", "tool_calls": [{"name": "w", "arguments": {"x": value}}]},
                ]
            },
            {"messages": [ASK, {"role": "tool", "content": {"x": value}}, {"role": "assistant", "content": "A"}]},
        ):
            with pytest.raises(Misfit):
                chat(row)


def test_segments_become_turns_by_what_is_trained():
    parts = [
        {"label": False, "text": "<s>Hello\n"},
        {"label": True, "text": "hi there!"},
        {"label": False, "text": "</s>good"},
        {"label": False, "text": "bye"},
        {"label": True, "text": "fare<b>well</s>"},
    ]
    made = chat({"segments": parts})
    assert made.messages == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "hi there!", "train": True},
        {"role": "user", "content": "goodbye"},
        {"role": "assistant", "content": "fare<b>well", "train": True},
    ]
    assert made.rule == "ingest.segments" and made.used == ("segments",) and "without roles" in made.note


@pytest.mark.parametrize(
    "segments, reason",
    [
        ([{"label": False, "text": "all of it context"}], "ingest.empty"),
        ([{"label": True, "text": "an answer to nothing"}], "ingest.empty"),
        ([{"label": None, "text": "unlabelled"}], "ingest.wrong_columns"),
        ([{"text": "no label"}, "no record"], "ingest.wrong_columns"),
    ],
)
def test_segments_that_are_no_conversation_say_why(segments, reason):
    with pytest.raises(Misfit) as fault:
        chat({"segments": segments})
    assert fault.value.reason == reason and "context" not in fault.value.note


def test_a_conversation_column_goes_before_segments():
    parts = [{"label": False, "text": "Q"}, {"label": True, "text": "A"}]
    assert "segments" not in chat({"messages": [ASK, {"role": "assistant", "content": "A"}], "segments": parts}).used


SHARED = {
    "01-empty-system.jsonl": 5, "07-tools.jsonl": 3, "09-reasoning.jsonl": 2, "10-weight.jsonl": 2, "11-systemprompt.jsonl": 2, "c1-dolly-context.jsonl": 1,
    "c2-content-parts.jsonl": 1, "c3-openai-toolcalls.jsonl": 1, "c4-query-response.jsonl": 1, "x3-history.jsonl": 0,
}  # fmt: skip
"""Rows kept of each file."""
WORDS_OF = {
    "09-reasoning.jsonl": ("because two and two", "three"), "11-systemprompt.jsonl": ("Be brief.", "SYSTEM: you can call f"),
    "c1-dolly-context.jsonl": ("A mill has two stones.", "closed_qa"), "07-tools.jsonl": ("Seoul", "21 C"),
    "c2-content-parts.jsonl": ("What is a millstone used for?", "It grinds grain into flour."), "c3-openai-toolcalls.jsonl": ("lookup", '{\\"q\\": \\"millstone\\"}', "grinding", "c1"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_the_shared_conversations_are_kept_with_all_they_say(name, ingest, rows, reasons):
    path = Path(__file__).resolve().parents[5] / "shared" / "faults" / "inputs" / name
    if not path.is_file():
        pytest.skip("the shared inputs (../shared/faults) are not beside this checkout")
    store = ingest(path, **{"as": "chat"})
    kept = rows(store)
    assert len(kept) == SHARED[name] and reasons(store) == (
        {None: SHARED[name]} if kept else {"ingest.wrong_columns": 1}
    )
    text = json.dumps(kept, ensure_ascii=False)
    assert all(word in text for word in WORDS_OF.get(name, ()))
    turns = [turn for row in kept for turn in row["messages"]]
    assert all(turn["content"].strip() or turn["tool_calls"] or turn["role"] != "system" for turn in turns), (
        "no empty system turn"
    )
    if name == "10-weight.jsonl":
        assert [turn["train"] for turn in turns] == [None, False, None, True] * 2
    if name == "c2-content-parts.jsonl":
        assert [turn["train"] for turn in turns] == [False, True]
    if name == "09-reasoning.jsonl":
        assert [turn["reasoning"] for turn in turns if turn["role"] == "assistant"] == ["because two and two", "three"]
    if name == "07-tools.jsonl":
        assert [
            [call["name"] for call in turn["tool_calls"] or ()] for turn in turns if turn["role"] == "assistant"
        ] == [["w"], [], ["w"], [], ["w"]]
        assert [row["tools"] is not None for row in kept] == [True, False, False]
    if name == "x3-history.jsonl":
        assert "history is a int" in store.ledgers()["note"][0].as_py()
