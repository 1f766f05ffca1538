"""Conversations with tools, reasoning, names and words on training: nothing of them is lost in pairs, exports and the way back."""

import json

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import bare
from pipeline.storage.store import Store
from stages.export.commands import StoreExport
from stages.ingest import Ingest
from tests.stages.dpo.conftest import LABEL, chat_row
from tests.stages.dpo.test_judged import SOME, ScriptedTeacher

SCHEMAS = '[{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {"grain": {"type": "string"}}}}}]'
CALL = {"id": "call_1", "type": "function", "function": {"name": "weigh", "arguments": '{"grain":"콩"}'}}
OPENAI = {
    "messages": [
        {"role": "system", "content": "짧게 답해."},
        {"role": "user", "content": "콩은 몇 킬로그램이야?", "name": "minji"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "저울을 써야 한다.",
            "tool_calls": [CALL],
            "weight": 0,
        },
        {"role": "tool", "content": '{"kg": 3}', "name": "weigh", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "3킬로그램입니다.", "reasoning_content": "저울은 3을 가리킨다.", "weight": 1},
    ],
    "tools": json.loads(SCHEMAS),
}


def talk(*left_out, untrained=False):
    """The turns of OPENAI in the schema, without the keys `left_out`."""
    turns = [
        {"role": "system", "content": "짧게 답해."},
        {"role": "user", "content": "콩은 몇 킬로그램이야?", "name": "minji"},
        {
            "role": "assistant",
            "content": "",
            "reasoning": "저울을 써야 한다.",
            "tool_calls": [{"id": "call_1", "name": "weigh", "arguments": '{"grain":"콩"}'}],
            "train": not untrained,
        },
        {"role": "tool", "content": '{"kg": 3}', "name": "weigh", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "3킬로그램입니다.", "reasoning": "저울은 3을 가리킨다.", "train": True},
    ]
    return [
        {name: value for name, value in turn.items() if name not in left_out or turn["role"] == "tool"}
        for turn in turns
    ]


@pytest.fixture
def read(tmp_path):
    """`read(lines, name)` -> the rows that ingest makes of JSON lines."""

    def run(lines, name, **options):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
        stage, store = Ingest.build({"from": str(path), **options}, "ingest"), Store(tmp_path / f"{name}-rows")
        receipts = stage.run(Inputs(), store, Inline())
        store.commit_manifest(
            {"stage": "ingest", "shape": stage.output(), "key": "test", "lineage": {}, "schema": []},
            [receipt.shard for receipt in receipts],
        )
        return store

    return run


@pytest.fixture
def exported(tmp_path):
    def run(store, to):
        StoreExport(store=store.path, out=str(tmp_path / to), to=to).run()
        left_out = tmp_path / to / f"{store.name}.left-out.jsonl"
        lines = [json.loads(line) for line in (tmp_path / to / f"{store.name}.jsonl").read_text("utf-8").splitlines()]
        return lines, [
            json.loads(line)["reason"] for line in left_out.read_text().splitlines()
        ] if left_out.exists() else []

    return run


def said(row, *fields):
    return {**{name: [bare(turn) for turn in row[name]] for name in fields}, "tools": json.loads(row["tools"])}


@pytest.mark.parametrize("to", ["openai", "axolotl"])
def test_a_conversation_comes_back_as_it_was(to, read, exported):
    first = read([OPENAI], "given", **{"as": "chat"})
    [row] = first.table().to_pylist()
    assert [bare(turn) for turn in row["messages"]] == talk(untrained=True)
    lines, left_out = exported(first, to)
    assert not left_out
    [again] = read(lines, f"again-{to}", **{"as": "chat"}).table().to_pylist()
    assert said(again, "messages") == said(row, "messages")
    if to == "openai":
        assert lines == [OPENAI]
    else:
        assert [message.get("train") for message in lines[0]["messages"]] == [None, None, False, None, True]


@pytest.mark.parametrize("to", ["openai", "trl"])
def test_a_pair_comes_back_as_it_was(to, read, exported, make_rows_store):
    turns = talk()
    worse = [{"role": "assistant", "content": "모릅니다.", "reasoning": "귀찮다."}]
    first = make_rows_store(
        "PAIR", [{"id": "1" * 32, "prompt": turns[:-1], "chosen": turns[-1:], "rejected": worse, "tools": SCHEMAS}]
    )
    lines, left_out = exported(first, to)
    assert not left_out
    [row], [again] = first.table().to_pylist(), read(lines, "again", **{"as": "pair"}).table().to_pylist()
    fields = ("prompt", "chosen", "rejected")
    if (
        to == "trl"
    ):  # arguments are objects there, as templates expect; it learns from every answer, and is told of none
        assert again["prompt"][2]["tool_calls"][0]["arguments"] == '{"grain": "콩"}'
        again["prompt"][2]["tool_calls"] = row["prompt"][2]["tool_calls"]
        assert not any(turn["train"] for name in fields for turn in again[name])
        again |= {
            name: [each | {"train": turn["train"]} for each, turn in zip(again[name], row[name])] for name in fields
        }
    assert said(again, *fields) == said(row, *fields)


def test_trl_is_given_objects_and_schemas_and_nothing_that_is_not_to_be_learned(make_rows_store, exported):
    rows = [{"id": f"{n:032x}", "messages": talk(untrained=n == 1), "tools": SCHEMAS} for n in range(2)]
    store = make_rows_store("CHAT", rows)
    lines, left_out = exported(store, "trl")
    assert left_out == ["export.not_trained"] and len(lines) == 1
    assert lines[0]["messages"][2]["tool_calls"][0]["function"] == {"name": "weigh", "arguments": {"grain": "콩"}}
    assert lines[0]["messages"][2]["reasoning_content"] == "저울을 써야 한다." and json.loads(
        lines[0]["tools"]
    ) == json.loads(SCHEMAS)
    lines, left_out = exported(store, "trl-completion")
    assert not left_out and all(line["completion"][0]["reasoning_content"] and line["tools"] for line in lines)


@pytest.mark.parametrize("to", ["trl-kto", "trl-reward"])
def test_trls_other_forms_of_pairs_hold_the_tools(to, make_rows_store, exported):
    turns = talk()
    store = make_rows_store(
        "PAIR",
        [
            {
                "id": "1" * 32,
                "prompt": turns[:-1],
                "chosen": turns[-1:],
                "rejected": [{"role": "assistant", "content": "모릅니다."}],
                "tools": SCHEMAS,
            }
        ],
    )
    lines, left_out = exported(store, to)
    assert not left_out and all(json.loads(line["tools"]) for line in lines)
    assert "저울은 3을 가리킨다." in json.dumps(lines, ensure_ascii=False) and "tool_call_id" in json.dumps(lines)


def test_llama_factory_has_turns_of_calls_and_results(make_rows_store, exported):
    def say(role, text, **more):
        return {"role": role, "content": text, **more}

    call = {"id": "c", "name": "weigh", "arguments": '{"grain": "콩"}'}
    rows = [
        talk("name"),
        [
            say("user", "?"),
            say("assistant", "저울로 재 볼게요.", tool_calls=[call]),
            say("tool", "3"),
            say("assistant", "3"),
        ],
        [
            say("user", "?"),
            say("assistant", "", tool_calls=[call, call]),
            say("tool", "3"),
            say("tool", "4"),
            say("assistant", "3"),
        ],
        talk("name", untrained=True),
        talk(),
        [say("user", "?"), say("assistant", "3", reasoning="셈")],
    ]
    store = make_rows_store(
        "CHAT",
        [{"id": f"{n:032x}", "messages": row, "tools": SCHEMAS if n < 5 else None} for n, row in enumerate(rows)],
    )
    lines, left_out = exported(store, "llamafactory-sharegpt")
    assert left_out == ["export.text_and_call", "export.turns", "export.not_trained", "export.names"]
    whole, thinks = lines
    assert [turn["from"] for turn in whole["conversations"]] == [
        "human",
        "function_call",
        "observation",
        "gpt",
    ] and whole["system"] == "짧게 답해."
    thought, called = whole["conversations"][1]["value"].split("\n\n")
    assert thought == "<think>\n저울을 써야 한다.\n</think>" and json.loads(called) == {
        "name": "weigh",
        "arguments": {"grain": "콩"},
    }
    assert json.loads(whole["tools"]) == json.loads(SCHEMAS) and thinks["tools"] == ""
    assert thinks["conversations"][1]["value"] == "<think>\n셈\n</think>\n\n3"
    lines, left_out = exported(store, "llamafactory-alpaca")
    assert left_out == ["export.tools"] * 5 and lines[0]["output"] == "<think>\n셈\n</think>\n\n3"


@pytest.mark.parametrize("to", ["axolotl", "axolotl-chatml", "llamafactory-alpaca"])
def test_what_a_format_cannot_hold_is_named(to, make_rows_store, exported):
    ask, answer = [{"role": "user", "content": "?"}], [{"role": "assistant", "content": "3"}]
    rejected = [{"role": "assistant", "content": "4"}]
    rows = [
        {"prompt": ask, "chosen": answer, "rejected": rejected},
        {"prompt": ask, "chosen": answer, "rejected": rejected, "tools": SCHEMAS},
        {"prompt": talk()[:-1], "chosen": answer, "rejected": rejected},
        {"prompt": [{**ask[0], "name": "minji"}], "chosen": answer, "rejected": rejected},
        {"prompt": ask, "chosen": [{**answer[0], "reasoning": "셈"}], "rejected": rejected},
        {"prompt": ask, "chosen": [{**answer[0], "train": False}], "rejected": rejected},
    ]
    lines, left_out = exported(make_rows_store("PAIR", [{"id": f"{n:032x}", **row} for n, row in enumerate(rows)]), to)
    thinks = to.startswith("llama")
    assert sorted(left_out) == sorted(
        ["export.tools"] + ["export.names"] * 2 + ["export.reasoning"] * (not thinks) + ["export.not_trained"]
    )
    assert len(lines) == 2 if thinks else 1


# -- the stage ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_tools(make_rows_store):
    """A row with every field set before its answer, one whose answer calls a tool, and an ordinary one."""
    call = [{"id": "call_1", "name": "weigh", "arguments": "{}"}]
    before = [*talk()[:-1], {"role": "assistant", "content": LABEL.format(1), "reasoning": "곰곰이.", "train": True}]
    calls = [{"role": "user", "content": "2?"}, {"role": "assistant", "content": "", "tool_calls": call}]
    rows = [chat_row(1, messages=before, tools=SCHEMAS), chat_row(2, messages=calls), chat_row(3)]
    return make_rows_store("CHAT", rows)


def test_pairs_hold_what_their_rows_hold(with_tools, make_pairs, scripted):
    asked = []
    student = scripted()
    once = student.chat
    student.chat = lambda conversations, sampling, n=1, tools=None: (
        asked.append((conversations, tools)) or once(conversations, sampling, n)
    )
    pairs = make_pairs(with_tools)
    rows, chats = pairs.table().to_pylist(), with_tools.table().to_pylist()
    assert rows[0]["prompt"] == chats[0]["messages"][:-1] and rows[0]["tools"] == SCHEMAS
    assert rows[0]["chosen"] == chats[0]["messages"][-1:] and [*bare(rows[0]["rejected"][0])] == ["role", "content"]
    assert asked[0][1] == [SCHEMAS, None] and asked[0][0][0] == talk()[:-1]
    assert {entry["id"]: entry["reason"] for entry in pairs.ledgers().to_pylist()}[chats[1]["id"]] == "dpo.tool_call"


def test_a_teacher_is_not_asked_where_it_would_need_tools(with_tools, make_pairs, scripted, monkeypatch):
    scripted()
    monkeypatch.setattr(
        "stages.dpo.make.open_teacher",
        lambda options, journal: ScriptedTeacher(lambda request: f"맷돌은 이렇게 씁니다. {request.messages[-1][1]}"),
    )
    pairs = make_pairs(with_tools, method="teacher_vs_student", teacher=SOME)
    assert pairs.ledgers()["reason"].to_pylist() == ["dpo.tool_call", "dpo.tool_call", None]


def test_answers_are_made_again_where_reasoning_or_tools_change():
    from stages.dpo.student import StudentPrompt

    turn = {"role": "user", "content": "?"}
    prompts = [
        StudentPrompt("a", [turn]),
        StudentPrompt("a", [{**turn, "name": "minji"}]),
        StudentPrompt("a", [turn], SCHEMAS),
    ]
    assert prompts[0].fingerprint() == ["a", [["user", "?"]]]
    assert len({json.dumps(prompt.fingerprint()) for prompt in prompts}) == 3
