"""The two sides of each candidate pair: who wrote the chosen answer, who the rejected one, and what speaks against the pair.

    student_reject       chosen: the label of the SFT row          rejected: an answer of the student
    teacher_vs_student   chosen: the teacher's answer              rejected: an answer of the student
    strong_weak          chosen: a better model's answer           rejected: an answer of the student
    best_of_n            chosen: the best-scored candidate         rejected: the worst

A judge, where one is given, is asked last and only about pairs that stand so far: who beats the label or ties with it makes
no pair, and what the two orders of a comparison do not agree on is dropped as the judge's own `judge.disagrees`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pipeline.schema import bare
from stages.dpo import checks
from stages.dpo.checks import Limits
from stages.models.teacher.base import UNFINISHED, Reply, Request, Sampling, Teacher
from stages.models.teacher.judge import Comparison, PairJudge

OVER_CONTEXT = "dpo.over_context"
TIE = "dpo.tie"
STUDENT_WINS = "dpo.student_wins"
FINISHED = ("stop", "length")


@dataclass(frozen=True)
class ChatRow:
    """A CHAT row as pairs are made of it."""

    row: dict[str, Any]
    in_sft: bool | None
    key: int

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def prompt(self) -> list[dict[str, Any]]:
        return [bare(turn) for turn in self.row["messages"][:-1]]

    @property
    def tools(self) -> str | None:
        """The tools that may be called, as JSON text."""
        return self.row.get("tools")

    @property
    def calls(self) -> bool:
        """Do tools stand beside the conversation or in it?"""
        return bool(self.tools) or any(
            turn["role"] == "tool" or turn.get("tool_calls") for turn in self.row["messages"] or ()
        )

    @property
    def label(self) -> str:
        return self.row["messages"][-1]["content"].strip()

    def answered(self, text: str, by_label: bool) -> list[dict[str, Any]]:
        """A side of a pair: an answer's text, with what else the row's own answer has where it is that one."""
        return [{**(bare(self.row["messages"][-1]) if by_label else {"role": "assistant"}), "content": text}]

    @property
    def question(self) -> str:
        return next((m["content"] for m in reversed(self.prompt) if m["role"] == "user"), "")

    @property
    def lang(self) -> Any:
        """The judge speaks Korean and English."""
        return "ko" if self.row["lang"] == "ko" else "en"


@dataclass(frozen=True)
class Side:
    """A candidate pair. `reasons` empty: it stands. `unfinished`: a call was not made; ask again."""

    chat: ChatRow
    ordinal: int
    chosen: str = ""
    rejected: str = ""
    reasons: tuple[str, ...] = ()
    finish: str = ""
    tokens: int = 0
    similarity: float = float("nan")
    length_ratio: float = float("nan")
    score_chosen: float | None = None
    score_rejected: float | None = None
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        return bool(UNFINISHED & set(self.reasons))


def unanswered(answer: dict[str, Any]) -> str | None:
    """Why the student gave no answer at all, or None."""
    if answer["finish"] in FINISHED:
        return None
    return OVER_CONTEXT if answer["finish"] == "over_context" else answer["finish"]


def against_student(
    chat: ChatRow,
    answers: Sequence[dict[str, Any]],
    chosen: str,
    facts: dict[str, str],
    limits: Limits,
    truncated: Any,
    match: bool = False,
) -> list[Side]:
    """One candidate per answer of the student, `chosen` being better by origin; `match` cuts it to the label's length."""
    made = []
    for answer in answers:
        base = Side(chat, answer["sample"], chosen, finish=answer["finish"], tokens=answer["tokens"], facts=facts)
        why = unanswered(answer)
        if why:
            made.append(replace(base, reasons=(why,)))
            continue
        text, cut = checks.whole(answer["text"], answer["finish"] == "length", truncated)
        if match:
            text = checks.as_long_as(text, chosen, _draw(answer["id"]))
        made.append(_checked(replace(base, rejected=text), cut, limits))
    return made


def _draw(answer_id: str) -> float:
    """A number in 0..1 from an answer's id, which is a hash."""
    return int(answer_id[:13], 16) / 16**13


def _checked(side: Side, cut: bool, limits: Limits) -> Side:
    judged = checks.check(side.chosen, side.rejected, cut, limits)
    return replace(side, reasons=tuple(judged.reasons), similarity=judged.similarity, length_ratio=judged.length_ratio)


def teacher_replies(chats: Iterable[ChatRow], teacher: Teacher, sampling: Sampling) -> dict[str, Reply]:
    """The teacher's answer to every chat's prompt, by chat id."""
    requests = (
        Request(
            chat.id,
            tuple((m["role"], m["content"]) for m in chat.prompt),
            sampling,
            "answer",
            chat.row["url"] or "",
            chat.row["doc_id"] or "",
        )
        for chat in chats
    )
    return {reply.id: reply for reply in teacher.answer(requests)}


def against_strong(
    chat: ChatRow,
    strong: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
    limits: Limits,
    truncated: Any,
    match: bool,
) -> list[Side]:
    """The strong model's one answer over each of the student's."""
    [one] = strong
    text, cut = checks.whole(one["text"], one["finish"] == "length", truncated)
    why = unanswered(one) or ("dpo.truncated" if cut else None)
    if why:
        return [Side(chat, 0, reasons=(why,), finish=one["finish"], tokens=one["tokens"])]
    return against_student(chat, answers, text, {"chosen_by": "strong"}, limits, truncated, match)


class ScoredAnswer(NamedTuple):
    """One answer that competes in best_of_n."""

    by: str
    sample: int
    text: str
    finish: str
    tokens: int

    @property
    def name(self) -> str:
        return f"{self.by}.{self.sample}" if self.by != "student" else str(self.sample)


Scores = dict[str, tuple[float | None, str | None]]
"""`<chat id>/<candidate name>` -> (score or None, reason)."""


def competing(
    chat: ChatRow, answers: dict[str, Sequence[dict[str, Any]]], by: Sequence[str], truncated: Any
) -> tuple[list[ScoredAnswer], tuple[str, ...]]:
    """The usable candidates of a chat, and why the others are not."""
    kept, reasons = [], []
    for who in by:
        if who == "label":
            kept.append(ScoredAnswer(who, 0, chat.label, "stop", 0))
            continue
        for answer in answers.get(who, ()):
            text, cut = checks.whole(answer["text"], answer["finish"] == "length", truncated)
            why = unanswered(answer) or ("dpo.truncated" if cut else None) or (None if text else "dpo.empty")
            kept.append(
                ScoredAnswer(who, answer["sample"], text, answer["finish"], answer["tokens"])
            ) if why is None else reasons.append(why)
    return kept, tuple(dict.fromkeys(reasons))


def best_and_worst(
    score: Callable[[list[tuple[ChatRow, ScoredAnswer]]], Scores], chats: Sequence[ChatRow], answers: dict[str, dict[str, Sequence[dict[str, Any]]]],
    by: Sequence[str], limits: Limits, truncated: Any, margin: float,
) -> list[Side]:  # fmt: skip
    """One side per chat: its best-scored candidate over its worst. `answers` are by chat id and by who gave them."""
    pools = {chat.id: competing(chat, answers.get(chat.id, {}), by, truncated) for chat in chats}
    scores = score([(chat, one) for chat in chats for one in pools[chat.id][0]])
    return [_ranked(chat, *pools[chat.id], scores, limits, margin) for chat in chats]


def judged(judge: PairJudge, candidates: list[tuple[ChatRow, ScoredAnswer]]) -> Scores:
    """A judge's scores; the label is shown to it as reference, except of itself."""
    items = [
        Comparison(
            f"{chat.id}/{one.name}",
            chat.question,
            one.text,
            "",
            chat.lang,
            chat.label if one.by != "label" else "",
            chat.row["url"] or "",
            chat.row["doc_id"] or "",
        )
        for chat, one in candidates
    ]
    return {name: (score, reason) for name, score, reason in judge.score(items)}


def _ranked(
    chat: ChatRow, usable: list[ScoredAnswer], failed: tuple[str, ...], scores: Scores, limits: Limits, margin: float
) -> Side:
    given = [(*scores[f"{chat.id}/{one.name}"], one) for one in usable]
    reasons = tuple(dict.fromkeys(reason for _, reason, _ in given if reason))
    scored = [(score, number, one) for number, (score, reason, one) in enumerate(given) if reason is None]
    if len(scored) < 2 or UNFINISHED & set(reasons):
        return Side(chat, 0, reasons=(*reasons, *failed) or ("dpo.too_few_answers",))
    best = max(scored, key=lambda one: (one[0], -one[1]))
    worst = min(scored, key=lambda one: (one[0], -one[1]))
    facts = {"chosen_by": best[2].by, "rejected_by": worst[2].by} if {one.by for one in usable} != {"student"} else {}
    side = Side(
        chat,
        0,
        best[2].text,
        worst[2].text,
        finish=worst[2].finish,
        tokens=worst[2].tokens,
        score_chosen=best[0],
        score_rejected=worst[0],
        facts=facts,
    )
    side = _checked(side, False, limits)
    return side if best[0] - worst[0] >= margin else replace(side, reasons=(TIE, *side.reasons))


def rewarded(
    score: Callable[[list[list[dict[str, Any]]], list[str | None]], Sequence[float]],
    sides: Sequence[Side],
    least: float,
    most: float | None,
) -> list[Side]:
    """The same candidates, those that stood so far with the rewards of both sides, and whether their difference is in the band."""
    survivors = [n for n, side in enumerate(sides) if not side.reasons]
    conversations = [
        [*sides[n].chat.prompt, {"role": "assistant", "content": text}]
        for n in survivors
        for text in (sides[n].chosen, sides[n].rejected)
    ]
    values = (
        [float(value) for value in score(conversations, [sides[n].chat.tools for n in survivors for _ in range(2)])]
        if conversations
        else []
    )
    done = list(sides)
    for n, good, bad in zip(survivors, values[::2], values[1::2]):
        apart = good - bad
        why = (
            STUDENT_WINS
            if apart <= 0
            else "dpo.margin_low"
            if apart < least
            else "dpo.margin_high"
            if most is not None and apart > most
            else None
        )
        done[n] = replace(done[n], score_chosen=good, score_rejected=bad, reasons=(why,) if why else ())
    return done


def compared(judge: PairJudge, sides: Sequence[Side]) -> list[Side]:
    """The same candidates, those that stood so far with the judge's verdict on them."""
    survivors = [n for n, side in enumerate(sides) if not side.reasons]
    pairs = [
        Comparison(f"{sides[n].chat.id}/{sides[n].ordinal}", sides[n].chat.question, sides[n].chosen, sides[n].rejected, sides[n].chat.lang,
                 url=sides[n].chat.row["url"] or "", doc_id=sides[n].chat.row["doc_id"] or "")
        for n in survivors
    ]  # fmt: skip
    done = list(sides)
    for n, verdict in zip(survivors, judge.compare(pairs)):
        why = {"one": None, "two": STUDENT_WINS, "tie": TIE}[verdict.winner] if verdict.winner else verdict.reason
        done[n] = done[n] if why is None else replace(done[n], reasons=(why,))
    return done
