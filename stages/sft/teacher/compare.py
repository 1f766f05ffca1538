"""Candidate teachers on one probe set: what share of their answers can be used, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pipeline.options import digest
from pipeline.storage.store import Store
from stages.models.teacher.base import TeacherOptions
from stages.models.teacher.journaled import open_teacher
from stages.sft import passes
from stages.sft.grounding import Grounding
from stages.sft.mine import hashed
from stages.sft.page import Page
from stages.sft.teacher.replies import asks_per_task, free_passages, read_reply, reply_row, request_of


class Compared(NamedTuple):
    """One teacher over the probe set. `usable` counts pairs that parsed, passed every check and were grounded."""

    name: str
    probes: int
    answered: int
    pairs: int
    usable: int
    characters: float
    tokens_out: int
    seconds: float
    price: float
    reasons: dict[str, int]

    def summary(self) -> str:
        share = self.usable / self.pairs if self.pairs else 0.0
        lost = ", ".join(
            f"{reason} {count}"
            for reason, count in sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))[:4]
        )
        return (
            f"{self.name:<40} answered {self.answered}/{self.probes}  usable {self.usable}/{self.pairs} ({share:.0%})  "
            f"{self.characters:.0f} characters an answer  {self.tokens_out:,} tokens  {self.seconds:.1f} s a call  price {self.price:.4f}  {lost}"
        ).rstrip()


def compare(
    teachers: Sequence[TeacherOptions],
    source: Store,
    probes: int,
    pairs: int,
    journals: Path,
    gate: Grounding,
    seed: int,
) -> list[Compared]:
    """Every teacher is asked the same question-answer task about the same passages; calls are journaled per teacher."""
    chosen = list(probe_set(source, probes, seed))
    table = []
    for options in teachers:
        asks = {ask.id: ask for ask in chosen}
        with closing(open_teacher(options, journals / f"{digest(options.name())[:16]}.jsonl")) as teacher:
            replies = {r.id: r for r in teacher.answer(request_of(ask, options.sampling, pairs) for ask in chosen)}
        rows, reasons, made = [], {}, 0
        for ask_id, ask in asks.items():
            parsed = read_reply(ask.page, reply_row(ask, replies[ask_id]), gate, 0, {}, 1.0)
            rows += parsed.rows
            made += len(parsed.rows) + (len(parsed.drops) if replies[ask_id].reason is None else 0)
            for reason in parsed.drops:
                reasons[reason] = reasons.get(reason, 0) + 1
        spent_in = sum(r.tokens_in or 0 for r in replies.values())
        spent_out = sum(r.tokens_out or 0 for r in replies.values())
        table.append(
            Compared(
                name=options.name(), probes=len(chosen), answered=sum(r.reason is None for r in replies.values()), pairs=made, usable=len(rows),
                characters=sum(len(row["messages"][1]["content"]) for row in rows) / max(1, len(rows)), tokens_out=spent_out,
                seconds=sum(r.seconds for r in replies.values()) / max(1, len(replies)),
                price=(spent_in * options.price_in + spent_out * options.price_out) / 1e6, reasons=reasons,
            )
        )  # fmt: skip
    return table


def probe_set(source: Store, probes: int, seed: int) -> Iterator:
    """One passage of each of the first `probes` documents that have one, by a hash of seed and id."""
    found = []
    for shard in source.shards():
        for row in passes.documents(source, shard):
            page = Page(row, seed)
            spans = free_passages(page, (), 200, 2500, 1) if page.lang else []
            if spans:
                found.append((hashed(f"{seed}/{page.id}"), page, spans))
                if len(found) > 4 * probes:
                    found = sorted(found, key=lambda item: item[0])[:probes]
    for _, page, spans in sorted(found, key=lambda item: item[0])[:probes]:
        yield from asks_per_task(page, spans, ["qa"])
