"""What a row asks and answers: a conversation column, or columns of instruction, context, history, system and answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from pipeline.schema import speaks
from stages.ingest.labelled.calls import calls, tools
from stages.ingest.labelled.given import Given, Messages, Misfit, Notes, parsed, text_of, wrong
from stages.ingest.labelled.turns import SPEAKER, as_turns, exchange, messages, transcript
from stages.ingest.row import clean

CONVERSATIONS = ("conversations", "messages", "conversation", "dialogue", "dialog", "chat", "data")
"""Columns that hold whole conversations: ShareGPT, TRL and OpenAI, LMSYS, Glaive, UltraChat. `data` and `chat` only as lists or transcripts."""
PROMPT_COLUMNS = ("prompt", "instruction", "question", "query", "input", "질문", "지시", "q")
ANSWERS = ("completion", "response", "output", "answer", "generation", "답변", "응답", "a")
BESIDE = ("input", "query", "context", "article", "passage")
"""Columns with what an instruction is about: Alpaca's input, LLaMA-Factory's query, Dolly's context."""
SYSTEM = ("system", "system_prompt", "system_message")
THOUGHT = ("reasoning_content", "reasoning", "thinking", "complex_cot")
LABELS = ("label", "kto_tag")
SEGMENTS = "segments"
_MARK = r"<[^<>\s]{1,60}>|\[/?[A-Z_]{2,40}\]"
EDGE_MARKS = re.compile(rf"\A(?:\s*(?:{_MARK})){{1,8}}|(?:(?:{_MARK})\s*){{1,8}}\Z")
"""Control tokens at the beginning and the end of a text, eight at most: without a limit a text of nothing else takes the square of its length."""


class LabelledChat(NamedTuple):
    messages: Messages
    rule: str
    used: tuple[str, ...]
    """Columns the row has; the others go to `meta`."""
    note: str | None = None
    tools: str | None = None


class Labelled(NamedTuple):
    """One answer with a verdict (KTO): what was asked, the answer, good or bad."""

    prompt: Messages
    answer: Messages
    good: bool
    used: tuple[str, ...]
    note: str | None = None
    tools: str | None = None


class ReadTurns(NamedTuple):
    """Turns out of some columns, what their keys left to say, and the rule's name."""

    turns: Messages
    used: tuple[str, ...]
    notes: Notes
    rule: str


def conversation(given: Given) -> ReadTurns | None:
    """The column that holds a whole conversation, with the system prompt beside it; None where there is none."""
    for name in CONVERSATIONS:
        value = given.get(name)
        if (
            value is None
            or (name in CONVERSATIONS[2:] and not _holds_turns(value))
            or (name == "data" and given.first(PROMPT_COLUMNS))
        ):
            continue
        notes = Notes()
        turns = messages(value, notes)
        system, used = _system(given)
        rule = name if name == "messages" else "sharegpt" if name == "conversations" else "conversation"
        system = [] if system == turns[:1] else system
        return ReadTurns(system + turns, (given.own(name), *used), notes, rule)
    return segmented(given)


def segmented(given: Given) -> ReadTurns | None:
    """Axolotl's segments of one text, each with a label that says whether it is trained; None where there are none.

    They have no roles: what is trained is read as an answer, what stands before it as a question. Control tokens at the ends
    of a segment (`<s>`, `<|im_end|>`) are taken off, since a template of ours writes its own.
    """
    segments = given.get(SEGMENTS)
    if not isinstance(segments, list) or not all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) and part.get("label") in (True, False)
        for part in segments
    ):
        return None
    turns: Messages = []
    for trained, parts in groupby(segments, lambda part: bool(part["label"])):
        text = EDGE_MARKS.sub("", clean("".join(part["text"] for part in parts))).strip()
        if text:
            turns.append(
                {"role": "assistant", "content": text, "train": True} if trained else {"role": "user", "content": text}
            )
    notes = Notes()
    notes.say("segments without roles: those trained are read as answers, the others as questions")
    return ReadTurns(turns, (given.own(SEGMENTS),), notes, SEGMENTS)


_TURN_KEYS = (*SPEAKER, "input", "human", "user", "prompt", "question")


def _holds_turns(value: Any) -> bool:
    """Is a column of a common name a conversation? A list of turns or of texts, JSON text of one, or a transcript."""
    if isinstance(value, str):
        return transcript(value) is not None or (isinstance(listed := parsed(value), list) and _holds_turns(listed))
    if not isinstance(value, list):
        return False
    bare = len(value) > 1 and all(isinstance(turn, str) for turn in value)
    return bare or all(isinstance(turn, Mapping) and any(key in turn for key in _TURN_KEYS) for turn in value)


def prompt_turns(given: Given) -> ReadTurns | None:
    """An instruction with its context, after system prompt and history; None where no column asks."""
    name = given.first(PROMPT_COLUMNS)
    if name is None:
        return None
    notes = Notes()
    turns = as_turns(_text_or_turns(given.get(name), name), "user", notes)
    used = [given.own(name)]
    if isinstance(given.get(name), str):
        beside = [
            other
            for other in BESIDE
            if other != name and isinstance(given.get(other), str) and given.get(other).strip()
        ]
        strange = next(
            (
                other
                for other in BESIDE[:2]
                if name == "instruction" and given.get(other) is not None and not isinstance(given.get(other), str)
            ),
            None,
        )
        if strange:
            raise wrong(f"{strange} is a {type(given.get(strange)).__name__}")
        turns[0]["content"] = "\n".join([turns[0]["content"], *(text_of(given.get(other), other) for other in beside)])
        used += [given.own(other) for other in beside]
    system, system_used = _system(given)
    history, history_used = _history(given, notes)
    rule = "alpaca" if name == "instruction" else "prompt_completion"
    return ReadTurns(system + history + turns, (*used, *system_used, *history_used), notes, rule)


def _text_or_turns(value: Any, name: str) -> Any:
    if not isinstance(value, (str, list, tuple, Mapping)):
        raise wrong(f"{name} is a {type(value).__name__}")
    return value


def _system(given: Given) -> tuple[Messages, tuple[str, ...]]:
    name = given.first(SYSTEM)
    if name is None:
        return [], ()
    text = text_of(given.get(name), name)
    return ([{"role": "system", "content": text}] if text.strip() else []), (given.own(name),)


def _history(given: Given, notes: Notes) -> tuple[Messages, tuple[str, ...]]:
    """Turns before: exchanges of two (Alpaca), or turns as elsewhere. Misfit for anything else."""
    history = given.get("history")
    if history is None:
        return [], ()
    if not isinstance(history, (list, tuple)):
        raise wrong(f"history is a {type(history).__name__}")
    if all(isinstance(turn, (list, tuple)) for turn in history):
        return [turn for pair in history for turn in exchange(pair, notes)], (given.own("history"),)
    return messages(history, notes), (given.own("history"),)


def candidates(given: Given) -> Iterator[ReadTurns]:
    """Every way in which the row's columns ask, whole conversations first."""
    if (found := conversation(given)) is not None:
        yield found
    if (found := prompt_turns(given)) is not None:
        yield found


def chat(row: Mapping[str, Any]) -> LabelledChat:
    """A conversation that ends with an answer. Misfit where there is none, or where the answer is marked as bad."""
    given = Given(row)
    if _verdict(given) is False:
        raise Misfit("ingest.label_false", "the answer is marked undesirable")
    found = conversation(given) or _answered(given)
    schemas, more = tools(given, found.notes)
    turns = _to_the_last_answer(found.turns, found.notes)
    return LabelledChat(turns, f"ingest.{found.rule}", (*found.used, *more), found.notes.note(), schemas)


def _answered(given: Given) -> ReadTurns:
    found = prompt_turns(given)
    if found is None:
        raise wrong("no column that asks: " + given.seen())
    calling = given.get("answers")
    name = next((n for n in ANSWERS if given.own(n) not in found.used and given.get(n) is not None), None)
    if name is None and isinstance(calling, str) and (made := calls(calling, found.notes)):
        answer, name = [{"role": "assistant", "content": "", "tool_calls": made}], "answers"
    elif name is None:
        raise wrong("no column that answers: " + given.seen())
    else:
        answer = as_turns(_text_or_turns(given.get(name), name), "assistant", found.notes)
    used = [*found.used, given.own(name)]
    thought = given.first(THOUGHT)
    if thought is not None and isinstance(given.get(thought), str) and "reasoning" not in answer[-1]:
        answer[-1]["reasoning"] = text_of(given.get(thought), thought)
        used.append(given.own(thought))
    return found._replace(turns=found.turns + answer, used=tuple(used))


def _to_the_last_answer(turns: Messages, notes: Notes) -> Messages:
    last = next((i for i in range(len(turns), 0, -1) if turns[i - 1]["role"] == "assistant"), 0)
    if last < len(turns):
        notes.say(f"{len(turns) - last} turns after the last answer left out")
    if (
        not last
        or not speaks(turns[last - 1])
        or not any(turn["role"] == "user" and turn["content"].strip() for turn in turns[:last])
    ):
        raise Misfit("ingest.empty", "no question with an answer")
    return turns[:last]


def _verdict(given: Given) -> bool | None:
    for name in LABELS:
        value = given.get(name)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
    return None


def verdict(row: Mapping[str, Any]) -> Labelled | None:
    """A KTO row, or None for other rows."""
    given = Given(row)
    good = _verdict(given)
    if good is None or given.get("chosen") is not None:
        return None
    labels = [given.own(name) for name in LABELS if given.get(name) is not None]
    found = chat({name: value for name, value in row.items() if name not in labels})
    return Labelled(found.messages[:-1], found.messages[-1:], good, (*found.used, *labels), found.note, found.tools)
