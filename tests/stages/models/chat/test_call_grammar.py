"""Calls that are demanded: the grammar takes what every template writes, and all that it lets through is read back as a call of the schema."""

import json
import random

import pytest

from stages.models.chat.call_grammar import CallGrammar, UnheldCall, call_form
from stages.models.chat.calls import CallReader, ToolCall
from stages.models.chat.templates import Chat
from tests.stages.models.chat.test_calls import LIST, OWN, ROLES, rendered
from tests.stages.models.chat.test_turns import TEMPLATES, letters

llguidance = pytest.importorskip("llguidance")
jsonschema = pytest.importorskip("jsonschema")
CHANNELS = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"]
MARKS = ["[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", '<|"|>', "<|tool_call>", "<tool_call|>"]
BY_NAME = {path.stem: path for path in TEMPLATES}
WRITES = {**{name: path.read_text("utf-8") for name, path in BY_NAME.items()}, **{name: ROLES.replace("CALLS", calls) for name, (calls, _) in OWN.items()}}  # fmt: skip
SHORT = {"type": "object", "additionalProperties": False, "required": ["n", "kind"], "properties": {
    "kind": {"enum": ["콩", "쌀"], "type": "string"}, "n": {"type": "integer", "minimum": 1, "maximum": 30},
    "is": {"type": "boolean"}, "none": {"type": "null"}, "list": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
}}  # fmt: skip


def tool(name, parameters):
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}


LOOK_UP = tool("look_up", {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}, "required": ["q"]})  # fmt: skip
PING = {"type": "function", "function": {"name": "ping", "description": "d"}}


@pytest.fixture(scope="module")
def chats():
    """By name of the template: a chat over a tokenizer of one token a byte, with the control tokens of the family."""
    plain, channels = letters.__wrapped__(), letters.__wrapped__()
    plain.add_special_tokens({"additional_special_tokens": MARKS})
    channels.add_special_tokens({"additional_special_tokens": CHANNELS})
    return {name: Chat(channels if name.startswith("gptoss") else plain, text) for name, text in WRITES.items()}


def matcher(chat, tools, **how):
    """A matcher over the grammar of `tools`, and its tokenizer."""
    from stages.models.inference.grammar import Grammars

    tokenizer = chat.tokenizer
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    lark = CallGrammar(call_form(chat), tools, special).lark(**how)
    return Grammars(tokenizer, len(tokenizer), [tokenizer.eos_token_id]).compile_lark(lark).compiled


def takes(chat, tools, text, **how):
    """Does the grammar take the whole of a text, and nothing less?"""
    held, ids = matcher(chat, tools, **how), chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    return held.try_consume_tokens(ids) == len(ids) and held.is_accepting()


def written(chat, form, calls):
    """Calls as the template writes them, without what stands before."""
    said = rendered(chat, calls).rstrip("\n")
    return form.open + said[said.index(calls[0]["name"]) :]


@pytest.mark.parametrize("name", WRITES)
def test_what_a_template_writes_is_what_its_grammar_takes(name, chats):
    chat = chats[name]
    if chat.notation is None:
        assert call_form(chat) is None
        return
    form = call_form(chat)
    one, other = {"name": "look_up", "arguments": {"q": "ab <3", "n": 12}}, {"name": "ping", "arguments": {}}
    call = written(chat, form, [one])
    assert takes(chat, [LOOK_UP, PING], call)
    assert takes(chat, [LOOK_UP], call, several=False) and not takes(chat, [PING], call)
    assert takes(chat, [LOOK_UP], ("" if name.startswith("gptoss") else "\n\n") + call, after_reasoning=True)
    assert not takes(chat, [LOOK_UP], "well, " + call)
    if form.between is not None:
        both = written(chat, form, [one, other])
        assert takes(chat, [LOOK_UP, PING], both) and not takes(chat, [LOOK_UP, PING], both, several=False)


@pytest.mark.parametrize(
    "name",
    [*[n for n in BY_NAME if n in ("qwen3", "qwen3_5_nothink", "glm4moe", "llama3_1", "deepseekv3", "gemma4")], *OWN],
)
def test_all_that_the_grammar_lets_through_is_a_call_of_the_schema(name, chats):
    chat, rng, found = chats[name], random.Random(7), set()
    tools = [tool("weigh", SHORT), PING]
    for _ in range(12):
        held, ids = matcher(chat, tools, after_reasoning=True), []
        while len(ids) < 1500:
            mask = held.compute_bitmask()
            allowed = [one for one in range(len(chat.tokenizer)) if mask[one // 8] >> one % 8 & 1]
            if chat.tokenizer.eos_token_id in allowed:
                break
            # Blanks are rare: there may be sixty-four of them anywhere between the parts of JSON.
            drawn = [one for one in allowed if not chat.tokenizer.decode([one]).isspace()] or allowed
            token = rng.choice(drawn if rng.random() < 0.98 else allowed)
            ids.append(token)
            assert held.consume_token(token)
        text = chat.tokenizer.decode(ids)
        read = list(CallReader(chat.notation.field, tools).add(text, last=True))
        calls = [one for one in read if isinstance(one, ToolCall)]
        assert calls and not "".join(one for one in read if isinstance(one, str)).strip(), text
        for call in calls:
            given = json.loads(call.arguments)
            found |= {(call.name, key) for key in given}
            jsonschema.validate(given, SHORT if call.name == "weigh" else {"maxProperties": 0})
    assert found >= {("weigh", "kind"), ("weigh", "n")}, "no call was made of the tool with parameters"


def test_reasoning_that_the_answer_opens_itself_may_stand_before_the_call(chats):
    call = '<tool_call>\n{"name": "look_up", "arguments": {"q": "a"}}\n</tool_call>'
    chat = chats.get("qwen3") or pytest.skip("TRL, which brings the template, is not installed")
    assert takes(chat, [LOOK_UP], f"<think>\nwhere <tool_call>?\n</think>\n\n{call}")
    assert not takes(chat, [LOOK_UP], f"<think>\nwhere?\n</think>\n\nwell {call}")
    said = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
    gptoss = chats["gptoss"]
    call = ' to=functions.look_up<|channel|>commentary json<|message|>{"q": "a"}'
    assert takes(gptoss, [LOOK_UP], said + call) and takes(gptoss, [LOOK_UP], call)


def properties(**given):
    return [tool("look_up", {"type": "object", "properties": given})]


TAGS = "<tool_call>\n<function=look_up>\n<parameter=q>\nVALUE\n</parameter>\n</function>\n</tool_call>"
TAGGED = [
    ({"type": "string"}, "3 < 4\n\nand more", "</parameter> x"),
    ({"type": ["string", "null"]}, "null", None),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "12", "twelve"),
    ({"type": "number", "minimum": 1}, "1.5", "0.5"),
    ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", '["a"]'),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, '{"a": "b"}', '{"c": 1}'),
    ({"enum": ["on", "off"]}, "off", "of"),
    ({"$ref": "#/$defs/one", "type": "integer"}, "3", "4"),
    ({}, "anything", None),
    (True, "anything", None),
]  # fmt: skip


@pytest.mark.parametrize("schema, good, bad", TAGGED, ids=[json.dumps(one[0]) for one in TAGGED])
def test_values_in_tags_are_held_to_their_type(schema, good, bad, chats):
    chat = chats.get("qwen3_5_nothink") or pytest.skip("TRL, which brings the template, is not installed")
    tools = properties(q=schema)
    tools[0]["function"]["parameters"]["$defs"] = {"one": {"maximum": 3}}
    assert takes(chat, tools, TAGS.replace("VALUE", good))
    assert bad is None or not takes(chat, tools, TAGS.replace("VALUE", bad))


def test_parameters_that_may_be_left_out_are(chats):
    chat = chats.get("qwen3_5_nothink") or pytest.skip("TRL, which brings the template, is not installed")
    [one] = properties(a={"type": "integer"}, b={"type": "integer"}, c={"type": "integer"})
    one["function"]["parameters"]["required"] = ["b"]
    for given in ("abc", "ab", "bc", "b", "ac", "a", "", "ba", "bb"):
        tags = "".join(f"<parameter={name}>\n1\n</parameter>\n" for name in given)
        text = f"<tool_call>\n<function=look_up>\n{tags}</function>\n</tool_call>"
        assert takes(chat, [one], text) == (given in ("abc", "ab", "bc", "b")), given


@pytest.mark.parametrize(
    "template, tools, words",
    [
        ("qwen3_5_nothink", properties(q={"type": "string", "pattern": "a+"}), "parameter q of look_up .* a string with pattern"),
        ("qwen3_5_nothink", properties(q={"enum": ["a", 1]}), "a string with enum"),
        ("qwen3_5_nothink", properties(q={"type": "string", "enum": ["</parameter>"]}), "hold marks"),
        ("qwen3_5_nothink", properties(**{"a>b": {"type": "string"}}), "cannot write the parameter 'a>b'"),
        ("qwen3_5_nothink", [tool("look up", {})], "cannot write the name 'look up'"),
        ("gemma4", properties(q={"type": ["string", "null"]}), "several types"),
        ("gemma4", properties(q={"type": "object", "properties": {}}), "an object"),
        ("qwen3", [tool("look_up", {"type": "array"})], "parameters of look_up are no object"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_refused_by_name(template, tools, words, chats):
    chat = chats.get(template) or pytest.skip("TRL, which brings the template, is not installed")
    with pytest.raises(UnheldCall, match=words):
        CallGrammar(call_form(chat), tools, {})


def test_a_name_that_json_escapes_and_an_id_that_is_any(chats):
    chat = Chat(chats["mistral"].tokenizer, ROLES.replace("CALLS", LIST.replace("MARK", "[TOOL_CALLS]")))
    assert takes(chat, [tool('a"b', {})], '[TOOL_CALLS][{"name": "a\\"b", "arguments": {}}]')
    numbered = "{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}"
    chat = Chat(chats["mistral"].tokenizer, ROLES.replace("CALLS", numbered))
    assert takes(chat, [LOOK_UP], '[TOOL_CALLS]look_up[CALL_ID]x1234567Z[ARGS]{"q": "a"}')
