"""Turns of a conversation, whatever they call role and content: each key is a field of the row, or is named in a note."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stages.ingest.labelled.calls import calls
from stages.ingest.labelled.given import (
    Messages,
    Misfit,
    Notes,
    absent,
    first_of,
    json_text,
    parsed,
    without_absent,
    wrong,
)
from stages.ingest.row import clean

ROLES = {
    **dict.fromkeys("user human prompter question asker instruction 사용자 질문".split(), "user"),
    **dict.fromkeys(
        "assistant gpt bot chatgpt bing bard claude model ai answer function_call tool_call tool_calls 어시스턴트 답변".split(),
        "assistant",
    ),
    **dict.fromkeys("system developer".split(), "system"),
    **dict.fromkeys(
        "tool tools observation observations function function_response tool_response tool_result tool_results ipython".split(),
        "tool",
    ),
}
CALLING = ("function_call", "tool_call", "tool_calls")
"""Roles whose text is a call."""
SPEAKER = ("role", "from", "speaker", "author", "sender")
CONTENT = ("content", "value", "text", "message", "utterance")
REASONING = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts")
NAMES = ("name", "tool_name", "function_name")
CALL_IDS = ("tool_call_id", "tool_use_id", "call_id")
TRAINED = ("train", "training", "trainable", "weight", "loss", "loss_weight", "loss_mask")
MASKED = ("mask", "masked")
"""Keys that say whether a turn is learned: 1 and true are yes, and the other way round for those of `MASKED`."""
_SIGNS = {
    "human": (re.compile(r"(?:^|\n\n)(Human|Assistant): ?"), {"Human": "user", "Assistant": "assistant"}),
    "glaive": (
        re.compile(r"(?:^|\n\s*\n\s*)(SYSTEM|USER|ASSISTANT|FUNCTION RESPONSE): ?"),
        {"SYSTEM": "system", "USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"},
    ),
}
_END = "<|endoftext|>"
_CALL_PARTS = ("tool_use", "tool_call", "function_call")
_RESULT_PARTS = ("tool_result", "function_response")


def messages(value: Any, notes: Notes) -> Messages:
    """A list of turns: records, bare texts in alternation, or exchanges of two. Misfit where one is no turn."""
    if isinstance(value, str):
        value = transcript(value) or parsed(value)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, (list, tuple)) or not value:
        raise wrong("no list of turns")
    if all(isinstance(turn, str) for turn in value):
        if len(value) < 2:
            raise wrong("a list of one text is no conversation")
        return [{"role": ("user", "assistant")[i % 2], "content": clean(text)} for i, text in enumerate(value)]
    return [turn for entry in value for turn in _entry(entry, notes)]


def as_turns(value: Any, role: str, notes: Notes) -> Messages:
    """A string as one turn of `role`; a list, a record or JSON text of turns as its turns."""
    if not isinstance(value, str):
        return messages(value, notes)
    if value.lstrip()[:1] == "[" and _listed(listed := parsed(value)):
        return messages(listed, notes)
    return [{"role": role, "content": clean(value)}]


def _listed(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, Mapping) and any(key in turn for key in SPEAKER) for turn in value)
    )


def transcript(text: str) -> Messages | None:
    """A conversation written down as one text, as Anthropic (`Human:`) and Glaive (`USER:`) do; None for other texts."""
    for sign, roles in _SIGNS.values():
        marks = list(sign.finditer(text))
        if len(marks) < 2 or text[: marks[0].start()].strip():
            continue
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        return [
            {"role": roles[mark.group(1)], "content": clean(text[mark.end() : end].strip().removesuffix(_END).rstrip())}
            for mark, end in zip(marks, ends, strict=True)
        ]
    return None


def _entry(entry: Any, notes: Notes) -> Messages:
    if isinstance(entry, (list, tuple)):
        return exchange(entry, notes)
    if not isinstance(entry, Mapping):
        raise wrong(f"a turn is a {type(entry).__name__}")
    rest = without_absent(entry)
    word = first_of(rest, SPEAKER)
    if word is None:
        return _spoken(entry, rest, notes)
    word = without_absent(word).get("role") if isinstance(word, Mapping) else word
    word = str(word).strip().lower()
    role = ROLES.get(word)
    if role is None:
        raise wrong("a turn of no known role")
    return _turn(entry, rest, role, word in CALLING, notes)


def _spoken(entry: Mapping[str, Any], rest: dict[str, Any], notes: Notes) -> Messages:
    """A record of two turns: `{input, output}`, `{human, assistant}`."""
    for asks, answers in (
        ("input", "output"),
        ("human", "assistant"),
        ("user", "assistant"),
        ("prompt", "response"),
        ("question", "answer"),
    ):
        if isinstance(entry.get(asks), str) and isinstance(entry.get(answers), str):
            notes.unplaced(key for key in rest if key not in (asks, answers))
            return [
                {"role": "user", "content": clean(entry[asks])},
                {"role": "assistant", "content": clean(entry[answers])},
            ]
    raise wrong("a turn of no known role")


def exchange(pair: Any, notes: Notes) -> Messages:
    """What was asked and what was answered, as a list of two."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or any(part is None for part in pair):
        raise wrong("an exchange is no list of two")
    return [*as_turns(pair[0], "user", notes), *as_turns(pair[1], "assistant", notes)]


def _turn(entry: Mapping[str, Any], rest: dict[str, Any], role: str, calling: bool, notes: Notes) -> Messages:
    """The turn of a record, and before it the results of tools that stand in it; none where a system turn is empty."""
    made: dict[str, Any] = {"role": role, "content": ""}
    value, results = first_of(rest, CONTENT), []
    if calling and value is not None and (found := _called(value, notes)):
        made["tool_calls"] = found
    elif isinstance(value, str):
        made["content"] = clean(value)
    elif value is not None and _in_parts(value):
        results = _parts(value, made, notes)
    elif value is not None and role == "tool":
        made["content"] = json_text(value)
    elif value is not None:
        raise wrong(f"the content of a turn is a {type(value).__name__}")
    if isinstance(rest.get("refusal"), str) and not made["content"]:
        made["content"] = clean(rest.pop("refusal"))
    _further(made, rest, notes)
    says_more = not made.keys().isdisjoint(("reasoning", "tool_calls"))
    if (
        not made["content"]
        and not says_more
        and not results
        and not any(isinstance(entry.get(key), (str, list)) for key in CONTENT)
    ):
        raise wrong("a turn without text")
    if not made["content"].strip() and not says_more and (results or role == "system"):
        return results
    return [*results, made]


def _called(value: Any, notes: Notes) -> list[dict[str, Any]] | None:
    """The calls that are the text of a turn; None, and a note, where it is none."""
    try:
        found = calls(value, notes)
    except Misfit:
        found = None
    if not found:
        notes.say("a call that is no JSON of a call is left as text")
    return found


def _further(made: dict[str, Any], rest: dict[str, Any], notes: Notes) -> None:
    """Reasoning, calls, names and the word on training, each in its field; what is left of the record is noted."""
    for key in REASONING:
        if isinstance(rest.get(key), str) and made.get("reasoning") in (None, clean(rest[key])):
            made["reasoning"] = clean(rest.pop(key))
    for key in ("tool_calls", "function_call", "function_calls"):
        if key in rest and (found := calls(rest[key], notes)):
            made["tool_calls"] = made.get("tool_calls", []) + found
            del rest[key]
    for key, names in (("name", NAMES), ("tool_call_id", CALL_IDS)):
        for name in names:
            if key not in made and isinstance(rest.get(name), (str, int)) and not isinstance(rest[name], bool):
                made[key] = clean(str(rest.pop(name)))
    trained = [word for key in (*TRAINED, *MASKED) if (word := _trained(rest, key, notes)) is not None]
    if trained:
        made["train"] = all(trained)
    notes.unplaced(rest)


def _trained(rest: dict[str, Any], key: str, notes: Notes) -> bool | None:
    """The word of one key on training, taken out of the record; a weight between is noted."""
    value = rest.get(key)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        value = value.strip().lower() == "true"
    if not isinstance(value, (bool, int, float)) or value != value or value < 0:
        return None
    del rest[key]
    if value not in (0, 1):
        notes.say(f"{key} is neither 0 nor 1: taken as 1")
    return bool(value) != (key in MASKED)


# -- content in parts ----------------------------------------------------------------------------------------------------------


_MEDIA = ("image", "audio", "video", "file", "document")
_PART = ("text", "value", "content", "parts", "refusal", *REASONING)


def _in_parts(value: Any) -> bool:
    """A content made of parts, and no record or list of something else, such as the result of a tool."""
    if isinstance(value, (list, tuple)):
        return all(
            part is None or isinstance(part, str) or (isinstance(part, Mapping) and _in_parts(part)) for part in value
        )
    fields = without_absent(value) if isinstance(value, Mapping) else {}
    kind = fields.get("type")
    known = isinstance(kind, str) and (kind in (*_CALL_PARTS, *_RESULT_PARTS) or any(media in kind for media in _MEDIA))
    return (
        known
        or any(isinstance(fields.get(key), (str, list)) for key in _PART)
        or any(media in key for media in _MEDIA for key in fields)
    )


def _parts(value: Any, made: dict[str, Any], notes: Notes) -> Messages:
    """Put the parts of a content where they belong; returns turns that stand in it as parts: the results of tools."""
    if isinstance(value, Mapping):
        value = value["parts"] if isinstance(value.get("parts"), list) else [value]
    texts: list[str] = []
    results: Messages = []
    for part in value:
        rest = {"type": "text", "text": part} if isinstance(part, str) else without_absent(part or {})
        kind = str(rest.pop("type", "text")).lower()
        text = next(
            (
                rest[key]
                for key in ("text", "value", "content", "refusal", "output_text")
                if isinstance(rest.get(key), str)
            ),
            None,
        )
        if kind in REASONING or (text is None and not rest.keys().isdisjoint(REASONING)):
            thought = first_of(rest, (*REASONING, "text", "content"))
            made["reasoning"] = "\n".join(
                filter(None, (made.get("reasoning"), clean(thought) if isinstance(thought, str) else None))
            )
            notes.unplaced(rest)
        elif kind in _CALL_PARTS:
            made["tool_calls"] = made.get("tool_calls", []) + (calls(rest, notes) or [])
        elif kind in _RESULT_PARTS:
            results.append(_result(rest, notes))
        elif text is not None and kind.endswith(("text", "refusal")):
            texts.append(clean(text))
            notes.unplaced(key for key in rest if rest[key] is not text)
        elif not absent(rest) or kind != "text":
            texts.append(_marked(kind, rest, notes))
    made["content"] = "\n".join(texts)
    return results


def _result(rest: dict[str, Any], notes: Notes) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "tool", "content": ""}
    value = first_of(rest, ("content", "output", "text"))
    if isinstance(value, str):
        made["content"] = clean(value)
    elif value is not None and _in_parts(value):
        _parts(value, made, notes)
    elif value is not None:
        made["content"] = json_text(value)
    _further(made, rest, notes)
    return made


def _marked(kind: str, rest: dict[str, Any], notes: Notes) -> str:
    """The mark that stands for a part which is no text, as LLaMA-Factory writes it into texts; a note says what is missing."""
    known = next((media for media in _MEDIA if media in kind or any(media in key for key in rest)), None)
    notes.say(f"a part that is no text: {known or 'of another kind'}")
    return f"<{known or 'file'}>"
