"""A run of the stage: choose prompts, let the student answer, ask teacher and judge, check, trim, write."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import lru_cache
from typing import Any, NamedTuple

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, input_shards, versions
from pipeline.engine.tasks import valid_receipts
from pipeline.errors import UsageError, WorkError
from pipeline.options import digest
from pipeline.storage.files import is_remote
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dpo import facts, overlap, pairs, sides, student
from stages.dpo.checks import Limits
from stages.dpo.sides import ChatRow, Side
from stages.models.teacher.base import TeacherOptions
from stages.models.teacher.journaled import open_teacher
from stages.models.teacher.judge import PairJudge

log = logging.getLogger("maetdol.dpo")

DRAFTS = "passes/pairs"


class Shard(NamedTuple):
    """One input shard: which of its rows are asked (`first` .. `last` of all prompts asked), and why the others are not."""

    number: int
    store: Store
    shard: int
    content: str
    reasons: list[str | None]
    first: int
    last: int


class PromptPlan(NamedTuple):
    """The whole run's choice of prompts."""

    shards: list[Shard]
    prompts: list[student.StudentPrompt]
    sft: set[int] | None


def make(stage: Any, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
    """Bring every shard of the pair store under its current key; returns their receipts."""
    if stage.sft_overlap is not None and not inputs["sft"]:
        raise UsageError("sft_overlap needs to know what SFT saw", "name the CHAT step it was trained on: `sft: ...`")
    if asks_strong(stage) and not inputs["strong"]:
        raise UsageError(f"{stage.method} asks a better model", "name it: `strong: ...` (and the adapters on it)")
    if stage.method == "best_of_n" and stage.judge is None and not inputs["reward"]:
        raise UsageError(
            "best_of_n needs someone who scores the answers", "give `judge`, or a reward model as `reward: ...`"
        )
    keys = {number: stage.key(inputs, content) for number, _, _, content in input_shards(inputs)}
    valid = valid_receipts(sink, keys)
    if keys and len(valid) == len(keys):
        return list(valid.values())
    plan = planned(stage, inputs)
    answers = {"student": student.answer(plan.prompts, stage, inputs, sink, pool)}
    if asks_strong(stage):
        many = stage.samples if stage.method == "best_of_n" else 1
        answers["strong"] = student.answer(plan.prompts, stage, inputs, sink, pool, "strong", many)
    drafts = sink.sub(DRAFTS)
    with ExitStack() as held:
        teachers = Teachers(stage, sink, held, inputs.one("reward"))
        for shard in plan.shards:
            draft_shard(stage, inputs, plan, shard, answers, drafts, teachers)
    return finish(stage, inputs, plan, sink, drafts, keys, teachers.notes())


def asks_strong(stage: Any) -> bool:
    return stage.method == "strong_weak" or (stage.method == "best_of_n" and "strong" in stage.candidates)


def planned(stage: Any, inputs: Inputs) -> PromptPlan:
    """Which rows are asked: those with a label whose prompt is chosen, in store order."""
    sft = overlap.keys_of(inputs["sft"]) if inputs["sft"] else None
    by_teacher = stage.method == "teacher_vs_student"
    found = [
        (
            number,
            store,
            shard,
            content,
            [
                overlap.candidate(row["messages"], sft, by_teacher and ChatRow(row, None, 0).calls)
                for row in _rows(store, shard)
            ],
        )
        for number, store, shard, content in input_shards(inputs)
    ]
    chosen, _ = overlap.choose(
        (one for *_, some in found for one in some), stage.sft_overlap, stage.max_prompts, inputs.seed
    )
    left_out = overlap.BEYOND if stage.sft_overlap is None else overlap.OVERLAP
    shards: list[Shard] = []
    prompts: list[student.StudentPrompt] = []
    for number, store, shard, content, some in found:
        reasons = [one.reason or (None if one.key in chosen else left_out) for one in some]
        first = len(prompts)
        prompts += [
            student.StudentPrompt(row["id"], ChatRow(row, None, 0).prompt, row.get("tools"))
            for row, why in zip(_rows(store, shard), reasons)
            if why is None
        ]
        shards.append(Shard(number, store, shard, content, reasons, first, len(prompts)))
    return PromptPlan(shards, prompts, sft)


def _rows(store: Store, shard: int) -> Iterator[dict[str, Any]]:
    for batch in store.batches(shard):
        yield from batch.to_pylist()


class Teachers:
    """Teacher and judge, opened when first needed and closed with the run; one process holds their journals."""

    def __init__(self, stage: Any, sink: Store, held: ExitStack, reward: Store | None = None):
        self.stage, self.sink, self.held, self.reward = stage, sink, held, reward
        self._judge: PairJudge | None = None
        self._teacher: Any = None

    @property
    def teacher(self) -> Any:
        if self._teacher is None:
            self._teacher = self._open(self.stage.teacher, "teacher")
        return self._teacher

    @property
    def judge(self) -> PairJudge | None:
        if self._judge is None and self.stage.judge is not None:
            self._judge = PairJudge(self._open(self.stage.judge, "judge"))
        return self._judge

    def rewards(self, conversations: list[list[dict[str, Any]]], tools: list[str | None]) -> list[float]:
        """The reward of each conversation's last answer; `tools` are the schemas beside each."""
        from stages.models.inference.device import arithmetic

        with arithmetic(self.stage.sampling.threads) as device:
            return (
                _reward_model(str(self.reward.artefact()), self.reward.content_hash, device, self.stage.sampling.batch)
                .score(conversations, *([tools] if any(tools) else []))
                .tolist()
            )  # type: ignore[union-attr]

    def scores(self, some: list[tuple[ChatRow, sides.ScoredAnswer]]) -> sides.Scores:
        """The candidates of best_of_n scored: by the reward model where there is one, else by the judge."""
        if self.reward is None:
            return sides.judged(self.judge, some)  # type: ignore[arg-type]
        values = (
            self.rewards(
                [[*chat.prompt, {"role": "assistant", "content": one.text}] for chat, one in some],
                [chat.tools for chat, _ in some],
            )
            if some
            else []
        )
        return {f"{chat.id}/{one.name}": (value, None) for (chat, one), value in zip(some, values)}

    def _open(self, options: TeacherOptions, what: str) -> Any:
        if is_remote(self.sink.path) and options.kind != "recorded" and not options.journal:
            raise UsageError(
                f"{what}: its journal cannot lie on object storage", f"give `{what}: {{journal: a local path}}`"
            )
        return self.held.enter_context(closing(open_teacher(options, f"{self.sink.path.rstrip('/')}-{what}.jsonl")))

    def notes(self) -> dict[str, Any]:
        return {"judge": self._judge.tally.notes()} if self._judge else {}


@lru_cache(maxsize=1)
def _reward_model(folder: str, content: str, device: Any, batch: int) -> Any:
    from pathlib import Path

    from stages.models.inference.device import number_type
    from stages.models.inference.reward import RewardModel

    return RewardModel(Path(folder), device, number_type("auto", device), batch)


def draft_shard(
    stage: Any,
    inputs: Inputs,
    plan: PromptPlan,
    shard: Shard,
    answers: dict[str, Store],
    drafts: Store,
    teachers: Teachers,
) -> None:
    """The pass of one shard: its pairs that stand the checks, unless they are there already under their key."""
    chosen = digest(shard.reasons)
    chunks = range(shard.first // student.CHUNK, -(-shard.last // student.CHUNK))
    made = [store.receipt(n).content_hash for store in answers.values() for n in chunks]  # type: ignore[union-attr]
    key = stage.key(inputs, "pairs", shard.content, chosen, made)
    if valid_receipts(drafts, {shard.number: key}):
        return
    chats, dropped = [], []
    for row, why in zip(_rows(shard.store, shard.shard), shard.reasons):
        if why is None:
            one = overlap.candidate(row["messages"], plan.sft)
            chats.append(ChatRow(row, one.in_sft, one.key))
        else:
            dropped.append(pairs.Dropped(row["id"], (why,)))
    given = {who: student.answers_of(store, shard.first, shard.last) for who, store in answers.items()}
    found = candidates(stage, chats, given, teachers)
    waiting = sum(side.unfinished and "teacher.budget" not in side.reasons for side in found)
    if waiting:
        raise WorkError(
            f"dpo: {waiting} calls to the teacher or judge were not finished",
            "see that it answers, then run again: finished calls are journaled",
        )
    table, ledger = pairs.draft(found, dropped, stage.method)
    drafts.put(shard.number, table, ledger, key=key, stage="dpo")


def candidates(
    stage: Any, chats: list[ChatRow], answers: dict[str, dict[str, list[dict[str, Any]]]], teachers: Teachers
) -> list[Side]:
    """Every candidate pair of a shard, checked, scored and judged. `answers` are by who gave them, then by chat."""
    limits = Limits(stage.similarity_min, stage.similarity_max, stage.length_ratio, stage.same_language, stage.refusals)
    if stage.method == "best_of_n":
        mine = {chat.id: {who: some.get(chat.id, []) for who, some in answers.items()} for chat in chats}
        return sides.best_and_worst(
            teachers.scores, chats, mine, stage.candidates, limits, stage.truncated, stage.margin
        )
    replies = (
        sides.teacher_replies(chats, teachers.teacher, stage.teacher_sampling)
        if stage.method == "teacher_vs_student"
        else {}
    )
    found: list[Side] = []
    for chat in chats:
        given = answers["student"].get(chat.id, [])
        if stage.method == "strong_weak":
            found += sides.against_strong(
                chat, answers["strong"][chat.id], given, limits, stage.truncated, stage.match_length
            )
            continue
        reply = replies.get(chat.id)
        if reply is not None and reply.reason:
            found.append(Side(chat, 0, reasons=(reply.reason,)))
            continue
        facts = {"teacher": reply.model, "call": reply.key} if reply is not None else {}
        if reply is not None and stage.teacher.licence:
            facts["teacher_licence"] = stage.teacher.licence
        chosen = (reply.text or "").strip() if reply is not None else chat.label
        found += sides.against_student(chat, given, chosen, facts, limits, stage.truncated, stage.match_length)
    if teachers.reward is not None:
        found = sides.rewarded(teachers.rewards, found, stage.margin_min, stage.margin_max)
    return sides.compared(teachers.judge, found) if teachers.judge is not None else found


def finish(
    stage: Any,
    inputs: Inputs,
    plan: PromptPlan,
    sink: Store,
    drafts: Store,
    keys: dict[int, str],
    judged: dict[str, Any],
) -> list[Receipt]:
    """Trim to the cap and the overlap over all shards, and write the store."""
    balance: dict[str, str] = {}
    if stage.length_balance is not None:
        # Before the overlap, which must be exact at the end; it takes prompts by hash, from longer and shorter alike.
        balance = pairs.unbalanced(
            (drafts.read(shard.number) for shard in plan.shards), stage.length_balance, inputs.seed
        )
    seen = pairs.drafted_pairs(
        (drafts.read(shard.number).select(["id", "prompt_hash", "in_sft"]) for shard in plan.shards), balance
    )
    drop, prompts, rows = pairs.final(seen, stage.sft_overlap, stage.per_prompt, inputs.seed)
    drop |= balance
    numbers = [shard.number for shard in plan.shards]
    whole: dict[str, Any] = {**judged, "sides": facts.sides(drafts, numbers, drop)}
    if warning := whole["sides"].get("warning"):
        log.warning(
            f"dpo: {warning} (a probe of fifty steps is right {whole['sides']['probe_accuracy']:.0%} of the time)"
        )
    if plan.sft is not None:
        whole["sft_overlap"] = {
            "asked": stage.sft_overlap, "prompts": prompts.prompts, "prompts_in_sft": prompts.in_sft, "share": prompts.share,
            "share_with_near_copies": facts.near_share(inputs["sft"], drafts, numbers, drop), "pair_share": rows.share,
        }  # fmt: skip
    receipts = []
    for shard in plan.shards:
        table, ledger = pairs.without_dropped(drafts.read(shard.number), drafts.ledger(shard.number), drop)
        notes = pairs.lengths(table)
        if not receipts:
            # Facts of the whole store stand in the first receipt alone, since a report adds the shards' notes up.
            notes |= whole
        ids = shard.store.read(shard.shard)["id"]
        receipts.append(
            sink.put(
                shard.number,
                table,
                ledger,
                key=keys[shard.number],
                stage="dpo",
                input_ids=ids,
                notes=notes,
                versions=versions(stage.needs()),
            )
        )
    return receipts
