"""What a teacher would cost, before it is asked: the requests are made as they would be, looked up, counted and not sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs, input_shards
from pipeline.storage.store import Store
from stages.models.teacher import journal
from stages.models.teacher.base import Request, estimate_tokens
from stages.models.teacher.journaled import open_teacher
from stages.models.teacher.recorded import RecordedByHand
from stages.sft import passes
from stages.sft.page import Page
from stages.sft.teacher.replies import request_of
from stages.sft.teacher.teacher_pass import asks_of, covered

if TYPE_CHECKING:
    from stages.sft import Sft


class Estimate(NamedTuple):
    """Distinct calls, how many of them a journal answers, and what the rest would take. `seconds` is None where no journal
    says how long this teacher takes."""

    documents: int
    calls: int
    journaled: int
    tokens_in: int
    tokens_out: int
    price: float
    seconds: float | None
    within_budget: int

    def summary(self) -> str:
        fresh = self.calls - self.journaled
        lines = [
            f"{self.calls:,} calls for {self.documents:,} documents; {self.journaled:,} are journaled, {fresh:,} would be made",
            f"about {self.tokens_in:,} prompt tokens, at most {self.tokens_out:,} answer tokens, price at most {self.price:,.2f}",
            f"about {self.seconds / 60:,.1f} minutes"
            if self.seconds is not None
            else "time: unknown until this teacher has answered once",
        ]
        if self.within_budget < self.calls:
            lines.append(
                f"the budget stops after {self.within_budget:,} calls; backtranslations are rated in calls of their own, not counted here"
            )
        return "\n".join(lines)


def estimate(stage: Sft, inputs: Inputs) -> Estimate:
    """Mine in a temporary folder to see what stays uncovered, then count."""
    options = stage.teacher
    name = options.name()
    known, seconds = _journaled(options.journal, name)
    seen: set[str] = set()
    documents: set[str] = set()
    tokens_in = tokens_out = hits = within = 0
    price = 0.0
    for request in _requests(stage, inputs):
        documents.add(request.doc_id)
        key = request.key(name)
        if key in seen:
            continue
        seen.add(key)
        budget = options.budget
        if (
            (budget.calls is None or len(seen) <= budget.calls)
            and (budget.price is None or price < budget.price)
            and (budget.tokens is None or tokens_in + tokens_out < budget.tokens)
        ):
            within += 1
        if key in known:
            hits += 1
            continue
        prompt, answer = estimate_tokens(request), request.sampling.max_tokens
        tokens_in += prompt
        tokens_out += answer
        price += (prompt * options.price_in + answer * options.price_out) / 1e6
    wait = mean(seconds) * (len(seen) - hits) / options.max_in_flight if seconds else None
    return Estimate(len(documents), len(seen), hits, tokens_in, tokens_out, price, wait, within)


def _journaled(path: str | None, name: str) -> tuple[set[str], list[float]]:
    """Keys of finished calls, and how long they took."""
    if path is None or not Path(path).exists():
        return set(), []
    entries = [entry for entry in journal.read(Path(path)) if entry.get("final", True) and entry.get("model") == name]
    return {entry["key"] for entry in entries}, [entry.get("seconds") or 0.0 for entry in entries]


def _requests(stage: Sft, inputs: Inputs) -> Iterator[Request]:
    by_hand = None
    if stage.teacher.kind == "recorded":
        teacher = open_teacher(stage.teacher, "")
        by_hand = teacher if isinstance(teacher, RecordedByHand) else None
    with tempfile.TemporaryDirectory(prefix="maetdol-plan-") as folder:
        find, cut = passes.mined(stage, inputs, list(input_shards(inputs)), Store(folder), Inline())
        for number, store, shard, _ in input_shards(inputs):
            taken = covered(find, cut, number)
            for row in passes.documents(store, shard):
                for ask in asks_of(stage, by_hand, Page(row, inputs.seed), taken):
                    yield request_of(
                        ask, stage.teacher.sampling, stage.pairs, stage.persona, stage.shots, stage.step_by_step
                    )
