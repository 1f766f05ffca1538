"""The student's answers: a pass of its own, in small shards, so that a killed run loses minutes at most.

An answer depends on the student's weights, the prompt, the sampling and the seed, and on nothing else; a check that is changed
later judges the same answers again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import Field

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, versions
from pipeline.engine.tasks import run_tasks
from pipeline.options import Options, digest
from pipeline.schema import STR, child_id
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store

CHUNK = 128
"""Prompts in a shard of the pass; a constant of the format."""
PASS = "passes/{0}"
"""One for each model that answers: `student`, `strong`."""
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")
ANSWERS = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("chat_id", STR),
        ("sample", pa.int32()),
        ("text", STR),
        ("finish", STR),
        ("tokens", pa.int32()),
        ("prompt_tokens", pa.int32()),
    ]
)
"""One answer: `finish` as in `stages.models.inference.generate.Generation`."""


class StudentSampling(Options):
    """How the student answers."""

    max_tokens: int = Field(default=256, ge=1, le=131_072)
    "Longest answer, tokens; one that reaches it is truncated."
    temperature: float = Field(default=0.8, ge=0.0, le=2.0)
    "0 is greedy; with several samples a temperature above 0 is needed."
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    "Nucleus."
    stop: tuple[str, ...] = ()
    "Strings that end an answer."
    batch: int = Field(default=8, ge=1)
    "Prompts answered at a time; on some hardware it moves the last bits, so it is part of the key."
    threads: int = Field(default=2, ge=1)
    "CPU threads; they move the last bits of sums, so they are part of the key."


class StudentPrompt(NamedTuple):
    """A CHAT row to be answered: its id, the messages before the label, and the tools beside them as JSON text."""

    id: str
    messages: list[dict[str, Any]]
    tools: str | None = None

    def fingerprint(self) -> list[Any]:
        """What the answer depends on: role and content of each message, and what few of them have."""
        turns = [
            [
                m["role"],
                m["content"],
                *sorted((name, value) for name, value in m.items() if name not in ("role", "content")),
            ]
            for m in self.messages
        ]
        return [self.id, turns, *filter(None, [self.tools])]


class StudentTask(NamedTuple):
    """One shard of the pass."""

    number: int
    prompts: list[StudentPrompt]
    students: list[Store]
    sampling: StudentSampling
    samples: int
    seed: int
    sink: Store
    key: str

    @property
    def name(self) -> str:
        return f"student answers {self.number:05d}"


def answer(
    prompts: Sequence[StudentPrompt],
    stage: Any,
    inputs: Inputs,
    sink: Store,
    pool: Pool,
    port: str = "student",
    samples: int | None = None,
) -> Store:
    """Every prompt answered `samples` (default `stage.samples`) times by the models of `port`; returns the pass. Shards that
    stand under their key are not made again."""
    store, samples = sink.sub(PASS.format(port)), samples or stage.samples
    base = {
        "students": inputs.content()[port], "sampling": stage.sampling.fingerprint(), "samples": samples,
        "seed": inputs.seed, "libraries": versions(LIBRARIES),
    }  # fmt: skip
    tasks = []
    for number, at in enumerate(range(0, len(prompts), CHUNK)):
        some = list(prompts[at : at + CHUNK])
        key = digest({**base, "prompts": [p.fingerprint() for p in some]})
        tasks.append(StudentTask(number, some, inputs[port], stage.sampling, samples, inputs.seed, store, key))
    run_tasks(pool, store, answer_shard, tasks, "dpo")
    return store


def answer_shard(task: StudentTask) -> Receipt:
    """One shard of answers."""
    from stages.models.inference.generate import SamplingParams

    drawn = SamplingParams(
        task.sampling.max_tokens, task.sampling.temperature, task.sampling.top_p, task.seed, task.sampling.stop
    )
    folders = tuple(str(store.artefact()) for store in task.students)
    hashes = tuple(store.content_hash for store in task.students)
    tools = [p.tools for p in task.prompts]
    given = {"tools": tools} if any(tools) else {}
    made = _student(folders, hashes, task.sampling.threads, task.sampling.batch).chat(
        [p.messages for p in task.prompts], drawn, task.samples, **given
    )
    rows = [
        {
            "id": child_id(prompt.id, "dpo", "student", number), "chat_id": prompt.id, "sample": number, "text": answer.text,
            "finish": answer.finish, "tokens": answer.tokens, "prompt_tokens": answer.prompt_tokens,
        }
        for prompt, answers in zip(task.prompts, made)
        for number, answer in enumerate(answers)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=ANSWERS)
    ledger = Ledger.rows(table["chat_id"], out=table["id"])
    notes = {"answers": len(rows), "tokens": sum(row["tokens"] for row in rows)}
    return task.sink.put(
        task.number, table, ledger, key=task.key, stage="dpo", notes=notes, versions=versions(LIBRARIES)
    )


@lru_cache(maxsize=1)
def _student(folders: tuple[str, ...], hashes: tuple[str, ...], threads: int, batch: int) -> Any:
    """The student, loaded once a worker process; `hashes` are there to load it again when a folder was trained anew."""
    from stages.models.inference.generate import Generator

    return Generator(folders[0], folders[1:], threads=threads, batch=batch)


def answers_of(store: Store, first: int, last: int) -> dict[str, list[dict[str, Any]]]:
    """The answers to the prompts number `first` to `last` (exclusive), by chat id, in the order of their samples."""
    found: dict[str, list[dict[str, Any]]] = {}
    for shard in range(first // CHUNK, -(-last // CHUNK) if last > first else first // CHUNK):
        for row in store.read(shard).to_pylist():
            found.setdefault(row["chat_id"], []).append(row)
    return {name: sorted(rows, key=lambda row: row["sample"]) for name, rows in found.items()}
