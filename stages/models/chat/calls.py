"""Calls of tools in a model's answer: read back from the notation that its chat template writes them in.

No template says which notation that is, so it is measured: a call is rendered, and the first notation that gives back the same call is
taken. The reading is transformers' own streaming parser (`transformers.utils.chat_parsing`), which a tokenizer may bring its own notation for
(`response_template`); those of families that bring none stand in `NOTATIONS`, as TRL 1.16 and the families' model cards have them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from os.path import commonprefix
from typing import Any, NamedTuple

_JSON = {"repeats": True, "content": "json", "transform": {"type": "function", "function": "{content}"}}
_LIST = {"content": "json", "transform": {"function": {"name": "{name}", "arguments": "{arguments}"}}, "transform_each": True}  # fmt: skip
_NAMED = {"repeats": True, "content": "json", "transform": {"function": {"name": "{name}", "arguments": "{content}"}}}
_TAGGED = {**_NAMED, "content": "xml-inline"}
NOTATIONS: dict[str, dict[str, Any]] = {
    # Hermes, Qwen 2.5 and 3, EXAONE 4, SmolLM3, Granite 4
    "hermes": {"open_pattern": r"\s*<tool_call>", "close": "</tool_call>", **_JSON},
    # Qwen 3.5, Qwen3-Coder, Nemotron 3
    "function": {
        "open_pattern": r"\s*<tool_call>\s*<function=(?P<name>[^>\n]+)>",
        "close_pattern": r"</function>\s*</tool_call>",
        "content_args": {"tag_pattern": r"<parameter=(?P<key>[^>\n]+)>\s*(?P<value>.*?)\s*</parameter>"},
        **_TAGGED,
    },
    "glm": {
        "open_pattern": r"\s*<tool_call>(?P<name>[^\s<]+)\s",
        "close": "</tool_call>",
        "content_args": {"tag_pattern": r"<arg_key>(?P<key>[^<]+)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>"},
        **_TAGGED,
    },
    "llama": {"open_pattern": r'\A\s*(?=\{\s*"name"\s*:)', **_JSON},
    "mistral": {"open": "[TOOL_CALLS]", **_LIST},
    "mistral-named": {
        "open_pattern": r"\[TOOL_CALLS\]\s*(?P<name>[^\s\[{]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?(?=\s*\{)",
        "close_pattern": r"(?=\[TOOL_CALLS\])",
        **_NAMED,
    },
    "granite": {"open_pattern": r"\s*<\|tool_call\|>", **_LIST},
    "deepseek": {
        "open_pattern": r"\s*(?:<｜tool▁calls▁begin｜>)?\s*<｜tool▁call▁begin｜>function<｜tool▁sep｜>(?P<name>[^\n]+)\n```json\n",
        "close_pattern": r"\n```<｜tool▁call▁end｜>(?:<｜tool▁calls▁end｜>|(?=\s*<｜tool▁call▁begin｜>)|\Z)",
        **_NAMED,
    },
    "gemma": {
        "open_pattern": r"\s*<\|tool_call>call:(?P<name>[\w.-]+)",
        "close": "<tool_call|>",
        "content_args": {"string_delims": [['<|"|>', '<|"|>']], "unquoted_keys": True},
        **_NAMED,
    },
}  # fmt: skip
"""Fields of transformers' response templates."""
CHANNELS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
"""Control tokens of a template that names what a model says by channel, calls too (gpt-oss)."""
PROBE = {"id": "a00000001", "name": "look_up", "arguments": '{"q": "a b", "n": 3}'}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {"q": {"type": "string", "description": "d"}, "n": {"type": "integer", "description": "d"}},
            "required": ["q", "n"],
        },
    },
}


class ToolCall(NamedTuple):
    """A call a model makes; `arguments` is JSON text."""

    name: str
    arguments: str


class CallNotation(NamedTuple):
    """How a model writes the calls of tools."""

    field: dict[str, Any]
    marks: tuple[str, ...]
    """Control tokens it is made of: an answer is decoded with them where calls are to be read."""


class CallReader:
    """An answer, in pieces, into words and calls. What begins like a call and is none comes as the words it is."""

    def __init__(self, field: dict[str, Any], tools: Sequence[dict[str, Any]]):
        self.field, self.tools = field, list(tools)
        self._parser: Any = self._begin()
        self._unread = ""
        """What came since the last word or call handed out."""

    def _begin(self) -> Any:
        from transformers.utils.chat_parsing import ResponseParser

        template = {"start_anchor": "\x00", "fields": {"content": {"content": "text"}, "tool_calls": self.field}}
        return ResponseParser(template, prefix="", tools=self.tools)

    def add(self, text: str, last: bool = False) -> Iterator[str | ToolCall]:
        """What is sure by now; all that is left with the `last`. Character by character: a call that cannot be read raises, and only what
        came with it is unsaid then."""
        for character in text:
            self._unread += character
            yield from self._events_of(partial(self._parser.feed, character))
        if last:
            yield from self._events_of(lambda: self._parser.finalize()[1])

    def _events_of(self, step: Any) -> Iterator[str | ToolCall]:
        try:
            events = list(self._read(step()))
        except (ValueError, LookupError, TypeError, RecursionError):
            words, self._unread, self._parser = self._unread, "", self._begin()
            events = [words]
        yield from events

    def _read(self, events: list[dict[str, Any]]) -> Iterator[str | ToolCall]:
        for event in events:
            if event["field"] == "content" and event["type"] == "region_chunk":
                self._unread = self._unread[len(event["text"]) :]
                yield event["text"]
            elif event["field"] == "tool_calls" and event["type"] == "region_close":
                calls = event["value"] if isinstance(event["value"], list) else [event["value"]]
                found = [as_call(value) for value in calls]
                self._unread = ""
                yield from found


def as_call(value: Any) -> ToolCall:
    """A parsed call. ValueError where it is none."""
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise ValueError("a call names no function")
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(arguments, dict | None):
        raise ValueError("the arguments of a call are no object")
    return ToolCall(function["name"], json.dumps(arguments or {}, ensure_ascii=False))


def notation_of(chat: Any) -> CallNotation | None:
    """The notation of a `Chat`'s template; None where it writes no call, or in a notation that is not known."""
    user = {"role": "user", "content": "a"}
    try:
        opened = chat.render([user], True, [TOOL])
        called = chat.render([user, {"role": "assistant", "content": "", "tool_calls": [PROBE]}], False, [TOOL])
    except ValueError:  # a ChatFault: the template shows none
        return None
    if chat.tokenizer.get_added_vocab().keys() >= set(CHANNELS):  # `Channels` writes it so
        return CallNotation(NOTATIONS["hermes"], ()) if f"to=functions.{PROBE['name']}" in called else None
    turn = called[len(commonprefix([opened, called])) :]
    ends = [at for mark in chat.turns.stops() if (at := turn.find(mark)) >= 0]
    own = getattr(chat.tokenizer, "response_template", None) or {}
    fields = [own["fields"]["tool_calls"]] if "tool_calls" in own.get("fields", {}) else []
    for field in (*fields, *NOTATIONS.values()):
        for text in (turn[: min(ends, default=len(turn))], turn):
            if _gives_probe(field, text):
                special = chat.tokenizer.all_special_tokens
                return CallNotation(field, tuple(mark for mark in special if mark in text))
    return None


def _gives_probe(field: dict[str, Any], text: str) -> bool:
    calls = [one for one in CallReader(field, [TOOL]).add(text, last=True) if isinstance(one, ToolCall)]
    return [(one.name, json.loads(one.arguments)) for one in calls] == [(PROBE["name"], json.loads(PROBE["arguments"]))]
