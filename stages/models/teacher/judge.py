"""A judge over a teacher: pairwise verdicts in both orders, and rubric scores.

A judge that prefers whatever stands first says nothing, so every pair is shown in both orders and a verdict counts only when
both agree; where they do not, there is none (`judge.disagrees`). A tie in both orders is a tie. What the judge says is
read by `stages.models.teacher.reply`; the mapping from its letters back to the two answers is one function (`resolve`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.models.teacher.base import Reply, Request, Sampling, Teacher
from stages.models.teacher.prompts import Lang, PromptTemplate
from stages.models.teacher.reply import named, rating

DISAGREES = "judge.disagrees"
UNPARSED = "judge.unparsed"
Winner = Literal["one", "two", "tie"]
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=256)
"""A verdict is not drawn."""

PAIRWISE: dict[Lang, PromptTemplate] = {
    "ko": PromptTemplate(
        "ko",
        "두 답변 가운데 질문에 더 잘 답한 것을 고르세요. 사실이 맞는지, 질문에 맞게 답했는지, 도움이 되는지를 봅니다. 길이와 놓인 순서는 보지 않습니다.",
        '{"verdict": "A"}, {"verdict": "B"}, {"verdict": "tie"} 가운데 하나만, JSON으로 적으세요.',
    ),
    "en": PromptTemplate(
        "en",
        "Decide which of two answers serves the question better: is it right, does it answer what was asked, does it help. Ignore length and the order they stand in.",
        'Give one of {"verdict": "A"}, {"verdict": "B"}, {"verdict": "tie"}, as JSON and nothing else.',
    ),
}
RUBRIC: dict[Lang, PromptTemplate] = {
    "ko": PromptTemplate(
        "ko",
        "답변을 1점에서 5점까지 매기세요. 5점: 정확하고 빠짐없으며 바로 쓸 수 있음. 4점: 작은 흠. 3점: 일부만 맞거나 모자람. 2점: 거의 도움이 안 됨. 1점: 틀렸거나 상관없음.",
        '{"score": 1에서 5 사이의 수}만, JSON으로 적으세요.',
    ),
    "en": PromptTemplate(
        "en",
        "Rate the answer from 1 to 5. 5: right, complete, ready to use. 4: small flaws. 3: partly right or lacking. 2: hardly helps. 1: wrong or beside the point.",
        'Give {"score": a number from 1 to 5}, as JSON and nothing else.',
    ),
}
SHOWN: dict[Lang, tuple[str, str, str, str]] = {
    "ko": ("질문", "답변 A", "답변 B", "답변"),
    "en": ("Question", "Answer A", "Answer B", "Answer"),
}


@dataclass(frozen=True)
class Comparison:
    """Two answers to one question; `reference` is shown as context when given."""

    id: str
    question: str
    one: str
    two: str
    lang: Lang = "en"
    reference: str = ""
    url: str = ""
    doc_id: str = ""


@dataclass(frozen=True)
class JudgeVerdict:
    """`winner` where both orders agree, else None with a reason (`judge.*` or `teacher.*`)."""

    id: str
    winner: Winner | None
    reason: str | None = None
    forward: str | None = None
    """What the judge said of (one, two): A, B or tie; None unparsed."""
    backward: str | None = None
    """What it said of (two, one)."""


@dataclass
class Tally:
    """What to report of a judge: how often the order decided, and whether it likes length."""

    judged: int = 0
    ties: int = 0
    flips: int = 0
    """Both orders named the same letter: position, not answer, decided."""
    unparsed: int = 0
    _lengths: list[tuple[float, float]] = field(default_factory=list)

    def add(self, pair: Comparison, verdict: JudgeVerdict) -> None:
        if verdict.forward is None or verdict.backward is None:
            self.unparsed += 1
            return
        self.judged += 1
        self.ties += verdict.winner == "tie"
        self.flips += verdict.forward == verdict.backward != "tie"
        if verdict.winner in ("one", "two"):
            self._lengths.append(
                (math.log((len(pair.one) + 1) / (len(pair.two) + 1)), 1.0 if verdict.winner == "one" else -1.0)
            )

    @property
    def flip_rate(self) -> float:
        return self.flips / self.judged if self.judged else 0.0

    @property
    def length_correlation(self) -> float:
        """Pearson's r of log length ratio and verdict; 0 where either does not vary."""
        n = len(self._lengths)
        if n < 2:
            return 0.0
        mx, my = (sum(column) / n for column in zip(*self._lengths))
        sx = math.sqrt(sum((x - mx) ** 2 for x, _ in self._lengths))
        sy = math.sqrt(sum((y - my) ** 2 for _, y in self._lengths))
        return sum((x - mx) * (y - my) for x, y in self._lengths) / (sx * sy) if sx and sy else 0.0

    def notes(self) -> dict[str, Any]:
        return {
            "judged": self.judged, "ties": self.ties, "flips": self.flips, "unparsed": self.unparsed,
            "flip_rate": str(round(self.flip_rate, 4)), "length_correlation": str(round(self.length_correlation, 4)),
        }  # fmt: skip


class PairJudge:
    """Pairwise verdicts and rubric scores from a teacher. `tally` holds what to report."""

    def __init__(self, teacher: Teacher, sampling: Sampling = GREEDY):
        self.teacher, self.sampling, self.tally = teacher, sampling, Tally()

    def compare(self, pairs: Iterable[Comparison]) -> Iterator[JudgeVerdict]:
        """One verdict per pair, in the order given; each costs two calls."""
        pairs = list(pairs)
        replies = {reply.id: reply for reply in self.teacher.answer(r for pair in pairs for r in self._both(pair))}
        for pair in pairs:
            verdict = resolve(pair.id, replies[f"{pair.id}/forward"], replies[f"{pair.id}/backward"])
            self.tally.add(pair, verdict)
            yield verdict

    def score(self, items: Iterable[Comparison]) -> Iterator[tuple[str, float | None, str | None]]:
        """(id, score from 1 to 5 or None, reason) of every item's first answer, in the order given."""
        items = list(items)
        replies = {reply.id: reply for reply in self.teacher.answer(self._rated(item) for item in items)}
        for item in items:
            reply = replies[item.id]
            if reply.reason:
                yield item.id, None, reply.reason
            else:
                value = rating(reply.text or "")
                yield item.id, value, None if value is not None else UNPARSED

    def _both(self, pair: Comparison) -> Iterator[Request]:
        for name, first, second in (("forward", pair.one, pair.two), ("backward", pair.two, pair.one)):
            question, a, b, _ = SHOWN[pair.lang]
            shown = f"{question}: {pair.question}\n\n{a}:\n{first}\n\n{b}:\n{second}"
            messages = PAIRWISE[pair.lang].render(shown, pair.reference)
            yield Request(f"{pair.id}/{name}", messages, self.sampling, f"judge.{name}", pair.url, pair.doc_id)

    def _rated(self, item: Comparison) -> Request:
        question, _, _, answer = SHOWN[item.lang]
        messages = RUBRIC[item.lang].render(f"{question}: {item.question}\n\n{answer}:\n{item.one}", item.reference)
        return Request(item.id, messages, self.sampling, "judge.score", item.url, item.doc_id)


def resolve(pair_id: str, forward: Reply, backward: Reply) -> JudgeVerdict:
    """The verdict of both orders. Forward shows (one, two), so A is one; backward shows (two, one), so A is two."""
    for reply in (forward, backward):
        if reply.reason:
            return JudgeVerdict(pair_id, None, reply.reason)
    verdicts = [letter(reply.text or "") for reply in (forward, backward)]
    if None in verdicts:
        return JudgeVerdict(pair_id, None, UNPARSED, *verdicts)
    first: Winner = {"A": "one", "B": "two", "tie": "tie"}[verdicts[0]]
    second: Winner = {"A": "two", "B": "one", "tie": "tie"}[verdicts[1]]
    if first != second:
        return JudgeVerdict(pair_id, None, DISAGREES, *verdicts)
    return JudgeVerdict(pair_id, first, None, *verdicts)


def letter(text: str) -> str | None:
    """A, B or tie as the judge's JSON says; None where it says anything else."""
    value = named(text, "verdict")
    word = value.strip().lower() if isinstance(value, str) else ""
    return {"a": "A", "b": "B", "tie": "tie"}.get(word)
