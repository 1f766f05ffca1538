"""The two sides of each candidate pair: who wrote the chosen answer, who the rejected one, and what speaks against the pair.

    student_reject       chosen: the label of the SFT row          rejected: an answer of the student
    teacher_vs_student   chosen: the teacher's answer              rejected: an answer of the student
    best_of_n            chosen: the student's best-judged answer  rejected: its worst

A judge, where one is given, is asked last and only about pairs that stand so far: who beats the label or ties with it makes
no pair, and what the two orders of a comparison do not agree on is dropped as the judge's own `judge.disagrees`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Iterable, Sequence

from stages.dpo import checks
from stages.dpo.checks import Limits
from stages.models.judge import Judge
from stages.models.judge import Pair as Compared
from stages.models.teacher import UNFINISHED, Reply, Request, Sampling, Teacher

OVER_CONTEXT = "dpo.over_context"
TIE = "dpo.tie"
STUDENT_WINS = "dpo.student_wins"
FINISHED = ("stop", "length")


@dataclass(frozen=True)
class Chat:
    """A CHAT row as pairs are made of it."""

    row: dict[str, Any]
    in_sft: bool | None
    key: int

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def prompt(self) -> list[dict[str, str]]:
        return [{"role": m["role"], "content": m["content"]} for m in self.row["messages"][:-1]]

    @property
    def label(self) -> str:
        return self.row["messages"][-1]["content"].strip()

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

    chat: Chat
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


def against_student(chat: Chat, answers: Sequence[dict[str, Any]], chosen: str, facts: dict[str, str], limits: Limits, truncated: Any, match: bool = False) -> list[Side]:
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
    judged = checks.judge(side.chosen, side.rejected, cut, limits)
    return replace(side, reasons=tuple(judged.reasons), similarity=judged.similarity, length_ratio=judged.length_ratio)


def taught(chats: Iterable[Chat], teacher: Teacher, sampling: Sampling) -> dict[str, Reply]:
    """The teacher's answer to every chat's prompt, by chat id."""
    requests = (
        Request(chat.id, tuple((m["role"], m["content"]) for m in chat.prompt), sampling, "answer", chat.row["url"] or "", chat.row["doc_id"] or "")
        for chat in chats
    )
    return {reply.id: reply for reply in teacher.answer(requests)}


def best_and_worst(judge: Judge, chats: Sequence[Chat], answers: dict[str, list[dict[str, Any]]], limits: Limits, truncated: Any, margin: float) -> list[Side]:
    """One candidate per chat: the student's best-scored usable answer over its worst; the label is shown to the judge as reference."""
    usable: dict[str, list[tuple[dict[str, Any], str]]] = {}
    failed: dict[str, tuple[str, ...]] = {}
    for chat in chats:
        kept, reasons = [], []
        for answer in answers.get(chat.id, []):
            text, cut = checks.whole(answer["text"], answer["finish"] == "length", truncated)
            why = unanswered(answer) or ("dpo.truncated" if cut else None) or (None if text else "dpo.empty")
            kept.append((answer, text)) if why is None else reasons.append(why)
        usable[chat.id], failed[chat.id] = kept, tuple(dict.fromkeys(reasons))
    items = [
        Compared(f"{chat.id}/{answer['sample']}", chat.question, text, "", chat.lang, chat.label, chat.row["url"] or "", chat.row["doc_id"] or "")
        for chat in chats
        for answer, text in usable[chat.id]
    ]
    scores = {name: (score, reason) for name, score, reason in judge.score(items)}
    return [_ranked(chat, usable[chat.id], failed[chat.id], scores, limits, margin) for chat in chats]


def _ranked(chat: Chat, usable: list, failed: tuple[str, ...], scores: dict, limits: Limits, margin: float) -> Side:
    given = [(*scores[f"{chat.id}/{answer['sample']}"], answer, text) for answer, text in usable]
    reasons = tuple(dict.fromkeys(reason for _, reason, *_ in given if reason))
    scored = [(score, answer, text) for score, reason, answer, text in given if reason is None]
    if len(scored) < 2 or UNFINISHED & set(reasons):
        return Side(chat, 0, reasons=(*reasons, *failed) or ("dpo.too_few_answers",))
    best = max(scored, key=lambda one: (one[0], -one[1]["sample"]))
    worst = min(scored, key=lambda one: (one[0], -one[1]["sample"]))
    side = Side(
        chat, 0, best[2], worst[2], finish=worst[1]["finish"], tokens=worst[1]["tokens"], score_chosen=best[0], score_rejected=worst[0]
    )
    side = _checked(side, False, limits)
    return side if best[0] - worst[0] >= margin else replace(side, reasons=(TIE, *side.reasons))


def compared(judge: Judge, sides: Sequence[Side]) -> list[Side]:
    """The same candidates, those that stood so far with the judge's verdict on them."""
    standing = [n for n, side in enumerate(sides) if not side.reasons]
    pairs = [
        Compared(f"{sides[n].chat.id}/{sides[n].ordinal}", sides[n].chat.question, sides[n].chosen, sides[n].rejected, sides[n].chat.lang,
                 url=sides[n].chat.row["url"] or "", doc_id=sides[n].chat.row["doc_id"] or "")
        for n in standing
    ]  # fmt: skip
    done = list(sides)
    for n, verdict in zip(standing, judge.compare(pairs)):
        why = {"one": None, "two": STUDENT_WINS, "tie": TIE}[verdict.winner] if verdict.winner else verdict.reason
        done[n] = done[n] if why is None else replace(done[n], reasons=(why,))
    return done
