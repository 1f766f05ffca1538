"""Calls that a request demands: made whatever the model would say, of the tool that is named, with arguments of its schema."""

import importlib.util
import json

import pytest

from tests.stages.serve.scripted import CHANNELS, MARKS, ScriptedModel, joined
from tests.stages.serve.test_tools import CITY, DAYS, HERMES, SECOND, TOOLS, template

openai = pytest.importorskip("openai")
NEEDS = pytest.mark.skipif(importlib.util.find_spec("llguidance") is None, reason="llguidance is not installed")
GRAIN = {"type": "object", "additionalProperties": False, "required": ["grain", "weight"], "properties": {
    "grain": {"type": "string", "enum": ["콩", "쌀"]}, "weight": {"type": "integer", "minimum": 1, "maximum": 9},
}}  # fmt: skip
BOTH = [
    *TOOLS,
    {"type": "function", "function": {"name": "weigh", "description": "d", "strict": True, "parameters": GRAIN}},
]
WEIGH = {"type": "function", "function": {"name": "weigh"}}
PROSE = "I would rather talk about the weather than call anything, and at some length too."


def asked(model, stream, **request):
    """(words, reasoning, calls, finish) of an answer."""
    got = model.ask(tools=BOTH, max_tokens=400, stream=stream, **request)
    if stream:
        content, reasoning, calls, finish = joined(got)
        return content.strip(), reasoning.strip(), [(name, json.loads(given)) for name, given in calls], finish
    message = got.choices[0].message
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]
    return message.content or "", getattr(message, "reasoning_content", ""), calls, got.choices[0].finish_reason


@NEEDS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_nothink", "llama3_1", "mistral", "gptoss", "glm4moe", "gemma4"])
def test_the_tool_that_is_named_is_called_whatever_the_model_would_say(name, stream, tmp_path):
    marks = {"gptoss": CHANNELS, "gemma4": ["<|tool_call>", "<tool_call|>", '<|"|>']}.get(name, MARKS)
    model = ScriptedModel(tmp_path, template(name), marks)
    begun = {"qwen3": "<tool_call>", "glm4moe": "<tool_call>", "gptoss": " to="}.get(
        name, ""
    )  # else it may think first
    model.says(begun + PROSE)
    words, _, [(called, given)], finish = asked(model, stream, tool_choice=WEIGH)
    assert (words, called, finish) == ("", "weigh", "stop"), "OpenAI and vLLM end a call that was named so"
    assert given["grain"] in ("콩", "쌀") and 1 <= given["weight"] <= 9 and len(given) == 2


@NEEDS
@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_are_required_are_the_models_own(stream, tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    for said, calls in ((HERMES, [CITY]), (f"{HERMES}\n{SECOND}", [CITY, DAYS])):
        model.says(said)
        assert asked(model, stream, tool_choice="required") == ("", "", calls, "tool_calls")
    model.says(f"<think>\nwhere?\n</think>\n\n{HERMES}")
    assert asked(model, stream, tool_choice="required") == ("", "where?", [CITY], "tool_calls")
    model.says(f"{HERMES}\n{SECOND}")
    assert asked(model, stream, tool_choice="required", parallel_tool_calls=False)[2] == [CITY]


@NEEDS
def test_prose_in_front_is_ruled_out(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says("찾아볼게요.")
    got = model.ask(tools=BOTH, tool_choice="required", max_tokens=6).choices[0]
    assert got.finish_reason == "length" and got.message.tool_calls is None and "<think>".startswith(got.message.content[:3])  # fmt: skip


@NEEDS
def test_behind_reasoning_that_the_template_opens_the_call_is_held(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3_5_think"), MARKS)
    model.says(f"<tool_call> it is, or not\n</think>\n\n{PROSE}")
    words, reasoning, [(name, _)], _ = asked(model, False, tool_choice=WEIGH)
    assert (words, reasoning, name) == ("", "<tool_call> it is, or not", "weigh")


@NEEDS
def test_what_cannot_be_demanded_is_refused_by_name(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3_5_nothink"), MARKS)
    model.says("x")
    pattern = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"q": {"type": "string", "pattern": "a+"}}}}}]  # fmt: skip
    strange = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"q": {"type": "integer", "not": {"const": 3}}}}}}]  # fmt: skip
    for given, words in (
        ({"tools": pattern, "tool_choice": "required"}, "tool_choice: the parameter q of f .* a string with pattern"),
        ({"tools": strange, "tool_choice": "required"}, "tool_choice: the JSON schema cannot be used"),
        ({"tools": BOTH}, r"tools.1.function.strict: only calls that tool_choice demands"),
        ({"tools": TOOLS, "parallel_tool_calls": False}, "parallel_tool_calls: one call alone"),
        ({"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}}, "response_format and tools"),
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError, match=words):
            model.ask(**given)


def test_without_llguidance_a_demanded_call_is_refused_by_name(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "llguidance.hf", None)
    model = ScriptedModel(tmp_path, template("qwen3"), MARKS)
    model.says("x")
    with pytest.raises(openai.BadRequestError, match=r"tool_choice: it needs llguidance.*maetdol\[json\]"):
        model.ask(tools=TOOLS, tool_choice="required")
