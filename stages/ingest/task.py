"""One task: some files in order to one or more shards, each proven by its receipt.

Everything that decides a byte follows from the files and the options: which records, their ids, where a shard ends. A
task that was killed goes on at its first shard without proof: records before it are read past, not worked on again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.deletion.forgotten import Forgotten, load
from pipeline.engine.stage import versions
from pipeline.engine.watchdog import watchdog
from pipeline.errors import WorkError
from pipeline.inspection.masks import masked
from pipeline.options import digest
from pipeline.schema import SHAPES as SCHEMAS
from pipeline.schema import STR, doc_id
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import PROCESS_ENDED, Ledger, Receipt
from pipeline.storage.shards import BATCH_BYTES, BATCH_ROWS, SHARD_BYTES, SHARD_ROWS
from pipeline.storage.store import Store
from stages.ingest.readers import read_file
from stages.ingest.row import Raw, clean, guarded
from stages.ingest.shape import SHAPES, Outcome, Shaper
from stages.ingest.sources import File
from stages.ingest.table_row import own_id
from stages.ingest.vectors import vectors_of

FORGOTTEN = "ingest.forgotten"
ENDED = f"ingest.{PROCESS_ENDED}"
PARTS = 1000
"""Shards of one task at most: a shard's number is 1,000 times its group's (`plan.groups`), plus its part."""
LEDGER_ROWS = 1 << 20
"""Ledger rows after which a shard is closed, however few rows were kept."""


@dataclass(frozen=True)
class IngestTask:
    """Files to read, and what the proof of the result must say."""

    number: int
    files: tuple[File, ...]
    options: Any
    sink: Store
    key: str
    against: tuple[int, ...] = ()
    """Earlier shards that hold some of the same ids: those met there get an ordinal here."""

    @property
    def name(self) -> str:
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"ingest task {self.number} ({self.files[0].name}{more})" if self.files else f"ingest task {self.number}"


def part_key(task: IngestTask, part: int, against: dict[int, str]) -> str:
    """Key of one shard of a task; `against` maps earlier shards to their content hashes."""
    return digest([task.key, part, {str(shard): value for shard, value in sorted(against.items())}])


def proven(task: IngestTask, receipts: dict[int, Receipt]) -> tuple[list[Receipt], bool]:
    """The task's leading shards whose receipts still count, and whether they are all of it."""
    found: list[Receipt] = []
    for part in range(PARTS):
        receipt = receipts.get(task.number * PARTS + part)
        if receipt is None:
            return found, False
        earlier = receipt.notes.get("against") or []
        if any(shard not in receipts for shard in earlier) or (task.against and tuple(earlier) != task.against):
            return found, False
        if receipt.key != part_key(task, part, {shard: receipts[shard].content_hash for shard in earlier}):
            return found, False
        found.append(receipt)
        if receipt.notes.get("last"):
            return found, True
    return found, True


def receipts_of(task: IngestTask) -> dict[int, Receipt]:
    """By shard: the task's own up to the first that has none, since nothing behind it counts, and those of `against`."""
    found = {shard: receipt for shard in task.against if (receipt := task.sink.receipt(shard)) is not None}
    for shard in range(task.number * PARTS, (task.number + 1) * PARTS):
        if (receipt := task.sink.receipt(shard)) is None:
            break
        found[shard] = receipt
    return found


def run_task(task: IngestTask) -> list[Receipt]:
    """Make the task's shards; returns the receipts of all of them, those that stood included."""
    receipts = receipts_of(task)
    done, whole = proven(task, receipts)
    if whole:
        return done
    hashes = {shard: receipts[shard].content_hash for shard in task.against}
    skip = int(done[-1].notes["read"]) if done else 0
    parts = _Parts(task, hashes, done)
    forgotten = load(filesystem(task.sink.path.rstrip("/").rpartition("/")[0] or "."))
    try:
        for read, raw, found in outcomes(task, forgotten, skip):
            parts.add(found, raw, read)
        return parts.end()
    finally:
        parts.abandon()


def outcomes(
    task: IngestTask, forgotten: Forgotten, skip: int = 0
) -> Iterator[tuple[int | None, Raw | None, list[Outcome]]]:
    """Each record's number, the record, and what became of it, in order; at the end of those that waited for another.

    The first `skip` records are read past. A record whose reading or shaping fails in a way nobody foresaw is a row like others.
    """
    shaper = Shaper(task.options, vectors_of(task.files, SHAPES[task.options.as_]))
    waiting: dict[str, tuple[str, str]] = {}

    def shaped(raw: Raw, row_id: str, file: str) -> list[Outcome]:
        found = shaper.take(raw, row_id, file)
        return [_hidden(outcome, forgotten) for outcome in found] if forgotten.marks else found

    for read, (raw, row_id, file) in enumerate(_records(task), 1):
        if read <= skip and task.options.as_ == "document":
            continue
        made = guarded(shaped, raw, row_id, file)
        found = [Outcome((row_id,), None, None, made.reason, made.note)] if isinstance(made, Raw) else made
        if len(found) != 1 or found[0].reason is not None or found[0].ids != (row_id,):
            waiting[row_id] = file, raw.locator
            found = [_with_source(outcome, waiting) for outcome in found]
        if read > skip:
            yield read, raw, found
    yield None, None, [_with_source(_hidden(outcome, forgotten), waiting) for outcome in shaper.finish()]


def _with_source(outcome: Outcome, waiting: dict[str, tuple[str, str]]) -> Outcome:
    """The outcome, with file and locator where it is a dropped record's; an answer that waits for its counterpart keeps its own."""
    source, locator = waiting.pop(outcome.ids[0], (None, None))
    for row_id in outcome.ids[1:]:
        waiting.pop(row_id, None)
    if outcome.reason is None or outcome.reason == FORGOTTEN:
        return outcome
    return outcome._replace(source=clean(source) if source else None, locator=clean(locator) if locator else None)


def _hidden(outcome: Outcome, forgotten: Forgotten) -> Outcome:
    """What was forgotten does not come back: the id stays in the ledger, with the reason alone."""
    if (
        not forgotten.marks
        or outcome.values is None
        or (forgotten.marks.isdisjoint(outcome.ids) and not forgotten.hides(outcome.values))
    ):
        return outcome
    return Outcome(outcome.ids, None, None, FORGOTTEN)


def _records(task: IngestTask) -> Iterator[tuple[Raw, str, str]]:
    """Every record of the task's files with its id; a repeated id gets an ordinal and a note."""
    taken = _Taken(task)
    columns = task.options.columns
    for file in task.files:
        for raw in _read(file, task.options.max_bytes):
            source, locator = raw.source or file.name, raw.locator
            if raw.kind == "row" and (own := own_id(raw.body, columns)) is not None:
                locator = f"id:{own}"
            row_id, ordinal = taken.give(source, locator)
            if watchdog.at_record("record", locator, "of", file.name, "id", row_id):
                raw = Raw("fault", raw.locator, reason=ENDED, source=raw.source)
            if ordinal:
                raw.note = "; ".join(filter(None, (raw.note, f"repeat {ordinal} of an id")))
            yield raw, row_id, file.name


def _read(file: File, max_bytes: int) -> Iterator[Raw]:
    """The records of a file; where its reader fails unforeseen, or workers end in it, the rest of the file is one more row."""
    found, number = read_file(file, max_bytes), 0
    while True:
        if watchdog.at_record("what follows record", number, "of", file.name):
            yield Raw("fault", f"after:{number}", reason=ENDED)
            return
        raw: Raw | None = guarded(lambda: next(found, None))
        if raw is None:
            return
        if raw.reason == "ingest.failed":
            raw.locator = raw.locator or f"after:{number}"
        number += 1
        yield raw


class _Taken:
    """Ids given so far (64 bits of each) and those of earlier shards that may collide."""

    def __init__(self, task: IngestTask):
        self.seen: set[int] = set()
        for shard in task.against:
            self.seen |= {int(row_id[:16], 16) for row_id in task.sink.ledger(shard)["id"].to_pylist()}
        self.last: dict[int, int] = {}

    def give(self, source: str, locator: str) -> tuple[str, int]:
        first = row_id = doc_id(source, locator)
        mark = int(row_id[:16], 16)
        ordinal = self.last.get(mark, 0)
        while mark in self.seen:
            ordinal += 1
            row_id = doc_id(source, locator, ordinal)
            mark = int(row_id[:16], 16)
        self.seen.add(mark)
        if ordinal:
            self.last[int(first[:16], 16)] = ordinal
        return row_id, ordinal


@dataclass
class _Parts:
    """The shard under way: outcomes gathered to batches, batches to a shard, and a new shard where one is full."""

    task: IngestTask
    against: dict[int, str]
    done: list[Receipt]
    outcomes: list[Outcome] = field(default_factory=list)
    held: int = 0
    read: int = 0
    writer: Any = None

    def __post_init__(self) -> None:
        shape = SHAPES[self.task.options.as_]
        self.schema = SCHEMAS[shape]
        for name, kind in vectors_of(self.task.files, shape).items():
            self.schema = self.schema.append(pa.field(name, kind))
        self.read = int(self.done[-1].notes["read"]) if self.done else 0

    def add(self, outcomes: list[Outcome], raw: Raw | None, read: int | None) -> None:
        if self.writer is None:
            self._open()
        for outcome in outcomes:
            self.outcomes.append(outcome)
            if outcome.values is not None:
                self.held += _size(outcome.values)
                self._count(outcome.values)
        if raw is not None:
            self.kinds[raw.kind] += 1
        self.read = read if read is not None else self.read
        if len(self.outcomes) >= BATCH_ROWS or self.held >= BATCH_BYTES:
            self._flush()
            if self.kept >= SHARD_ROWS or self.size >= SHARD_BYTES or self.entries >= LEDGER_ROWS:
                self._close(last=False)

    def end(self) -> list[Receipt]:
        if self.writer is None:
            self._open()
        self._flush()
        self._close(last=True)
        return self.done

    def abandon(self) -> None:
        if self.writer is not None:
            self.writer.__exit__(RuntimeError, None, None)
            self.writer = None

    def _open(self) -> None:
        part = len(self.done)
        if part >= PARTS:
            raise WorkError(f"{self.task.name} gives more than {PARTS} shards", "split the file")
        number = self.task.number * PARTS + part
        self.writer = self.task.sink.writer(
            number, stage="ingest", key=part_key(self.task, part, self.against)
        ).__enter__()
        self.writer.expect(self.schema)
        self.kept = self.size = self.entries = 0
        self.kinds: Counter = Counter()
        self.counts: dict[str, Counter] = {
            "charset": Counter(),
            "extractor": Counter(),
            "signals": Counter(),
            "blocks": Counter(),
        }

    def _count(self, values: dict[str, Any]) -> None:
        for entry in values.get("meta") or ():
            if entry["key"] in ("charset", "extractor"):
                self.counts[entry["key"]][entry["value"]] += 1
        for signal in values.get("signals") or ():
            self.counts["signals"][signal] += 1
        for block in values.get("blocks") or ():
            self.counts["blocks"][block["kind"]] += 1

    def _flush(self) -> None:
        batch, self.outcomes = batched(self.outcomes, self.schema)
        if batch is not None:
            self.writer.write(batch)
            self.kept += len(batch)
            self.size += batch.nbytes
        for table in ledger(self.outcomes):
            self.writer.record(table)
        self.entries += len(self.outcomes)
        self.outcomes, self.held = [], 0

    def _close(self, last: bool) -> None:
        notes = {
            "read": self.read,
            "part": len(self.done),
            "last": last,
            "against": sorted(self.against),
            "records": dict(sorted(self.kinds.items())),
        }
        notes |= {name: dict(sorted(count.items())) for name, count in self.counts.items() if count}
        self.done.append(self.writer.commit(notes=notes, versions=versions(self.task.options.needs())))
        self.writer = None


def batched(found: list[Outcome], schema: pa.Schema) -> tuple[pa.RecordBatch | None, list[Outcome]]:
    """The rows of `found` as columns, and the outcomes: one whose values the columns cannot hold is a fault of its own."""

    def columns(some: list[Outcome]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(
            [outcome.values for outcome in some if outcome.values is not None], schema=schema
        )

    batch = guarded(columns, found)
    if isinstance(batch, Raw):
        faults = [guarded(columns, [outcome]) for outcome in found]
        found = [
            Outcome(o.ids, None, None, f.reason, f.note) if isinstance(f, Raw) else o
            for o, f in zip(found, faults, strict=True)
        ]
        batch = columns(found)
    return (batch if len(batch) else None), found


def _size(values: dict[str, Any]) -> int:
    """About how many bytes a row will take."""
    text = values.get("text")
    if text is not None:
        blocks = values.get("blocks")
        return 3 * len(text) + (sum(len(block["text"]) for block in blocks) if blocks else 0)
    sides = [values.get(name) or () for name in ("messages", "prompt", "chosen", "rejected")]
    written = sum(len(turn["content"]) + len(turn.get("reasoning") or "") for side in sides for turn in side)
    called = sum(len(call["arguments"]) for side in sides for turn in side for call in turn.get("tool_calls") or ())
    return 3 * (written + called + len(values.get("tools") or ""))


def ledger(outcomes: list[Outcome]) -> Iterator[pa.Table]:
    """Ledger tables: one per set of metrics, so that what was not measured is null. `source` and `locator` tell where a dropped
    record stands; those of a row that was kept stand in the row. All of it, and notes, without personal data."""
    by_metrics: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        by_metrics.setdefault(tuple(sorted(outcome.metrics)), []).append(outcome)
    for names, group in by_metrics.items():
        rows = [(row_id, outcome) for outcome in group for row_id in outcome.ids]
        texts = {
            name: masked([getattr(outcome, name) for _, outcome in rows]) for name in ("note", "source", "locator")
        }
        table = Ledger.rows(
            [row_id for row_id, _ in rows],
            out=[outcome.out for _, outcome in rows],
            reason=[outcome.reason for _, outcome in rows],
            note=texts["note"],
            metrics={name: [outcome.metrics[name] for _, outcome in rows] for name in names},
        )
        for name in ("source", "locator"):
            table = table.append_column(name, pa.array(texts[name], STR))
        yield table
