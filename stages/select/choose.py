"""A run of the stage: check, score, choose over all shards, write. Scores are a pass of their own: thresholds cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, InputShard, input_shards, versions
from pipeline.engine.tasks import run_tasks, valid_receipts
from pipeline.errors import UsageError
from pipeline.options import digest
from pipeline.schema import STR, words_of
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store
from stages.select.checks import reasons

PASS = "passes/score"
LIBRARIES = ("torch", "transformers", "peft")
SCORES = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("after", pa.float64()),
        ("alone", pa.float64()),
        ("tokens", pa.int64()),
        ("reason", STR),
    ]
)
METRICS = ("select.repetition", "select.ifd", "select.perplexity", "select.tokens")


class SelectTask(NamedTuple):
    """One shard to score."""

    number: int
    source: Store
    shard: int
    models: list[Store]
    stage: Any
    sink: Store
    key: str

    @property
    def name(self) -> str:
        return f"select scores {self.number:05d}"


class ScoredRow(NamedTuple):
    """A row as it is chosen by."""

    id: str
    reasons: tuple[str, ...]
    metrics: tuple[float, ...]
    value: float
    """What `by` says; higher is better."""
    text: str


def choose(stage: Any, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
    """Bring every shard of the output under its current key; returns their receipts."""
    if stage.by in ("ifd", "perplexity") or stage.max_perplexity is not None or stage.ifd_min > 0:
        if not inputs["model"]:
            raise UsageError(
                "ifd and perplexity are measured by a model", "name it: `model: pretrain` (and adapters on it)"
            )
    shards = list(input_shards(inputs))
    keys = {number: stage.key(inputs, content) for number, _, _, content in shards}
    valid = valid_receipts(sink, keys)
    if shards and len(valid) == len(shards):
        return list(valid.values())
    scores = scored(stage, inputs, shards, sink, pool) if inputs["model"] else None
    entries = [
        entries_of(stage, store, shard, scores.read(number) if scores else None) for number, store, shard, _ in shards
    ]
    fallen = across(stage, [entry for some in entries for entry in some])
    receipts = []
    for (number, store, shard, _), some in zip(shards, entries):
        table = store.read(shard)
        every = [entry.reasons or tuple(fallen.get(entry.id, (None,))[:1]) for entry in some]
        why = [next((word for word in words if word), None) for words in every]
        ledger = Ledger.rows(
            table["id"], reason=why, reasons=[[word for word in words if word] for words in every],
            duplicate_of=[fallen[entry.id][1] if not entry.reasons and entry.id in fallen else None for entry in some],
            metrics={name: [entry.metrics[n] for entry in some] for n, name in enumerate(METRICS)},
        )  # fmt: skip
        kept = table.filter(pa.array(np.asarray([word is None for word in why], dtype=bool)))
        receipts.append(
            sink.put(
                number,
                kept,
                ledger,
                key=keys[number],
                stage="select",
                input_ids=table["id"],
                versions=versions(stage.needs()),
            )
        )
    return receipts


def scored(stage: Any, inputs: Inputs, shards: Sequence[InputShard], sink: Store, pool: Pool) -> Store:
    """The scores of every row; they depend on text, model and arithmetic, and on no threshold."""
    store = sink.sub(PASS)
    base = {
        "models": inputs.content()["model"], "width": stage.width, "batch": stage.batch, "threads": stage.threads,
        "libraries": versions(LIBRARIES), "version": 2,
    }  # fmt: skip
    tasks = [
        SelectTask(number, source, shard, inputs["model"], stage, store, digest({**base, "of": content}))
        for number, source, shard, content in shards
    ]
    run_tasks(pool, store, score_shard, tasks, "select")
    return store


def score_shard(task: SelectTask) -> Receipt:
    """One shard of scores."""
    from stages.select.ifd import score

    scorer = _scorer(task)
    ids, rows, tools = [], [], []
    for batch in task.source.batches(task.shard):
        ids += batch.column("id").to_pylist()
        rows += batch.column("messages").to_pylist()
        tools += batch.column("tools").to_pylist() if "tools" in batch.schema.names else [None] * len(batch)
    found = scorer(
        lambda model, chat, device, width: score(
            model, chat, [row or [] for row in rows], task.stage.batch, device, width, tools
        )
    )
    table = pa.table(
        {
            "id": pa.array(ids, STR), "after": [one.after for one in found], "alone": [one.alone for one in found],
            "tokens": pa.array([one.tokens for one in found], pa.int64()), "reason": pa.array([one.reason for one in found], STR),
        },
        schema=SCORES,
    )  # fmt: skip
    return task.sink.put(
        task.number, table, Ledger.rows(ids), key=task.key, stage="select", versions=versions(LIBRARIES)
    )


def _scorer(task: SelectTask) -> Any:
    """A function that runs another with the model in place."""
    from stages.models.inference.generate import Generator

    made = Generator(*_folders(task.models), threads=task.stage.threads, batch=task.stage.batch)
    width = min(task.stage.width, made.context)

    def within(do: Any) -> Any:
        from stages.models.inference.device import arithmetic

        with arithmetic(task.stage.threads):
            return do(made.model.eval(), made.chat_template, made.device, width)

    return within


def _folders(stores: Sequence[Store]) -> tuple[Any, list[Any]]:
    folders = [store.artefact() for store in stores]
    return folders[0], folders[1:]


def entries_of(stage: Any, store: Store, shard: int, scores: pa.Table | None) -> list[ScoredRow]:
    """Every row of a shard with what speaks against it by itself."""
    measured = scores.to_pylist() if scores is not None else None
    found: list[ScoredRow] = []
    for batch in store.batches(shard):
        for row in batch.to_pylist():
            why, again = reasons(row, stage)
            one = measured[len(found)] if measured is not None else None
            ifd = one["after"] / one["alone"] if one and one["alone"] else float("nan")
            perplexity = float(np.exp(one["after"])) if one else float("nan")
            if one:
                why += [one["reason"]] if one["reason"] and "select.no_answer" not in why else []
                why += ["select.ifd_high"] if ifd > stage.ifd_max else ["select.ifd_low"] if ifd < stage.ifd_min else []
                why += ["select.perplexity_high"] if stage.max_perplexity and perplexity > stage.max_perplexity else []
            by = stage.by or ("ifd" if one else "confidence")
            value = {"ifd": ifd, "perplexity": -perplexity, "confidence": row["confidence"] or 0.0}[by]
            text = compared(row["messages"] or [], stage.alike_by) if not why else ""
            found.append(
                ScoredRow(
                    row["id"],
                    tuple(why),
                    (again, ifd, perplexity, float(one["tokens"]) if one else float("nan")),
                    value,
                    text,
                )
            )
    return found


def compared(messages: Sequence[dict[str, Any]], by: str) -> str:
    """What of a conversation is held against the others."""
    if by == "answer":
        return "\n".join(words_of(messages[-1]))
    wanted = ("user",) if by == "question" else ("user", "assistant")
    return "\n".join("\n".join(words_of(m)) for m in messages if m["role"] in wanted)


def across(stage: Any, entries: Sequence[ScoredRow]) -> dict[str, tuple[str, str | None]]:
    """(reason, the row kept instead) by id of those that fall when all rows are seen: near-copies of better ones, then all but the top."""
    survivors = sorted((entry for entry in entries if not entry.reasons), key=lambda entry: (-entry.value, entry.id))
    fallen: dict[str, tuple[str, str | None]] = {}
    if stage.diversity is not None:
        from stages.text.minhash.clusters import nearest_better

        for index, better in nearest_better([entry.text for entry in survivors], stage.diversity).items():
            fallen[survivors[index].id] = ("select.near_copy", survivors[better].id)
    survivors = [entry for entry in survivors if entry.id not in fallen]
    if stage.top is not None:
        most = (
            int(stage.top) if stage.top > 1 or isinstance(stage.top, int) else int(np.ceil(stage.top * len(survivors)))
        )
        fallen |= {entry.id: ("select.not_top", None) for entry in survivors[most:]}
    return fallen
