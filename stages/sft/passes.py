"""The passes of the stage: find, across, teacher, join. Each writes a store of its own and is resumed by its receipts.

passes/find     per shard: every candidate that stands, with hashes; its ledger has what fell and why
passes/across   per shard: which of them fall when all pages are seen (boilerplate, cap per host)
passes/teacher    per shard: the teacher's raw replies about passages no row covers
shards/         per shard: what is kept of all three, as CHAT rows
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, InputShard, versions
from pipeline.engine.tasks import drop_others, run_tasks, valid_receipts
from pipeline.options import digest, identity
from pipeline.schema import CHAT
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store
from stages.sft import across
from stages.sft.mine import FOUND, STAGE, Yield, ledger_of, mine, tally, yields_of
from stages.sft.page import Page, comparison_key
from stages.sft.teacher.replies import read_reply, sampling_fact

if TYPE_CHECKING:
    from stages.sft import Sft

Shards = list[InputShard]
NEEDED = ["id", "text", "title", "url", "source", "lang", "licence", "blocks", "meta"]
"""Columns a page is made of."""


def mined(stage: Sft, inputs: Inputs, shards: Shards, sink: Store, pool: Pool) -> tuple[Store, Store]:
    """The first two passes: what was found, and what of it stands across all pages."""
    find, cut = sink.sub("passes/find"), sink.sub("passes/across")
    _find(stage, inputs, shards, find, pool)
    _across(stage, inputs, find, cut, [shard.number for shard in shards])
    return find, cut


# -- find --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FindTask:
    """One shard to mine."""

    stage: Sft
    source: Store
    shard: int
    number: int
    seed: int
    sink: Store
    key: str

    @property
    def name(self) -> str:
        return f"sft find shard {self.number:05d}"


def _find(stage: Sft, inputs: Inputs, shards: Shards, find: Store, pool: Pool) -> None:
    rules = [identity(rule) | {"word": rule.word} for rule in stage.kinds]
    base = {
        "pass": "find",
        "version": stage.version,
        "rules": rules,
        "seed": inputs.seed,
        "libraries": versions(stage.libraries),
    }
    tasks = [
        FindTask(stage, source, shard, number, inputs.seed, find, digest({**base, "of": content}))
        for number, source, shard, content in shards
    ]
    run_tasks(pool, find, find_shard, tasks, STAGE)


def find_shard(task: FindTask) -> Receipt:
    """Mine one shard, batch by batch."""
    rules, names = task.stage.kinds, [rule.word for rule in task.stage.kinds]
    notes: dict[str, Any] = {}
    with task.sink.writer(task.number, stage=STAGE, key=task.key) as writer:
        writer.expect(FOUND)
        ids: list[pa.Array] = []
        for batch in task.source.batches(task.shard):
            yields = [mine(rules, row, task.seed) for row in rows_of(batch)]
            for part in pa.Table.from_pylist([row for item in yields for row in item.rows], schema=FOUND).to_batches():
                writer.write(part)
            writer.record(ledger_of(yields, names))
            ids.append(batch.column("id"))
            _add(notes, tally(yields))
        return writer.commit(
            input_ids=pa.chunked_array(ids, pa.large_string()),
            notes={"rules": notes},
            versions=versions(task.stage.libraries),
        )


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch as plain values, only what a page needs."""
    return batch.select([name for name in NEEDED if name in batch.schema.names]).to_pylist()


def _add(total: dict[str, Any], more: dict[str, dict[str, int]]) -> None:
    for rule, counts in more.items():
        total[rule] = dict(Counter(total.get(rule, {})) + Counter(counts))


# -- across ------------------------------------------------------------------------------------------------------------


def _across(stage: Sft, inputs: Inputs, find: Store, cut: Store, numbers: list[int]) -> None:
    """Judge every candidate across all pages. Done again only when something was found anew or the options changed."""
    hashes = [find.receipt(number).content_hash for number in numbers]
    base = {
        "pass": "across",
        "found": hashes,
        "pages": stage.boilerplate_pages,
        "cap": stage.host_cap,
        "seed": inputs.seed,
    }
    keys = {number: digest({**base, "shard": number}) for number in numbers}
    drop_others(cut, keys)
    if len(valid_receipts(cut, keys)) == len(numbers):
        return
    fallen = across.drops(find, numbers, inputs.seed, stage.boilerplate_pages, stage.host_cap)
    for number, words in zip(numbers, fallen):
        ids = find.read(number)["id"].combine_chunks()
        kept = words.is_null()
        ledger = Ledger.rows(ids, reason=[f"sft.{word}" if word else None for word in words.to_pylist()])
        cut.put(number, pa.table({"id": ids.filter(kept)}), ledger, key=keys[number], stage=STAGE, input_ids=ids)


def kept_ids(cut: Store, number: int) -> set[str]:
    return set(cut.read(number)["id"].to_pylist())


# -- join --------------------------------------------------------------------------------------------------------------


class JoinTask(FindTask):
    """One output shard: what was found, what fell across pages, what the teacher wrote."""

    @property
    def name(self) -> str:
        return f"sft shard {self.number:05d}"


def join(stage: Sft, inputs: Inputs, shards: Shards, sink: Store, pool: Pool) -> list[Receipt]:
    parts = ["find", "across"] + (["teacher"] if stage.teacher is not None else [])
    tasks = []
    for number, source, shard, content in shards:
        made = [sink.sub(f"passes/{name}").receipt(number) for name in parts]
        # `across` leaves the same ids for other reasons when only a threshold moved: its ledger counts too.
        key = stage.key(inputs, content, [(r.content_hash, r.ledger_hash) for r in made], without=("of",))
        tasks.append(JoinTask(stage, source, shard, number, inputs.seed, sink, key))
    return run_tasks(pool, sink, join_shard, tasks, STAGE)


def join_shard(task: JoinTask) -> Receipt:
    """Write one output shard."""
    stage = task.stage
    names = [rule.word for rule in stage.kinds]
    find, cut, teacher = (task.sink.sub(f"passes/{name}") for name in ("find", "across", "teacher"))
    fallen = dict(zip(*(cut.ledger(task.number)[name].to_pylist() for name in ("id", "reason"))))
    answered = _replies(teacher, task.number) if stage.teacher is not None else {}
    if answered:
        names += sorted({f"teacher.{reply['task']}" for replies in answered.values() for reply in replies})
    pages = _pages(task, set(answered))
    yields = []
    for item in yields_of(find.read(task.number), find.ledger(task.number), [rule.word for rule in stage.kinds]):
        _without_fallen(item, fallen)
        if item.id in answered:
            _with_replies(item, pages[item.id], answered[item.id], stage)
        yields.append(item)
    notes: dict[str, Any] = {"rules": tally(yields)}
    if stage.teacher is not None:
        notes["teacher"] = teacher.receipt(task.number).notes
    with task.sink.writer(task.number, stage=STAGE, key=task.key) as writer:
        writer.expect(CHAT)
        rows = pa.Table.from_pylist([row for item in yields for row in item.rows], schema=FOUND).select(CHAT.names)
        for batch in rows.to_batches(max_chunksize=1024):
            writer.write(batch)
        writer.record(ledger_of(yields, names))
        ids = task.source.read(task.shard)["id"]
        return writer.commit(input_ids=ids, notes=notes, versions=versions(stage.libraries))


def _without_fallen(item: Yield, fallen: dict[str, str | None]) -> None:
    for row in item.rows:
        if reason := fallen[row["id"]]:
            item.drops.append(f"{row['rule']}.{reason.partition('.')[2]}")
    item.rows = [row for row in item.rows if fallen[row["id"]] is None]


def _replies(teacher: Store, number: int) -> dict[str, list[dict[str, Any]]]:
    """Raw replies by document."""
    found: dict[str, list[dict[str, Any]]] = {}
    for reply in teacher.read(number).to_pylist():
        found.setdefault(reply["doc_id"], []).append(reply)
    return found


def _pages(task: JoinTask, wanted: set[str]) -> dict[str, Page]:
    if not wanted:
        return {}
    return {
        row["id"]: Page(row, task.seed)
        for batch in task.source.batches(task.shard)
        for row in rows_of(batch)
        if row["id"] in wanted
    }


def _with_replies(item: Yield, page: Page, replies: list[dict[str, Any]], stage: Sft) -> None:
    """Add the rows of a document's replies; a question the page was asked before is dropped."""
    questions = {comparison_key(row["messages"][0]["content"]) for row in item.rows}
    drops, options = [], stage.teacher
    facts = {"sampling": sampling_fact(options.sampling)} if options.kind != "recorded" else {}
    if options.licence:
        facts["teacher_licence"] = options.licence
    for reply in replies:
        name = f"teacher.{reply['task']}"
        confidence = 0.95 if reply["written_by"] else stage.teacher_confidence
        parsed = read_reply(page, reply, stage.grounding, stage.curate, facts, confidence)
        item.found[name] += len(parsed.rows) + len(parsed.drops)
        drops += parsed.drops
        item.notes += parsed.notes
        for row in parsed.rows:
            question = comparison_key(row["messages"][0]["content"])
            if question in questions:
                drops.append(f"{name}.duplicate")
            else:
                questions.add(question)
                item.rows.append(row)
    item.drops = drops + item.drops


def documents(source: Store, shard: int) -> Iterator[dict[str, Any]]:
    """The rows of an input shard."""
    for batch in source.batches(shard):
        yield from rows_of(batch)
