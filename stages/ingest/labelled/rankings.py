"""Several answers to one prompt with scores, ranks or an order, as pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.ingest.labelled.calls import tools
from stages.ingest.labelled.chats import ANSWERS, candidates
from stages.ingest.labelled.given import Given, Messages, Misfit, Notes, without_absent, wrong
from stages.ingest.labelled.pairs import LabelledPair, checked, number, pair
from stages.ingest.labelled.turns import as_turns

MANY = ("answers", "responses", "completions", "candidates", "outputs", "generations")
SCORES = ("scores", "ratings", "score", "rating", "overall_score", "fine-grained_score")
RANKS = ("ranks", "rank")
_SPEAKS = ("role", "from")


def ranking(row: Mapping[str, Any], which: str) -> list[LabelledPair]:
    """Pairs of a list of answers to one prompt, by scores (higher is better), ranks (lower is better) or their order.

    `which`: `best-worst` one pair, `best-rest` the best against each other one, `all` every two of unlike score.
    """
    given = Given(row)
    name = next((n for n in MANY if isinstance(given.get(n), list)), None)
    if name is None:
        return [pair(row)]
    prompt = next(candidates(given), None)
    if prompt is None:
        raise wrong("no column that asks: " + given.seen())
    schemas, more = tools(given, prompt.notes)
    answers, values, scored = _scored(given, given.get(name), prompt.notes)
    order = sorted(range(len(answers)), key=lambda rank: (-values[rank], rank))
    if len(order) < 2:
        raise Misfit("ingest.unpaired", "fewer than two answers")
    chosen = {"best-worst": [(order[0], order[-1])], "best-rest": [(order[0], other) for other in order[1:]]}.get(
        which
    ) or [(a, b) for rank, a in enumerate(order) for b in order[rank + 1 :]]
    used = (*prompt.used, given.own(name), *scored, *more)
    found = []
    for better, worse in chosen:
        if values[better] > values[worse] and answers[better] != answers[worse]:
            sides = LabelledPair(
                prompt.turns,
                answers[better],
                answers[worse],
                "ingest.ranking",
                used,
                values[better],
                values[worse],
                prompt.notes.note(),
                schemas,
            )
            found.append(checked(sides))
    if not found:
        raise Misfit("ingest.equal_pair", "no two answers of unlike score")
    return found


def _scored(given: Given, entries: list[Any], notes: Notes) -> tuple[list[Messages], list[float], tuple[str, ...]]:
    """Answers, how good each is, and the column that says so; without scores or ranks the first is the best."""
    answers, own = [], []
    for entry in entries:
        answer, score = _answer(entry, notes)
        answers.append(answer)
        own.append(score)
    for names, sign in ((SCORES, 1.0), (RANKS, -1.0)):
        name = next((n for n in names if isinstance(given.get(n), list)), None)
        if name is not None:
            values = [number(value, name) for value in given.get(name)]
            if len(values) != len(answers) or None in values:
                raise wrong("not one score per answer")
            return answers, [sign * value for value in values], (given.own(name),)  # type: ignore[operator]
    if all(value is None for value in own):
        return answers, [-float(rank) for rank in range(len(answers))], ()
    if None in own:
        raise wrong("not one score per answer")
    return answers, own, ()  # type: ignore[return-value]


def _answer(entry: Any, notes: Notes) -> tuple[Messages, float | None]:
    """An answer and its own score; keys beside them are left out."""
    if not isinstance(entry, (str, Mapping, list, tuple)):
        raise wrong(f"an answer is a {type(entry).__name__}")
    if not isinstance(entry, Mapping) or any(key in entry for key in _SPEAKS):
        return as_turns(entry, "assistant", notes), None
    rest = without_absent(entry)
    name = next((n for n in ("text", "content", *ANSWERS) if isinstance(rest.get(n), (str, list))), None)
    if name is None:
        raise wrong("an answer without text")
    answer = as_turns(rest.pop(name), "assistant", notes)
    for names, sign in ((SCORES, 1.0), (RANKS, -1.0)):
        for key in names:
            if key in rest:
                value = number(rest.pop(key), key)
                if value is None:
                    raise wrong(f"{key} is no number")
                notes.unplaced(rest)
                return answer, sign * value
    notes.unplaced(rest)
    return answer, None
