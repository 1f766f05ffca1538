"""Every template that writes calls of tools has them read back; what is no call stays the words it is."""

import json
import random

import pytest

from stages.models.chat.calls import NOTATIONS, TOOL, CallReader, ToolCall, notation_of
from stages.models.chat.templates import Chat
from tests.stages.models.chat.test_turns import TEMPLATES, letters  # noqa: F401

UNREAD = (
    "cohere",
    "gemma",
    "gemma3",
    "idefics3",
    "llama3",
    "llava_next",
    "phi3",
    "smolvlm",
    "deepseek_r1",
    "qwen2_5_vl",
    "lfm2",
    "muse",
)
"""Beginnings of the names of TRL's templates that write no call, or write them as Python (LFM2) or as Muse does."""
READ = ("llama3_1", "llama3_2", "gemma4")
CALLED = [{"name": "look_up", "arguments": {"q": "맷돌 <3", "n": 12}}, {"name": "ping", "arguments": {}}]
ROLES = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}CALLS</s>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
EACH = "{% for c in m.tool_calls or [] %}ONE{% endfor %}"
LIST = "{% if m.tool_calls %}MARK[{% for c in m.tool_calls %}{{ c.function | tojson }}{{ ', ' if not loop.last }}{% endfor %}]{% endif %}"
OWN = {
    "exaone": (EACH.replace("ONE", "<tool_call>{{ c.function | tojson }}</tool_call>\n"), "hermes"),
    "mistral": (LIST.replace("MARK", "[TOOL_CALLS] "), "mistral"),
    "mistral-v11": (EACH.replace("ONE", "[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}"), "mistral-named"),
    "granite": (LIST.replace("MARK", "<|tool_call|>"), "granite"),
}  # fmt: skip
"""Of families whose template TRL does not ship: how they write calls, and the notation that is found."""
OTHER = {
    "type": "function",
    "function": {"name": "ping", "description": "d", "parameters": {"type": "object", "properties": {}}},
}


def read(field, text, rng=None):
    """What comes of an answer: words and calls, handed in whole or in pieces of random size."""
    reader, found, at = CallReader(field, [TOOL, OTHER]), [], 0
    while at < len(text):
        size = rng.randint(1, 9) if rng else len(text)
        found += reader.add(text[at : at + size])
        at += size
    found += reader.add("", last=True)
    words = "".join(one for one in found if isinstance(one, str))
    return words, [(one.name, json.loads(one.arguments)) for one in found if isinstance(one, ToolCall)]


def rendered(chat, calls, content=""):
    """What a model says that makes the calls, as its template writes it, without its end mark."""
    calls = [{"id": f"a0000000{n}", "name": one["name"], "arguments": json.dumps(one["arguments"])} for n, one in enumerate(calls)]  # fmt: skip
    user = {"role": "user", "content": "a"}
    said = chat.render([user, {"role": "assistant", "content": content, "tool_calls": calls}], False, [TOOL, OTHER])
    text = said[len(chat.render([user], True, [TOOL, OTHER])) :]
    return text[: min((at for mark in chat.turns.stops() if (at := text.find(mark)) >= 0), default=len(text))]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_notation_of_every_template_is_found_by_what_it_writes(path, letters):  # noqa: F811
    chat = Chat(letters, path.read_text("utf-8"))
    known = path.stem.startswith(READ) or not path.stem.startswith((*UNREAD, "gptoss"))
    assert (chat.notation is not None) == known
    if not known:
        return
    several = CALLED[:1] if path.stem.startswith("llama3") else CALLED  # Llama's takes one call a turn
    wanted = [(one["name"], one["arguments"]) for one in several]
    text = rendered(chat, several)
    assert read(chat.notation.field, text)[1] == wanted
    assert text.startswith(read(chat.notation.field, text)[0].rstrip()), "nothing is left behind the calls"
    for seed in range(5):
        assert read(chat.notation.field, text, random.Random(seed)) == read(chat.notation.field, text)


@pytest.mark.parametrize("name", OWN)
def test_templates_of_other_families(name, letters):  # noqa: F811
    written, notation = OWN[name]
    chat = Chat(letters, ROLES.replace("CALLS", written))
    assert chat.notation.field is NOTATIONS[notation]
    words, calls = read(chat.notation.field, rendered(chat, CALLED))
    assert calls == [(one["name"], one["arguments"]) for one in CALLED] and not words.strip()


def test_a_control_token_that_calls_are_made_of_is_kept(letters):  # noqa: F811
    import copy

    tokenizer = copy.deepcopy(letters)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]", "[OTHER]"]})
    chat = Chat(tokenizer, ROLES.replace("CALLS", OWN["mistral"][0]))
    assert chat.notation.marks == ("[TOOL_CALLS]",)


def test_a_tokenizer_brings_a_notation_of_its_own(letters):  # noqa: F811
    import copy

    tokenizer = copy.deepcopy(letters)
    template = ROLES.replace("CALLS", EACH.replace("ONE", "<do>{{ c.function | tojson }}</do>"))
    assert notation_of(Chat(tokenizer, template)) is None
    own = {"open": "<do>", "close": "</do>", "repeats": True, "content": "json", "transform": {"function": "{content}"}}
    tokenizer.response_template = {"start_anchor": "<|assistant|>", "fields": {"content": {"content": "text"}, "tool_calls": own}}  # fmt: skip
    assert notation_of(Chat(tokenizer, template)).field == own


WORDS = [
    ("hermes", "no call at all", "no call at all"),
    ("hermes", "a < b and <tool_calls> are words", "a < b and <tool_calls> are words"),
    ("hermes", "<tool_call>{broken</tool_call> then", "<tool_call>{broken</tool_call> then"),
    ("hermes", '<tool_call>{"name": 3}</tool_call>', '<tool_call>{"name": 3}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>', '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f", "arg', '<tool_call>{"name": "f", "arg'),
    ("hermes", "<tool_call>" + "[" * 100_000, "<tool_call>" + "[" * 100_000),
    ("llama", '{"name": "Kim"} is who', '{"name": "Kim"} is who'),
    ("llama", 'So: {"name": "look_up", "parameters": {}}', 'So: {"name": "look_up", "parameters": {}}'),
    ("mistral", '[TOOL_CALLS]{"name": "f"}', '[TOOL_CALLS]{"name": "f"}'),
    ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"arguments": {}}]', '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"arguments": {}}]'),
    ("deepseek", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜>"),
]  # fmt: skip


@pytest.mark.parametrize("name, text, words", WORDS, ids=[f"{name}-{text[:30]}" for name, text, _ in WORDS])
def test_what_cannot_be_read_as_a_call_stays_the_words_it_is(name, text, words):
    assert read(NOTATIONS[name], text) == (words, [])
    if len(text) < 1000:
        assert read(NOTATIONS[name], text, random.Random(1)) == (words, [])


def test_a_call_behind_a_broken_one_is_read():
    text = 'First.\n<tool_call>{</tool_call>\n<tool_call>{"name": "f", "arguments": {"a": "</b>"}}</tool_call>\nLast.'
    words, calls = read(NOTATIONS["hermes"], text)
    assert calls == [("f", {"a": "</b>"})] and words == "First.\n<tool_call>{</tool_call>\nLast."


def test_values_written_without_a_type_get_that_of_the_schema():
    text = "<tool_call>look_up\n<arg_key>q</arg_key>\n<arg_value>12</arg_value>\n<arg_key>n</arg_key>\n<arg_value>12</arg_value>\n</tool_call>"
    assert read(NOTATIONS["glm"], text)[1] == [("look_up", {"q": "12", "n": 12})]
