"""The teacher pass: shard by shard the driver asks the teacher, so that one process holds the journal and the budget.

What a call gave is journaled before it counts; a shard's replies become a shard of `passes/teacher`. A shard with calls that
were never finished (server down, budget spent) is proven as it is and says so in its notes; the next time the step is done
they are asked again, and only they.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.engine.stage import Inputs
from pipeline.engine.tasks import valid_receipts
from pipeline.errors import OptionError
from pipeline.options import digest, identity
from pipeline.storage.files import is_remote
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.models.teacher.base import UNFINISHED, Reply, Request, Teacher
from stages.models.teacher.journaled import open_teacher
from stages.models.teacher.judge import GREEDY
from stages.models.teacher.recorded import RecordedByHand
from stages.models.teacher.reply import rating
from stages.sft import passes
from stages.sft.mine import STAGE
from stages.sft.page import Page, TextSpan
from stages.sft.teacher import asks
from stages.sft.teacher.replies import REPLIES, Ask, asks_per_task, free_passages, reply_row, request_of

if TYPE_CHECKING:
    from stages.sft import Sft


def journal_path(stage: Sft, sink: Store) -> str:
    """Where calls are journaled: as the options say, else beside the store."""
    if stage.teacher.journal:
        return stage.teacher.journal
    if is_remote(sink.path) and stage.teacher.kind != "recorded":
        raise OptionError(
            "the journal of calls must lie on a local disk", "set teacher.journal to a path on this machine"
        )
    return f"{sink.path.rstrip('/')}-teacher.jsonl"


def ask_all(stage: Sft, inputs: Inputs, shards: passes.Shards, find: Store, cut: Store, replies_store: Store) -> None:
    """Ask about every shard that is not proven; a teacher is opened only when there is something to ask."""
    keys = {number: _key(stage, inputs, content, find, cut, number) for number, _, _, content in shards}
    valid = valid_receipts(replies_store, keys)
    todo = [
        (number, source, shard, keys[number])
        for number, source, shard, _ in shards
        if number not in valid or valid[number].notes.get("unfinished")
    ]
    if not todo:
        return
    root = Store(find.path.rsplit("/passes/", 1)[0])
    with closing(open_teacher(stage.teacher, journal_path(stage, root))) as teacher:
        for number, source, shard, key in todo:
            _ask_shard(stage, inputs, teacher, source, shard, find, cut, replies_store, number, key)


def _key(stage: Sft, inputs: Inputs, content: str, find: Store, cut: Store, number: int) -> str:
    keyed = (
        "teacher_tasks",
        "pairs",
        "persona",
        "shots",
        "step_by_step",
        "passages",
        "min_passage",
        "max_passage",
        "curate",
    )
    return digest(
        {
            "pass": "teacher", "version": stage.version, "teacher": identity(stage.teacher), "of": content, "seed": inputs.seed,
            "found": find.receipt(number).content_hash, "kept": cut.receipt(number).content_hash,
            "options": {name: getattr(stage, name) for name in keyed},
        }
    )  # fmt: skip


def _ask_shard(
    stage: Sft,
    inputs: Inputs,
    teacher: Teacher,
    source: Store,
    shard: int,
    find: Store,
    cut: Store,
    replies_store: Store,
    number: int,
    key: str,
) -> None:
    taken = covered(find, cut, number)
    pending: dict[str, Ask] = {}

    def requests() -> Iterator[Request]:
        for row in passes.documents(source, shard):
            for ask in asks_of(
                stage, teacher if isinstance(teacher, RecordedByHand) else None, Page(row, inputs.seed), taken
            ):
                pending[ask.id] = ask
                yield request_of(
                    ask, stage.teacher.sampling, stage.pairs, stage.persona, stage.shots, stage.step_by_step
                )

    replies = {reply.id: reply for reply in teacher.answer(requests())}
    ratings = _rated(stage, teacher, pending, replies)
    rows = [reply_row(pending[i], replies[i], ratings.get(i)) for i in pending]
    table = pa.Table.from_pylist(rows, schema=REPLIES)
    ledger = Ledger.rows([row["doc_id"] for row in rows], out=[row["id"] for row in rows])
    replies_store.put(number, table, ledger, key=key, stage=STAGE, notes=_notes(replies))


def asks_of(
    stage: Sft, by_hand: RecordedByHand | None, page: Page, taken: dict[str, list[tuple[int, int]]]
) -> Iterator[Ask]:
    """Hand-written answers: the whole page, wherever one was written for it. Other teachers: passages nothing covers."""
    if by_hand is not None:
        tasks = [task for task in asks.TASKS if by_hand.has(page.url, task)]
        yield from asks_per_task(page, [page.trimmed(TextSpan(0, len(page.text)))], tasks)
        return
    spans = free_passages(page, taken.get(page.id, ()), stage.min_passage, stage.max_passage, stage.passages)
    yield from asks_per_task(page, spans, stage.teacher_tasks)


def covered(find: Store, cut: Store, number: int) -> dict[str, list[tuple[int, int]]]:
    """Spans of rows that stand and cover their passage, by document."""
    kept = passes.kept_ids(cut, number)
    spans: dict[str, list[tuple[int, int]]] = {}
    for row in find.read(number).select(["id", "doc_id", "span_start", "span_end", "covers"]).to_pylist():
        if row["covers"] and row["span_start"] is not None and row["id"] in kept:
            spans.setdefault(row["doc_id"], []).append((row["span_start"], row["span_end"]))
    return spans


def _rated(stage: Sft, teacher: Teacher, pending: dict[str, Ask], replies: dict[str, Reply]) -> dict[str, float]:
    """The teacher's own rating of its backtranslated instructions; a rating that cannot be read is 0."""
    if not stage.curate or isinstance(teacher, RecordedByHand):
        return {}
    requests = []
    for ask_id, ask in pending.items():
        reply = replies[ask_id]
        if ask.task == "backtranslate" and reply.reason is None:
            pairs, _ = asks.pairs_in(reply.text or "")
            instruction = pairs[0][0] if pairs else " ".join((reply.text or "").split())
            messages = asks.rating(ask.page.lang, instruction, ask.page.cut(ask.span))
            requests.append(Request(ask_id, messages, GREEDY, "curate", ask.page.url, ask.page.id))
    ratings = {}
    for reply in teacher.answer(requests):
        ratings[reply.id] = (rating(reply.text or "") if reply.reason is None else None) or 0.0
        if reply.reason in UNFINISHED:
            replies[reply.id] = reply
    return ratings


def _notes(replies: dict[str, Reply]) -> dict[str, Any]:
    """What the calls cost and how they ended."""
    ends: dict[str, int] = {}
    for reply in replies.values():
        word = reply.reason or "answered"
        ends[word] = ends.get(word, 0) + 1
    return {
        "calls": len({reply.key for reply in replies.values()}),
        "from_journal": sum(reply.journaled for reply in replies.values()),
        "tokens_in": sum(reply.tokens_in or 0 for reply in replies.values()),
        "tokens_out": sum(reply.tokens_out or 0 for reply in replies.values()),
        "unfinished": sum(reply.reason in UNFINISHED for reply in replies.values()),
        "ends": ends,
    }
