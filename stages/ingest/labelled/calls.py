"""The tools of a conversation: calls as OpenAI, ShareGPT and Anthropic write them, and the schemas beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.ingest.labelled.given import Given, Notes, absent, first_of, json_text, parsed, without_absent, wrong
from stages.ingest.row import clean

TOOLS = ("tools", "functions")
ARGUMENTS = ("arguments", "parameters", "args", "input")
IDS = ("id", "tool_call_id", "call_id")
_KINDS = ("function", "tool_use", "tool_call", "function_call")


def calls(value: Any, notes: Notes) -> list[dict[str, Any]] | None:
    """Calls `{id, name, arguments}` of a list, one record, or JSON text of either; None for a text that is none of them."""
    if isinstance(value, str):
        value = parsed(value)
        if not isinstance(value, (list, Mapping)):
            return None
    value = [value] if isinstance(value, Mapping) else value
    if not isinstance(value, list):
        raise wrong(f"tool calls are a {type(value).__name__}")
    return [_call(parsed(one) if isinstance(one, str) else one, notes) for one in value]


def _call(call: Any, notes: Notes) -> dict[str, Any]:
    if not isinstance(call, Mapping):
        raise wrong(f"a tool call is a {type(call).__name__}")
    rest = without_absent(call)
    function = rest.pop("function", None)
    inner = (
        without_absent(function)
        if isinstance(function, Mapping)
        else {"name": function}
        if function is not None
        else {}
    )
    name, arguments = (
        next((found for part in (inner, rest) if (found := first_of(part, names)) is not None), None)
        for names in (("name",), ARGUMENTS)
    )
    if not isinstance(name, str):
        raise wrong("a tool call without a name")
    if rest.get("type") in _KINDS:
        del rest["type"]
    own = first_of(rest, IDS)
    notes.unplaced(f"tool_calls.{key}" for key in (*rest, *inner))
    return {
        "id": None if own is None else clean(str(own)),
        "name": clean(name),
        "arguments": _arguments(arguments, notes),
    }


def _arguments(value: Any, notes: Notes) -> str:
    """Arguments as JSON text: text as it is, which a model may have got wrong."""
    if value is None:
        return "{}"
    if not isinstance(value, str):
        return json_text(value)
    if parsed(value) is None:
        notes.say("arguments of a tool call that are no JSON")
    return clean(value)


def tools(given: Given, notes: Notes) -> tuple[str | None, tuple[str, ...]]:
    """(the schemas beside a conversation as JSON text of a list, the column they stand in); what is no list stays in `meta`."""
    for name in TOOLS:
        value = given.get(name)
        text = schemas(value) if value is not None else None
        if text is not None:
            return text, (given.own(name),)
        if value is not None:
            notes.say(f"{name} that are no list of schemas")
    return None, ()


def schemas(value: Any) -> str | None:
    """Tool schemas, a list or JSON text of one, as JSON text; None for anything else."""
    listed = parsed(value) if isinstance(value, str) else value
    if isinstance(listed, Mapping):
        listed = value = [listed]
    if not isinstance(listed, list) or absent(listed):
        return None
    if any(isinstance(one, str) for one in listed):
        listed = value = [parsed(one) if isinstance(one, str) else one for one in listed]
    if not all(isinstance(one, Mapping) for one in listed):
        return None
    return clean(value) if isinstance(value, str) else json_text(value)
