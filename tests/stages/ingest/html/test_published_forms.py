"""Small rows in the forms in which trainers and well-known sets publish theirs: column by column, nothing is lost."""

from __future__ import annotations

import json

import pytest

from stages.ingest.labelled import COLUMNS, Misfit, chat, pair, ranking, verdict

U, A, A2 = (
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "A"},
    {"role": "assistant", "content": "B"},
)
S = {"role": "system", "content": "S"}
HUMAN, GPT = {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}
SCHEMA = {"type": "function", "function": {"name": "w", "parameters": {}}}
CALLS = [{"id": None, "name": "w", "arguments": '{"x": 1}'}]

CHATS = {
    "TRL messages": ({"messages": [S, U, A]}, [S, U, A]),
    "TRL prompt and completion as turns": ({"prompt": [S, U], "completion": [A], "chat_template_kwargs": {"enable_thinking": False}}, [S, U, A]),
    "TRL prompt and completion": ({"prompt": "Q", "completion": "A"}, [U, A]),
    "OpenAI with functions": ({"messages": [U, A | {"weight": 1}], "functions": [SCHEMA["function"]], "parallel_tool_calls": False}, [U, A | {"train": True}]),
    "LLaMA-Factory alpaca": ({"instruction": "Q", "input": "in", "output": "A", "system": "S", "history": [["Q", "A"]], "images": ["x.png"]}, [S, U, A, U | {"content": "Q\nin"}, A]),
    "LLaMA-Factory prompt, query, response": ({"prompt": "Q", "query": "in", "response": "A"}, [U | {"content": "Q\nin"}, A]),
    "LLaMA-Factory sharegpt": ({"conversations": [HUMAN, GPT], "system": "S", "tools": json.dumps([SCHEMA])}, [S, U, A]),
    "LLaMA-Factory KTO": ({"conversations": [HUMAN, GPT], "kto_tag": True}, [U, A]),
    "axolotl chat_template with train": ({"conversations": [{"from": "human", "value": "Q", "train": False}, {"from": "assistant", "value": "A", "train": True}]}, [U | {"train": False}, A | {"train": True}]),
    "axolotl pygmalion": ({"conversations": [{"role": "human", "value": "Q"}, {"role": "bot", "value": "A"}]}, [U, A]),
    "axolotl message_property_mappings": ({"messages": [{"speaker": "user", "text": "Q"}, {"speaker": "assistant", "text": "A"}]}, [U, A]),
    "axolotl oasst": ({"INSTRUCTION": "Q", "RESPONSE": "A", "SOURCE": "x"}, [U, A]),
    "axolotl metharme": ({"prompt": "Q", "generation": "A"}, [U, A]),
    "axolotl context_qa": ({"article": "C", "question": "Q", "answer": "A"}, [U | {"content": "Q\nC"}, A]),
    "ShareGPT raw": ({"id": "x", "conversations": [HUMAN, GPT], "items": 1}, [U, A]),
    "OpenOrca": ({"id": "x", "system_prompt": "S", "question": "Q", "response": "A"}, [S, U, A]),
    "Orca mini": ({"system": "S", "instruction": "Q", "output": "A"}, [S, U, A]),
    "Dolly": ({"instruction": "Q", "context": "C", "response": "A", "category": "closed_qa"}, [U | {"content": "Q\nC"}, A]),
    "Dolly without context": ({"instruction": "Q", "context": "", "response": "A", "category": "open_qa"}, [U, A]),
    "UltraChat": ({"id": "0", "data": ["Q", "A", "Q", "A"]}, [U, A, U, A]),
    "UltraChat 200k": ({"prompt": "Q", "prompt_id": "x", "messages": [U, A]}, [U, A]),
    "LMSYS chat 1M": ({"conversation_id": "x", "model": "m", "conversation": [U, A], "turn": 1, "language": "English", "openai_moderation": [], "redacted": False}, [U, A]),
    "Capybara": ({"source": "x", "conversation": [{"input": "Q", "output": "A"}, {"input": "Q", "output": "A"}]}, [U, A, U, A]),
    "LIMA": ({"conversations": ["Q", "A"], "source": "x"}, [U, A]),
    "No Robots": ({"prompt": "Q", "prompt_id": "x", "messages": [S, U, A], "category": "Brainstorm"}, [S, U, A]),
    "MOSS": ({"chat": [{"human": "Q", "assistant": "A"}]}, [U, A]),
    "OpenAssistant threads": ({"messages": [{"role": "prompter", "text": "Q"}, {"role": "assistant", "text": "A"}]}, [U, A]),
    "HelpSteer": ({"prompt": "Q", "response": "A", "helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 2}, [U, A]),
    "KoAlpaca": ({"instruction": "Q", "output": "A", "url": "https://x"}, [U, A]),
    "Korean columns": ({"질문": "Q", "답변": "A", "분야": "음식"}, [U, A]),
    "Q and A": ({"Q": "Q", "A": "A", "label": 0}, [U, A]),
    "a table with messages as JSON text": ({"messages": json.dumps([U, A])}, [U, A]),
    "Glaive": ({"system": "S", "chat": "USER: Q\n\n\nASSISTANT: A <|endoftext|>\n\n\nFUNCTION RESPONSE: {}\n\n\nASSISTANT: A <|endoftext|>"}, [S, U, A, {"role": "tool", "content": "{}"}, A]),
    "xLAM": ({"id": 0, "query": "Q", "answers": '[{"name": "w", "arguments": {"x": 1}}]', "tools": json.dumps([{"name": "w"}])}, [U, A | {"content": "", "tool_calls": CALLS}]),
    "gpt-oss thinking": ({"messages": [U, A | {"thinking": "r"}], "reasoning_language": "English"}, [U, A | {"reasoning": "r"}]),
    "medical o1": ({"Question": "Q", "Complex_CoT": "r", "Response": "A"}, [U, A | {"reasoning": "r"}]),
    "a prompt with reasoning": ({"prompt": "Q", "reasoning_content": "r", "completion": "A"}, [U, A | {"reasoning": "r"}]),
}  # fmt: skip


def whole(found, row: dict) -> None:
    """Columns that found no place go to `meta`: those that `used` names say something in the row that was made."""
    made = json.dumps(
        [
            getattr(found, side, None)
            for side in (
                "messages",
                "prompt",
                "chosen",
                "rejected",
                "answer",
                "tools",
                "score_chosen",
                "score_rejected",
            )
        ],
        ensure_ascii=False,
    )
    for name in found.used:
        value = row[name]
        if isinstance(value, str) and value.strip() and not value.lstrip().startswith(("[", "{", "\n\nHuman", "USER")):
            assert value.strip() in json.loads(f'"{value}"') and (
                json.dumps(value, ensure_ascii=False)[1:-1] in made or name in ("winner", "kto_tag")
            ), name


@pytest.mark.parametrize("name", CHATS)
def test_chats(name):
    row, wanted = CHATS[name]
    found = chat(row)
    assert found.messages == wanted and found.note is None
    assert {"tools", "functions"} & set(row) == {"tools", "functions"} & set(found.used) and (
        found.tools is not None
    ) == bool({"tools", "functions"} & set(row))
    whole(found, row)


PAIRS = {
    "TRL explicit": ({"prompt": [U], "chosen": [A], "rejected": [A2]}, [U]),
    "TRL explicit, text": ({"prompt": "Q", "chosen": "A", "rejected": "B"}, [U]),
    "TRL implicit": ({"chosen": [U, A], "rejected": [U, A2]}, [U]),
    "OpenAI preference": ({"input": {"messages": [U], "tools": [SCHEMA], "parallel_tool_calls": True}, "preferred_output": [A], "non_preferred_output": [A2]}, [U]),
    "LLaMA-Factory alpaca": ({"instruction": "Q", "input": "", "chosen": "A", "rejected": "B"}, [U]),
    "LLaMA-Factory sharegpt": ({"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "B"}, "system": "S"}, [S, U]),
    "axolotl chat_template.default": ({"messages": [S, U], "chosen": A, "rejected": A2}, [S, U]),
    "axolotl chatml.intel": ({"system": "S", "question": "Q", "chosen": "A", "rejected": "B"}, [S, U]),
    "UltraFeedback binarized": ({"prompt": "Q", "prompt_id": "x", "chosen": [U, A], "rejected": [U, A2], "messages": [U, A], "score_chosen": 8.5, "score_rejected": 7.0}, [U]),
    "Argilla": ({"instruction": "Q", "chosen_response": "A", "rejected_response": "B", "chosen_avg_rating": 5.0, "rejected_avg_rating": 3.0}, [U]),
    "whole conversations and the first question": ({"prompt": "Q", "chosen": [U, A, U, A], "rejected": [U, A, U, A2]}, [U, A, U]),
    "messages that end with the chosen answer": ({"messages": [U, A], "chosen": [A], "rejected": [A2]}, [U]),
    "a system prompt beside whole conversations": ({"system": "S", "prompt": "another", "chosen": [U, A], "rejected": [U, A2]}, [S, U]),
    "HH-RLHF": ({"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}, [U]),
    "PKU-SafeRLHF": ({"prompt": "Q", "response_0": "B", "response_1": "A", "is_response_0_safe": False, "is_response_1_safe": True, "better_response_id": 1, "safer_response_id": 1}, [U]),
    "HelpSteer2 preference": ({"prompt": "Q", "response_1": "A", "response_2": "B", "preference_strength": -2, "preference_statement": "x"}, [U]),
    "HelpSteer3": ({"domain": "general", "language": "english", "context": [U], "response1": "B", "response2": "A", "overall_preference": 1, "individual_preference": []}, [U]),
    "LMSYS arena": ({"question_id": "x", "model_a": "m", "model_b": "n", "winner": "model_b", "conversation_a": [U, A2], "conversation_b": [U, A], "turn": 1}, [U]),
    "LMSYS arena, texts": ({"prompt": '["Q", "Q"]', "response_a": '["A", "A"]', "response_b": '["A", "B"]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, [U, A, U]),
    "SHP": ({"post_id": "x", "history": "Q", "human_ref_A": "A", "human_ref_B": "B", "labels": 1, "score_A": 5, "score_B": 2}, [U]),
    "WebGPT": ({"question": "Q", "answer_0": "B", "answer_1": "A", "score_0": -1.0, "score_1": 1.0}, [U]),
    "AlpacaEval": ({"instruction": "Q", "output_1": "A", "output_2": "B", "preference": 1}, [U]),
    "Stack Exchange pairs": ({"qid": 1, "question": "Q", "response_j": "A", "response_k": "B"}, [U]),
    "two outputs": ({"instruction": "Q", "output": ["A", "B"]}, [U]),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("read", [pair, lambda row: ranking(row, "best-worst")[0]], ids=["pair", "ranking"])
def test_pairs(name, read):
    row, wanted = PAIRS[name]
    if read is not pair and isinstance(row.get("output"), list):
        return
    found = read(row)
    assert (found.prompt, found.chosen, found.rejected) == (wanted, [A], [A2])
    if "score_chosen" in row or "chosen_avg_rating" in row:
        assert found.score_chosen > found.score_rejected
    left = set(row) - set(found.used)
    assert left <= {"prompt_id", "messages", "prompt", "question_id", "model_a", "model_b", "turn", "post_id", "qid", "domain", "language", "individual_preference", "preference_statement",
                    "is_response_0_safe", "is_response_1_safe", "safer_response_id", "score_A", "score_B", "score_0", "score_1", "winner_tie", "input", "history"} | set(row) - COLUMNS  # fmt: skip
    assert found.tools == (json.dumps([SCHEMA]) if name == "OpenAI preference" else None)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "response_a": "A", "response_b": "B", "winner": "tie"},
        {"prompt": "Q", "response_a": "A", "response_b": "B", "winner": "tie (bothbad)"},
        {"prompt": "Q", "response_1": "A", "response_2": "B", "preference_strength": 0},
        {"instruction": "Q", "output_1": "A", "output_2": "B", "preference": 1.5},
        {"question": "Q", "answer_0": "A", "answer_1": "B", "score_0": 0.5, "score_1": 0.5},
    ],
)
def test_ties_prefer_nothing(row):
    with pytest.raises(Misfit) as fault:
        pair(row)
    assert fault.value.reason == "ingest.equal_pair"


def test_two_answers_of_which_none_is_preferred():
    with pytest.raises(Misfit, match="prefers") as fault:
        pair({"prompt": "Q", "response_a": "A", "response_b": "B"})
    assert fault.value.reason == "ingest.wrong_columns"


def test_sides_that_differ_in_what_they_call_or_think_are_two():
    call = lambda city: A | {"content": "", "tool_calls": [{"name": "w", "arguments": {"city": city}}]}  # noqa: E731
    found = pair({"prompt": [U], "chosen": [call("서울")], "rejected": [call("부산")], "tools": [SCHEMA]})
    assert found.chosen[0]["tool_calls"][0]["arguments"] == '{"city": "서울"}' and found.tools
    assert pair({"prompt": [U], "chosen": [A | {"reasoning": "r"}], "rejected": [A]}).chosen == [A | {"reasoning": "r"}]
    with pytest.raises(Misfit) as fault:
        pair({"prompt": [U], "chosen": [call("서울")], "rejected": [call("서울")]})
    assert fault.value.reason == "ingest.equal_pair"


def test_ultrafeedback_and_nectar_as_rankings():
    completions = [
        {
            "model": "m",
            "response": text,
            "overall_score": score,
            "critique": "x",
            "annotations": {"honesty": {"Rating": "4"}},
        }
        for text, score in (("B", 2.0), ("A", 8.5))
    ]
    (found,) = ranking({"instruction": "Q", "models": ["m", "n"], "completions": completions}, "best-worst")
    assert (found.prompt, found.chosen, found.rejected, found.score_chosen) == ([U], [A], [A2], 8.5)
    assert all(word in found.note for word in ("model", "critique", "annotations"))
    (found,) = ranking(
        {
            "prompt": "\n\nHuman: Q\n\nAssistant: ",
            "answers": [{"answer": "B", "model": "n", "rank": 7.0}, {"answer": "A", "model": "m", "rank": 1.0}],
        },
        "best-worst",
    )
    assert (found.chosen, found.rejected) == ([A], [A2])


def test_verdicts_of_trl_and_llama_factory():
    for row in (
        {"prompt": [U], "completion": [A], "label": False},
        {"prompt": "Q", "completion": "A", "label": "false"},
        {"messages": [U, A], "kto_tag": False},
        {"instruction": "Q", "input": "", "output": "A", "kto_tag": False},
    ):
        found = verdict(row)
        assert (found.prompt, found.answer, found.good) == ([U], [A], False) and {"label", "kto_tag"} & set(row) <= set(
            found.used
        )


def test_two_ways_to_ask_keep_what_is_not_used():
    found = chat({"messages": [U, A], "prompt": "another question", "data": ["x", "y"]})
    assert found.messages == [U, A] and found.used == ("messages",)
    found = chat({"prompt": "Q", "completion": "A", "data": ["x", "y"], "context": {"title": "t"}})
    assert found.messages == [U, A] and set(found.used) == {"prompt", "completion"}
