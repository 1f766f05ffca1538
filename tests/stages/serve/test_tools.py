"""Tools in a request come back as calls, through OpenAI's own client: whole, streamed, behind reasoning, in every kind of notation."""

import json

import pytest

from tests.stages.models.chat.test_turns import TEMPLATES
from tests.stages.serve.scripted import CHANNELS, MARKS, ScriptedModel, joined

pytest.importorskip("openai")
TOOLS = [{
    "type": "function",
    "function": {"name": "날씨", "description": "d", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "d"}, "days": {"type": "integer", "description": "d"}}, "required": ["city"],
    }},
}]  # fmt: skip
CITY, DAYS = ("날씨", {"city": "서울 <3", "days": 3}), ("날씨", {"city": "부산"})
HERMES = "<tool_call>\n" + json.dumps({"name": CITY[0], "arguments": CITY[1]}, ensure_ascii=False) + "\n</tool_call>"
SECOND = '<tool_call>\n{"name": "날씨", "arguments": {"city": "부산"}}\n</tool_call>'
MISTRAL = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}]{% endif %}<|im_end|>\n{% endfor %}{{ (tools or []) | tojson }}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def template(name):
    if name == "mistral":
        return MISTRAL
    path = next((path for path in TEMPLATES if path.stem == name), None)
    if path is None:
        pytest.skip("TRL, which brings the template, is not installed")
    return path.read_text("utf-8")


CASES = {
    "one": ("qwen3", HERMES, "", "", [CITY]),
    "words and two": ("qwen3", f"찾아볼게요.\n{HERMES}\n{SECOND}", "찾아볼게요.", "", [CITY, DAYS]),
    "reasoning first": ("qwen3", f"<think>\nwhere <tool_call>?\n</think>\n\n{HERMES}", "", "where <tool_call>?", [CITY]),
    "no call": ("qwen3", "<think>\nno\n</think>\n\n3 < 4", "3 < 4", "no", []),
    "one that is broken": ("qwen3", "<tool_call>\n{\n</tool_call>", "<tool_call>\n{\n</tool_call>", "", []),
    "parameters as tags": (
        "qwen3_5_nothink", "<tool_call>\n<function=날씨>\n<parameter=city>\n서울 <3\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
        "", "", [CITY],
    ),
    "a JSON answer": ("llama3_1", '{"name": "날씨", "parameters": {"city": "서울 <3", "days": 3}}', "", "", [CITY]),
    "behind a control token": ("mistral", '[TOOL_CALLS] [{"name": "날씨", "arguments": {"city": "서울 <3", "days": 3}}]', "", "", [CITY]),
    "in a channel": (
        "gptoss", '<|channel|>analysis<|message|>where?<|end|><|start|>assistant<|channel|>commentary to=functions.날씨 <|constrain|>json<|message|>{"city": "서울 <3", "days": 3}<|call|>',
        "", "where?", [CITY],
    ),
    "a channel and its words": (
        "gptoss", '<|channel|>commentary<|message|>잠깐.<|end|><|start|>assistant to=functions.날씨<|channel|>commentary json<|message|>{"city": "서울 <3", "days": 3}<|call|>',
        "잠깐.", "", [CITY],
    ),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_calls_words_and_reasoning_are_told_apart(case, stream, tmp_path):
    name, text, content, reasoning, calls = CASES[case]
    model = ScriptedModel(tmp_path, template(name), CHANNELS if name == "gptoss" else MARKS)
    model.says(text)
    got = model.ask(tools=TOOLS, max_tokens=400, stream=stream)
    if stream:
        found = joined(got)
        ids = [call.id for chunk in got for call in chunk.choices[0].delta.tool_calls or []]
    else:
        message = got.choices[0].message
        made = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
        found = message.content or "", getattr(message, "reasoning_content", "") or "", made, got.choices[0].finish_reason  # fmt: skip
        ids = [call.id for call in message.tool_calls or []]
        assert (message.content is None) == (bool(calls) and not content)
    words, thought, made, finish = found
    assert (words.strip(), thought.strip()) == (content, reasoning)
    assert [(name, json.loads(arguments)) for name, arguments in made] == calls
    assert finish == ("tool_calls" if calls else "stop")
    assert len(set(ids)) == len(calls) and all(len(one) == 9 and one.isalnum() for one in ids)


def test_a_call_that_is_cut_is_words_and_says_so(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says(HERMES)
    size = len(model.generator.tokenizer(HERMES)["input_ids"])
    got = model.ask(tools=TOOLS, max_tokens=size - 5).choices[0]
    assert got.finish_reason == "length" and got.message.tool_calls is None
    assert got.message.content.startswith('<tool_call>\n{"name": "날씨"')


def test_without_tools_an_answer_is_not_searched_for_calls(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says(HERMES)
    for more in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        model.says(HERMES)
        got = model.ask(max_tokens=400, **more).choices[0]
        assert got.message.content == HERMES and got.finish_reason == "stop"


def test_a_call_its_result_and_the_answer_are_one_conversation(tmp_path, monkeypatch):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says(f"<think>\nhm\n</think>\n\n{HERMES}")
    called = model.ask(tools=TOOLS, max_tokens=400).choices[0].message
    model.says("<think>\n\n</think>\n\n맑아요.")
    talk = [
        {"role": "user", "content": "서울 날씨?"},
        called.model_dump(exclude_none=True, include={"role", "content", "tool_calls", "reasoning_content"}),
        {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "맑음"},
    ]
    prompts = []
    prompt = model.generator.chat_template.prompt
    monkeypatch.setattr(model.generator.chat_template, "prompt", lambda *given: prompts.append(given) or prompt(*given))
    got = model.ask(messages=talk, tools=TOOLS)
    assert got.choices[0].message.content == "맑아요."
    written = model.generator.chat_template.render(prompts[0][0], True, prompts[0][1])
    assert HERMES in written and "<tool_response>\n맑음\n</tool_response>" in written and '"name": "날씨"' in written
