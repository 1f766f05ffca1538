"""Preferences: a better and a worse answer to one prompt, named as such, or two answers and a word on which is better."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.schema import speaks
from stages.ingest.labelled.calls import tools
from stages.ingest.labelled.chats import SYSTEM, ReadTurns, candidates
from stages.ingest.labelled.given import Given, Messages, Misfit, Notes, parsed, wrong
from stages.ingest.labelled.turns import as_turns, messages, transcript

CHOSEN = {
    "chosen": "rejected",
    "chosen_response": "rejected_response",
    "chosen_answer": "rejected_answer",
    "preferred_output": "non_preferred_output",
    "preferred": "dispreferred",
}
"""Names of the better answer and of the worse."""
SCORED = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_avg_rating", "rejected_avg_rating"),
    ("chosen-rating", "rejected-rating"),
)
TWO = (
    ("response_0", "response_1"), ("response_1", "response_2"), ("response1", "response2"), ("response_a", "response_b"), ("conversation_a", "conversation_b"),
    ("answer_0", "answer_1"), ("answer_1", "answer_2"), ("answer_a", "answer_b"), ("output_1", "output_2"), ("output_a", "output_b"), ("completion_a", "completion_b"),
    ("human_ref_a", "human_ref_b"), ("response_j", "response_k"),
)  # fmt: skip
"""Two answers, of which another column says which is better: PKU-SafeRLHF, HelpSteer2 and 3, LMSYS, WebGPT, AlpacaEval, SHP."""
INDEXES = ("better_response_id", "preferred_response_id")
SIGNED = ("preference_strength", "overall_preference")
"""Below zero the first answer is better, above zero the second."""
_MARK = re.compile(r"^(?:(?:model|assistant|response|answer|output|completion|conversation)[ _]?)?([0-9a-z])$")


class LabelledPair(NamedTuple):
    prompt: Messages
    chosen: Messages
    rejected: Messages
    rule: str
    used: tuple[str, ...]
    score_chosen: float | None = None
    score_rejected: float | None = None
    note: str | None = None
    tools: str | None = None


def number(value: Any, name: str) -> float | None:
    """A finite number, or None for what is none at all. Misfit for NaN, infinities and numbers no float holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise wrong(f"{name} is no finite number")
    return found


def pair(row: Mapping[str, Any]) -> LabelledPair:
    """A preference with its prompt. Misfit where a side is missing, or both are the same."""
    given = Given(_opened(row))
    notes = Notes()
    sides, used = _sides(given)
    chosen, rejected = (_side(side, notes) for side in sides)
    prompt, chosen, rejected, rule = _prompted(given, chosen, rejected)
    notes.merge(prompt.notes)
    schemas, more = tools(given, notes)
    scores, scored = _scores(given)
    found = LabelledPair(
        prompt.turns,
        chosen,
        rejected,
        f"ingest.{rule}",
        (*used, *prompt.used, *more, *scored),
        *scores,
        notes.note(),
        schemas,
    )
    return checked(found)


def _opened(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of OpenAI's preference format, whose prompt and tools stand in a record `input`, as one of columns."""
    inner = row.get("input")
    if not isinstance(inner, Mapping) or "preferred_output" not in row or inner.keys() & row.keys():
        return row
    return {**{name: value for name, value in row.items() if name != "input"}, **inner}


def _sides(given: Given) -> tuple[tuple[Any, Any], tuple[str, ...]]:
    """(better, worse) as the row holds them, and the columns that say so."""
    output = given.get("output")
    for better, worse in CHOSEN.items():
        if given.get(better) is not None and given.get(worse) is not None:
            return (given.get(better), given.get(worse)), (given.own(better), given.own(worse))
    if isinstance(output, list) and len(output) == 2 and given.get("chosen") is None:
        return (output[0], output[1]), (given.own("output"),)
    for names in TWO:
        first, second = (_interleaved(given, name) for name in names)
        if first is None or second is None:
            continue
        second_is_better, decided_by = _better(given, names)
        sides = (second, first) if second_is_better else (first, second)
        return sides, (*map(given.own, names), *map(given.own, decided_by))
    raise wrong("no chosen and rejected: " + given.seen())


def _interleaved(given: Given, name: str) -> Any:
    """An answer; of an arena's row, whose prompts and answers are two lists of texts, the conversation of both."""
    prompts, answers = (
        parsed(value) if isinstance(value, str) and value.lstrip()[:1] == "[" else value
        for value in (given.get("prompt"), given.get(name))
    )
    lists = [
        value
        for value in (prompts, answers)
        if isinstance(value, list) and all(isinstance(text, str) for text in value)
    ]
    if len(lists) == 2 and len(prompts) == len(answers):
        return [text for turn in zip(prompts, answers, strict=True) for text in turn]
    return given.get(name)


def _better(given: Given, names: tuple[str, str]) -> tuple[bool, tuple[str, ...]]:
    """(is the second of two answers the better one, the columns that say so). Misfit for a tie, and where nothing is said."""
    ends = [name[-1] for name in names]
    if names == ("response_j", "response_k"):  # Stack Exchange's pairs: the first has more votes
        return False, ()
    for name in INDEXES:
        if given.get(name) in (0, 1) and not isinstance(given.get(name), bool):
            return bool(given.get(name)), (name,)
    for name in SIGNED:
        if (sign := number(given.get(name), name)) is not None:
            return _above(0.0, sign), (name,)
    winner = given.get("winner")
    if isinstance(winner, str):
        mark = _MARK.match(winner.strip().lower())
        if mark is None or mark.group(1) not in ends:
            raise Misfit("ingest.equal_pair", "neither answer is called the winner")
        return ends.index(mark.group(1)) == 1, ("winner",)
    if names[0].startswith("human_ref") and (label := number(given.get("labels"), "labels")) is not None:
        return label == 0, ("labels",)
    if names[0].startswith("output") and (preferred := number(given.get("preference"), "preference")) is not None:
        return _above(1.5, preferred), ("preference",)
    for stem in ("winner_model_", "score_", "score", "rating_"):
        pair_of = [f"{stem}{end}" for end in ends]
        values = [number(given.get(name), name) for name in pair_of]
        if None not in values:
            return _above(*values), tuple(name for name in pair_of if stem == "winner_model_")  # type: ignore[arg-type]
    raise wrong("two answers, and no column that prefers one: " + given.seen())


def _above(first: float, second: float) -> bool:
    if first == second:
        raise Misfit("ingest.equal_pair", "neither answer is preferred")
    return second > first


def _side(value: Any, notes: Notes) -> Messages:
    """One side: turns, one turn, an answer, or a transcript of Human and Assistant."""
    if isinstance(value, str):
        return transcript(value) or as_turns(value, "assistant", notes)
    if not isinstance(value, (list, tuple, Mapping)):
        raise wrong(f"an answer is a {type(value).__name__}")
    return messages(value, notes)


def _prompted(given: Given, chosen: Messages, rejected: Messages) -> tuple[ReadTurns, Messages, Messages, str]:
    """The prompt, the sides without it, and the rule: a column that asks, or what both sides begin with."""
    whole = all(side[0]["role"] in ("user", "system") for side in (chosen, rejected))
    found = list(candidates(given)) or list(_context_turns(given))
    for prompt in found:
        cut = _without(chosen, prompt.turns), _without(rejected, prompt.turns)
        if all(cut):
            more = _further(*cut)  # type: ignore[arg-type]
            return prompt._replace(turns=prompt.turns + cut[0][:more]), cut[0][more:], cut[1][more:], "preference"  # type: ignore[index]
    if whole or not found:
        shared = _common(chosen, rejected)
        system = next(
            (
                prompt.turns[:1]
                for prompt in found
                if prompt.turns[0]["role"] == "system" and shared[0]["role"] != "system"
            ),
            [],
        )
        used = tuple(name for prompt in found if prompt.turns[-1] in shared for name in prompt.used)
        used += (given.own(given.first(SYSTEM) or ""),) if system else ()
        return (
            ReadTurns(system + shared, used, Notes(), ""),
            chosen[len(shared) :],
            rejected[len(shared) :],
            "preference_implicit",
        )
    prompt = next((one for one in found if one.turns[-1]["role"] != "assistant"), found[0])
    ended = prompt.turns[: -len(chosen)] if prompt.turns[-len(chosen) :] == chosen else prompt.turns
    return prompt._replace(turns=ended), chosen, rejected, "preference"


def _further(chosen: Messages, rejected: Messages) -> int:
    """How many turns the sides share up to a question of the user: they belong to the prompt."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return max((i + 1 for i in range(shared) if chosen[i]["role"] == "user"), default=0)


def _context_turns(given: Given) -> list[ReadTurns]:
    """A post (SHP) or a list of turns (HelpSteer3) that both answer, in a column of a common name."""
    for name in ("history", "context"):
        value = given.get(name)
        if value is not None:
            notes = Notes()
            return [ReadTurns(as_turns(value, "user", notes), (given.own(name),), notes, "")]
    return []


def _without(side: Messages, prompt: Messages) -> Messages | None:
    """A side that repeats the prompt at its head, without it; None for others."""
    for head in (prompt, [turn for turn in prompt if turn["role"] != "system"]):
        if head and side[: len(head)] == head and len(side) > len(head):
            return side[len(head) :]
    return None


def _common(chosen: Messages, rejected: Messages) -> Messages:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if not shared:
        raise wrong("no prompt, and none at the head of both sides")
    return chosen[:shared]


def checked(found: LabelledPair) -> LabelledPair:
    """Misfit for a side that says nothing, and for sides that say the same."""
    sides = [
        [(turn["role"], turn["content"].strip(), turn.get("reasoning"), turn.get("tool_calls")) for turn in side]
        for side in (found.chosen, found.rejected)
    ]
    if not found.prompt or not all(any(map(speaks, side)) for side in (found.chosen, found.rejected)):
        raise Misfit("ingest.empty", "a side without words")
    if sides[0] == sides[1]:
        raise Misfit("ingest.equal_pair", "both sides are the same")
    return found


def _scores(given: Given) -> tuple[tuple[float | None, float | None], tuple[str, ...]]:
    for names in SCORED:
        values = tuple(number(given.get(name), name) for name in names)
        if any(value is not None for value in values):
            return values, tuple(
                given.own(name) for name, value in zip(names, values, strict=True) if value is not None
            )  # type: ignore[return-value]
    return (None, None), ()
