"""Labelled sets that exist already: conversations, preferences and rankings in the forms in which they are passed around.

Known by their columns: messages (TRL, OpenAI), conversations (ShareGPT), instruction/input/output (Alpaca), prompt and
completion (TRL), prompt/chosen/rejected (TRL, explicit or with the prompt inside both), Anthropic's transcripts, KTO's
labelled completions, and lists of answers with scores or ranks. `columns` gives other names: `{prompt: Q, completion: A}`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, NamedTuple

from stages.ingest.row import clean

ROLES = {
    "user": "user", "human": "user", "prompter": "user", "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "model": "assistant", "function_call": "assistant", "tool_call": "assistant", "system": "system", "developer": "system", "tool": "tool",
    "observation": "tool", "function_response": "tool", "function": "tool", "ipython": "tool",
}  # fmt: skip
ANSWERS = ("completion", "response", "output", "answer")
ASKED = ("prompt", "instruction", "question", "input")
MANY = ("answers", "responses", "completions", "candidates", "outputs")
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")

Messages = list[dict[str, str]]


class Misfit(ValueError):
    """A row that is not what was asked for; `reason` of the closed vocabulary, and a note without the row's text."""

    def __init__(self, reason: str, note: str):
        super().__init__(note)
        self.reason, self.note = reason, note


class Chat(NamedTuple):
    messages: Messages
    rule: str
    used: tuple[str, ...]
    note: str | None = None


class Pair(NamedTuple):
    prompt: Messages
    chosen: Messages
    rejected: Messages
    rule: str
    used: tuple[str, ...]
    score_chosen: float | None = None
    score_rejected: float | None = None


class Labelled(NamedTuple):
    """One answer with a verdict (KTO): what was asked, the answer, good or bad."""

    prompt: Messages
    answer: Messages
    good: bool
    used: tuple[str, ...]


def messages(value: Any) -> Messages:
    """A list of turns, whatever they call role and content. Misfit where one is no turn."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise Misfit("ingest.wrong_columns", "no list of turns")
    turns = []
    for turn in value:
        if not isinstance(turn, Mapping):
            raise Misfit("ingest.wrong_columns", f"a turn is a {type(turn).__name__}")
        role = ROLES.get(str(turn.get("role", turn.get("from", ""))).lower())
        if role is None:
            raise Misfit("ingest.wrong_columns", "a turn of no known role")
        turns.append({"role": role, "content": clean(_content(turn))})
    return turns


def _content(turn: Mapping[str, Any]) -> str:
    value = turn.get("content", turn.get("value"))
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value):
        return "\n".join(part["text"] for part in value)
    if value is None and turn.get("tool_calls"):
        return json.dumps(turn["tool_calls"], ensure_ascii=False, sort_keys=True)
    raise Misfit("ingest.wrong_columns", "a turn without text")


def _turns(value: Any, role: str) -> Messages:
    """A string as one turn of `role`; a list as its turns."""
    if isinstance(value, str):
        return [{"role": role, "content": clean(value)}]
    return messages(value)


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) not in (None, "")), None)


def asked(row: Mapping[str, Any]) -> tuple[Messages, tuple[str, ...]]:
    """What was asked: system, history, instruction with its input, or a prompt; and the columns used."""
    if row.get("conversations") is not None or row.get("messages") is not None:
        name = "conversations" if row.get("conversations") is not None else "messages"
        return _system(row) + messages(row[name]), (name, "system")
    name = _first(row, ASKED)
    if name is None:
        raise Misfit("ingest.wrong_columns", "no column that asks: " + ", ".join(sorted(map(str, row))[:12]))
    turns = _turns(row[name], "user")
    used = [name, "system", "history"]
    extra = row.get("input")
    if name == "instruction":
        used.append("input")
        if isinstance(extra, str) and extra.strip():
            turns = [{"role": "user", "content": turns[0]["content"] + "\n" + clean(extra)}]
    history: Messages = []
    for exchange in row.get("history") or []:
        if isinstance(exchange, (list, tuple)) and len(exchange) == 2:
            history += [*_turns(exchange[0], "user"), *_turns(exchange[1], "assistant")]
    return _system(row) + history + turns, tuple(used)


def _system(row: Mapping[str, Any]) -> Messages:
    system = row.get("system")
    return [{"role": "system", "content": clean(system)}] if isinstance(system, str) and system.strip() else []


def chat(row: Mapping[str, Any]) -> Chat:
    """A conversation that ends with an answer. Misfit where there is none, or where the answer is marked as bad."""
    if _verdict(row) is False:
        raise Misfit("ingest.label_false", "the answer is marked undesirable")
    if row.get("messages") is not None or row.get("conversations") is not None:
        turns, used = asked(row)
        rule = "messages" if "messages" in used else "sharegpt"
    else:
        turns, used = asked(row)
        name = next((n for n in ANSWERS if n not in used and row.get(n) not in (None, "")), None)
        if name is None:
            raise Misfit("ingest.wrong_columns", "no column that answers: " + ", ".join(sorted(map(str, row))[:12]))
        turns = turns + _turns(row[name], "assistant")
        used = (*used, name)
        rule = "alpaca" if "instruction" in used else "prompt_completion"
    last = next((place for place in range(len(turns), 0, -1) if turns[place - 1]["role"] == "assistant"), 0)
    note = f"{len(turns) - last} turns after the last answer left out" if last < len(turns) else None
    turns = turns[:last]
    if not turns or not turns[-1]["content"].strip() or not any(t["role"] == "user" and t["content"].strip() for t in turns):
        raise Misfit("ingest.empty", "no question with an answer")
    return Chat(turns, f"ingest.{rule}", used, note)


def _verdict(row: Mapping[str, Any]) -> bool | None:
    for name in ("label", "kto_tag"):
        value = row.get(name)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
    return None


def verdict(row: Mapping[str, Any]) -> Labelled | None:
    """A KTO row, or None for other rows."""
    good = _verdict(row)
    if good is None or "chosen" in row:
        return None
    given = chat({**row, "label": None, "kto_tag": None})
    return Labelled(given.messages[:-1], given.messages[-1:], good, (*given.used, "label", "kto_tag"))


def pair(row: Mapping[str, Any]) -> Pair:
    """A preference with its prompt. Misfit where a side is missing, or both are the same."""
    if isinstance(row.get("output"), list) and len(row["output"]) >= 2 and "chosen" not in row:
        row = {**row, "chosen": row["output"][0], "rejected": row["output"][1], "output": None}
    if row.get("chosen") in (None, "", []) or row.get("rejected") in (None, "", []):
        raise Misfit("ingest.wrong_columns", "no chosen and rejected: " + ", ".join(sorted(map(str, row))[:12]))
    chosen, rejected = _side(row["chosen"]), _side(row["rejected"])
    used: tuple[str, ...] = ("chosen", "rejected", "score_chosen", "score_rejected")
    if _first(row, ("conversations", "messages", *ASKED)) is not None:
        prompt, more = asked(row)
        used, rule = (*used, *more), "preference"
        chosen, rejected = _without(chosen, prompt), _without(rejected, prompt)
    else:
        prompt, rule = _common(chosen, rejected), "preference_implicit"
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    return _checked(Pair(prompt, chosen, rejected, f"ingest.{rule}", used, _number(row.get("score_chosen")), _number(row.get("score_rejected"))))


def _side(value: Any) -> Messages:
    """One side: turns, one turn, an answer, or a transcript of Human and Assistant."""
    if not isinstance(value, str):
        return messages(value)
    marks = list(_TRANSCRIPT.finditer(value))
    if len(marks) < 2 or marks[0].start() != 0:
        return _turns(value, "assistant")
    ends = [mark.start() for mark in marks[1:]] + [len(value)]
    return [
        {"role": "user" if mark.group(1) == "Human" else "assistant", "content": clean(value[mark.end() : end].strip())}
        for mark, end in zip(marks, ends)
    ]


def _without(side: Messages, prompt: Messages) -> Messages:
    """A side that repeats the prompt at its head, without it."""
    for head in (prompt, [turn for turn in prompt if turn["role"] != "system"]):
        if head and side[: len(head)] == head and len(side) > len(head):
            return side[len(head) :]
    return side


def _common(chosen: Messages, rejected: Messages) -> Messages:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if not shared:
        raise Misfit("ingest.wrong_columns", "no prompt, and none at the head of both sides")
    return chosen[:shared]


def _checked(found: Pair) -> Pair:
    sides = [" ".join(turn["content"] for turn in side).strip() for side in (found.chosen, found.rejected)]
    if not sides[0] or not sides[1] or not found.prompt:
        raise Misfit("ingest.empty", "a side without words")
    if sides[0] == sides[1]:
        raise Misfit("ingest.equal_pair", "both sides are the same")
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def ranking(row: Mapping[str, Any], which: str) -> list[Pair]:
    """Pairs of a list of answers to one prompt, by scores (higher is better), ranks (lower is better) or their order.

    `which`: `best-worst` one pair, `best-rest` the best against each other one, `all` every two of unlike score.
    """
    name = next((n for n in MANY if isinstance(row.get(n), list)), None)
    if name is None:
        return [pair(row)]
    prompt, used = asked(row)
    answers, values = _scored(row, row[name])
    order = sorted(range(len(answers)), key=lambda place: (-values[place], place))
    if len(order) < 2:
        raise Misfit("ingest.unpaired", "fewer than two answers")
    chosen = {"best-worst": [(order[0], order[-1])], "best-rest": [(order[0], other) for other in order[1:]]}.get(which) or [
        (a, b) for place, a in enumerate(order) for b in order[place + 1 :]
    ]
    found = []
    for better, worse in chosen:
        if values[better] > values[worse] and answers[better] != answers[worse]:
            sides = Pair(prompt, answers[better], answers[worse], "ingest.ranking", (*used, name, *SCORES, *RANKS), values[better], values[worse])
            found.append(_checked(sides))
    if not found:
        raise Misfit("ingest.equal_pair", "no two answers of unlike score")
    return found


SCORES = ("scores", "ratings", "score", "rating")
RANKS = ("ranks", "rank")


def _scored(row: Mapping[str, Any], entries: list[Any]) -> tuple[list[Messages], list[float]]:
    """Answers and how good each is; without scores or ranks the first is the best."""
    answers, own = [], []
    for entry in entries:
        if isinstance(entry, Mapping) and "role" not in entry and "from" not in entry:
            text = next((entry[n] for n in ("text", "content", *ANSWERS) if isinstance(entry.get(n), str)), None)
            if text is None:
                raise Misfit("ingest.wrong_columns", "an answer without text")
            answers.append(_turns(text, "assistant"))
            score = next((_number(entry[n]) for n in SCORES if n in entry), None)
            rank = next((_number(entry[n]) for n in RANKS if n in entry), None)
            own.append(score if score is not None else -rank if rank is not None else None)
        else:
            answers.append(_turns(entry, "assistant"))
            own.append(None)
    for names, sign in ((SCORES, 1.0), (RANKS, -1.0)):
        beside = next((row[n] for n in names if isinstance(row.get(n), list)), None)
        if beside is not None:
            if len(beside) != len(answers) or any(_number(value) is None for value in beside):
                raise Misfit("ingest.wrong_columns", "not one score per answer")
            return answers, [sign * float(value) for value in beside]
    if any(value is None for value in own):
        return answers, [-float(place) for place in range(len(answers))]
    return answers, [float(value) for value in own]  # type: ignore[arg-type]
