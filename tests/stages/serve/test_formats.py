"""Answers held to a JSON schema: what the model says otherwise is ruled out, also behind reasoning and beside answers that are free."""

import importlib.util
import json

import pytest

from tests.stages.serve.scripted import MARKS, ScriptedModel, joined
from tests.stages.serve.test_tools import template

openai = pytest.importorskip("openai")
NEEDS = pytest.mark.skipif(importlib.util.find_spec("llguidance") is None, reason="llguidance is not installed")
SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["name", "age"],
    "properties": {"name": {"type": "string", "enum": ["콩", "쌀"]}, "age": {"type": "integer", "minimum": 1, "maximum": 30}},
}  # fmt: skip
FORMAT = {"type": "json_schema", "json_schema": {"name": "grain", "schema": SCHEMA, "strict": True}}


@pytest.fixture
def model(tmp_path):
    return ScriptedModel(tmp_path, template("qwen3"), MARKS)


@NEEDS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_is_of_the_schema_whatever_the_model_would_say(model, stream, temperature):
    model.says("I would rather talk about the weather than answer in JSON, and at some length too.")
    got = model.ask(response_format=FORMAT, stream=stream, temperature=temperature, seed=1, max_tokens=400)
    text, finish = (joined(got)[0], joined(got)[3]) if stream else (got.choices[0].message.content, got.choices[0].finish_reason)  # fmt: skip
    value = json.loads(text)
    assert (
        value["name"] in ("콩", "쌀") and 1 <= value["age"] <= 30 and set(value) == {"name", "age"} and finish == "stop"
    )


@NEEDS
def test_what_the_model_says_within_the_schema_is_what_it_says(model):
    wanted = '{"name": "쌀", "age": 17}'
    model.says(wanted)
    assert model.ask(response_format=FORMAT).choices[0].message.content == wanted
    model.says('{"a": [1, {}]}')
    assert model.ask(response_format={"type": "json_object"}).choices[0].message.content == '{"a": [1, {}]}'
    model.says("[1, 2]")
    assert model.ask(response_format={"type": "json_object"}, max_tokens=5).choices[0].message.content.startswith("{")


@NEEDS
def test_behind_reasoning_that_the_template_opens_only_the_answer_is_held(tmp_path):
    model = ScriptedModel(tmp_path, template("qwen3_5_think"), MARKS)
    model.says('not {"name"\n</think>\n\nwords {"name": "쌀", "age": 17}')
    got = model.ask(response_format=FORMAT, max_tokens=400).choices[0].message
    assert got.reasoning_content == 'not {"name"' and json.loads(got.content)["name"] in ("콩", "쌀")


@NEEDS
def test_one_answer_is_held_and_the_one_beside_it_is_free(model):
    generator = model.generator
    free = "free words {"
    model.says(free)
    grammar = generator.grammars.compile(SCHEMA)
    from stages.models.inference.generate import Prompt, SamplingParams

    ids = generator.chat_template.prompt([{"role": "user", "content": "콩?"}])
    bound = Prompt(ids, grammar=grammar)
    held, other = generator.answer([bound, Prompt(ids)], SamplingParams(400))
    assert json.loads(held[0].text)["name"] in ("콩", "쌀") and other[0].text == free
    model.says(free)
    assert json.loads(generator.answer([bound], SamplingParams(400))[0][0].text), "it can be used again"


@NEEDS
@pytest.mark.parametrize(
    "schema, words",
    [
        ({"type": "strange"}, "Invalid type"),
        ({"not": {"type": "string"}}, "Unimplemented keys"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"$ref": "https://elsewhere.example/schema"}, "elsewhere"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_refused(model, schema, words):
    model.says("x")
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match=words):
        model.ask(response_format=form)


def test_a_model_that_speaks_in_channels_is_not_held(tmp_path):
    from tests.stages.serve.scripted import CHANNELS

    model = ScriptedModel(tmp_path, template("gptoss"), CHANNELS)
    model.says("x")
    with pytest.raises(openai.BadRequestError, match="channels"):
        model.ask(response_format={"type": "json_object"})


def test_without_llguidance_a_format_is_refused_by_name(model, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "llguidance.hf", None)
    model.says("{}")
    with pytest.raises(openai.BadRequestError, match=r"response_format: it needs llguidance.*maetdol\[json\]"):
        model.ask(response_format={"type": "json_object"})
    assert model.ask(response_format={"type": "text"}).choices[0].message.content
