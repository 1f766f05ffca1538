"""What a stage is: options with typed inputs (ports), a shape it makes, and the verb `run`.

A ShardStage turns one shard into one shard, batch by batch, and needs to say only what becomes of a batch; consecutive
ones can be fused into one task over a shard. A barrier stage (a plain Stage) sees whole stores and writes its passes as
sub-stores. Both are resumed by receipts: a shard whose key is unchanged is not done again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.guard import around_fatal, each_row, narrowed
from pipeline.engine.pool import Pool
from pipeline.engine.tasks import Proofs, resumed
from pipeline.engine.watchdog import watchdog
from pipeline.options import Options, digest
from pipeline.storage.ledger import PROCESS_ENDED, Ledger, Receipt
from pipeline.storage.shards import clock
from pipeline.storage.store import Store


class Port(NamedTuple):
    """A typed input: the shape it takes (`DOCUMENT`, `CHAT|PAIR`, `artefact:model`), one or many, needed or not."""

    shape: str
    optional: bool = False
    many: bool = False
    help: str = ""
    opened: Callable[[str], Store | None] | None = None
    """Reads what is no store as one (a folder of another library, an address); None for what it leaves alone."""

    def takes(self, shape: str | None) -> bool:
        """Does a store of `shape` fit? `artefact:*` takes every artefact, `*` every store of rows."""
        accepted = self.shape.split("|")
        if shape is None:
            return "*" in accepted
        if shape.startswith("artefact:"):
            return shape in accepted or "artefact:*" in accepted
        return shape in accepted or "*" in accepted

    def store(self, ref: str) -> Store:
        """The store behind a path or address."""
        return (self.opened(ref) if self.opened else None) or Store(ref)


class Work(NamedTuple):
    """What became of a batch: the rows kept (or made), and the ledger rows of every input row."""

    kept: pa.RecordBatch | pa.Table
    ledger: pa.Table
    notes: dict[str, Any] | None = None
    """Plain JSON; numbers are summed over the batches of a shard, dicts of numbers key by key."""


class InputSample(NamedTuple):
    """A stage that reads some files of what another reads; bytes of both, as they lie there."""

    stage: Stage
    taken: int
    whole: int


class InputSampler(NamedTuple):
    """The files that a stage reads besides the ports, listed once."""

    draw: Callable[[int, int], InputSample]
    """(most, shards) -> a sample of about `most` bytes, of which about so many shards are made; 0: as many as of any input."""
    shards: int
    """Shards that are made of all of them."""
    requests: dict[str, int]
    """What reading all of them asks of object storage, by kind."""


@dataclass(frozen=True)
class Inputs:
    """The stores behind a stage's ports, and the recipe's seed."""

    stores: dict[str, list[Store]] = field(default_factory=dict)
    seed: int = 17
    workers: int = 1
    """Processes that one task of this step may be spread over (`run.steps.<step>.workers`): training groups."""
    gpus: float = 0
    hashes: dict[str, list[str]] = field(default_factory=dict)
    """Content hash per store, where already known; filled on demand."""
    home: str = ""
    """Folder of the store that is made, where the stage may remember things between runs; empty: nowhere."""

    def __getitem__(self, port: str) -> list[Store]:
        return self.stores.get(port, [])

    def one(self, port: str) -> Store | None:
        """The single store of a port, or None."""
        stores = self[port]
        return stores[0] if stores else None

    def content(self, *, without: Sequence[str] = ()) -> dict[str, list[str]]:
        """Content hash of every input store by port."""
        known = {}
        for port in sorted(self.stores):
            if port not in without:
                known[port] = self.hashes.get(port) or [store.content_hash for store in self.stores[port]]
        return known

    def rng(self, shard: int, name: str = "") -> np.random.Generator:
        """A generator from (seed, name, shard) alone: the same draws on any worker."""
        key = hashlib.blake2b(f"{self.seed}/{name}/{shard}".encode(), digest_size=16).digest()
        return np.random.default_rng(np.frombuffer(key, dtype=np.uint64))


class Stage(Options):
    """A step of a recipe, a CLI command, and the verb on it."""

    ports: ClassVar[dict[str, Port]] = {"of": Port("DOCUMENT")}
    output_shape: ClassVar[str | None] = "DOCUMENT"
    """Shape of the output, `artefact:<kind>`, or None: the shape of `of`."""
    uses_rng: ClassVar[bool] = False
    """Does the stage draw random numbers? Then the seed is part of its key."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions decide the bytes; their versions are part of the key."""
    redacts: ClassVar[bool] = False
    """Is the output free of personal data, so that `run.drop_raw` may delete the text it was made from?"""
    manifest_notes: ClassVar[tuple[str, ...]] = ()
    """Notes of its receipts that hold for the whole store: the manifest repeats them."""
    reads_from: ClassVar[tuple[str, ...]] = ()
    """Fields that name what a stage without the input `of` reads; the first takes the SOURCE of a command line."""

    def output(self, of: str | None) -> str | None:
        """Shape of the store this will make when `of` has shape `of`; known before anything runs."""
        return self.output_shape or of

    def needs(self) -> tuple[str, ...]:
        """Distributions that decide the bytes under these options; default: `libraries`."""
        return self.libraries

    def reads(self) -> Sequence[str]:
        """Paths, globs and URLs that are read besides the ports; the output store may not overlap them."""
        return ()

    def key(self, inputs: Inputs, *extra: Any, without: Sequence[str] = ()) -> str:
        """Key of what this stage makes of `inputs`; `extra` narrows it to a shard or pass."""
        return digest(
            {
                "stage": stage_name(type(self)),
                "options": self.fingerprint(),
                "seed": inputs.seed if self.uses_rng else None,
                "libraries": versions(self.needs()),
                "inputs": inputs.content(without=without),
                "extra": list(extra),
            }
        )

    def sampler(self) -> InputSampler | None:
        """The files that this stage reads besides the ports, listed; None where it reads no such files."""
        return None

    def not_estimated(self) -> str:
        """Why its work on a sample says nothing of its work on the whole; empty where it does say it."""
        return ""

    def most_read(self) -> int | None:
        """Bytes of input beyond which its work does not grow; None where there is no such limit."""
        return None

    def prepare(self, inputs: Inputs, pool: Pool) -> None:
        """Work that `key` needs, of a stage that reads paths: called once a run, before `key`."""

    def validate_inputs(self, inputs: Inputs) -> None:
        """Raise where `inputs` are not what the options were given for; called before the output store is touched."""

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        """Make the output store's shards (or artefact) that are not proven yet; returns the receipts of all of them."""
        raise TypeError(f"{type(self).__name__} has no run()")


def stage_name(cls: type) -> str:
    """The folder a stage lives in is its name: `stages.NAME` -> `NAME`."""
    parts = cls.__module__.split(".")
    return (
        parts[1] if parts[0] == "stages" and len(parts) > 1 else re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
    )


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Installed version per distribution, `absent` where not installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = _version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


_version = cache(importlib.metadata.version)
"""Read once a process: every key and receipt of a shard asks for it, and reading it takes milliseconds."""


class ShardStage(Stage):
    """One shard in, one shard out: say what becomes of a batch."""

    def work(self, batch: pa.RecordBatch) -> Work:
        """The rows kept of `batch` and its ledger. Must accept a batch of no rows (it fixes the output's columns)."""
        raise TypeError(f"{type(self).__name__} has no work()")

    def worker(self, inputs: Inputs, shard: int) -> Callable[[pa.RecordBatch], Work]:
        """What is called on each batch of `shard`; override to load models or draw numbers. Default: `self.work`."""
        return self.work

    def repeatable(self) -> bool:
        """May rows be worked on a second time, one by one, to find one that takes long or ends its process? Default: yes."""
        return True

    def shard_key(self, inputs: Inputs, content_hash: str) -> str:
        """Key of one output shard: this stage, its side inputs, and that one input shard."""
        return self.key(inputs, content_hash, without=("of",))

    def run(self, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
        return run_chain([Link(self, inputs, sink, True)], pool)[0]


class Link(NamedTuple):
    """One stage of a fused chain: where it writes, and whether its rows are written or only proven."""

    stage: ShardStage
    inputs: Inputs
    sink: Store
    written: bool


@dataclass(frozen=True)
class ShardTask:
    """One shard through a chain of shard stages."""

    source: Store
    shard: int
    links: tuple[Link, ...]
    number: int
    """Of the output shards."""
    key: str
    """Of the first link."""
    second: bool = False
    """Started while the first start of it is under way."""

    @property
    def name(self) -> str:
        return f"{'+'.join(stage_name(type(link.stage)) for link in self.links)} shard {self.shard:05d}"

    def beside(self) -> ShardTask | None:
        """For a second start, of a first one that takes long; None where rows may not be worked on twice.

        Both write the same bytes, each file whole, and the second takes no proof away: whichever is done first, its proof stands.
        The pool ends the other before anybody goes by it.
        """
        return replace(self, second=True) if all(link.stage.repeatable() for link in self.links) else None


def run_chain(links: Sequence[Link], pool: Pool) -> list[list[Receipt]]:
    """Run fused shard stages over every shard of the first link's input; returns the receipts of each link.

    All of a chain's receipts of a shard are made in one task. A shard is left alone when every link's receipt stands
    under its current key (keys chain through content hashes, so they are known only where receipts exist).
    """
    there = [Proofs.taken(link.sink) for link in links]
    lean = tuple(lean_link(link) for link in links)
    first = lean[0]
    tasks = [
        ShardTask(source, shard, lean, number, first.stage.shard_key(first.inputs, content))
        for number, source, shard, content in input_shards(first.inputs)
    ]
    name = stage_name(type(links[-1].stage))
    made = resumed(pool, work_shard, tasks, name, lambda task: valid_receipts(lean, task.number, task.key, there))
    return [[receipts[position] for receipts in made] for position in range(len(links))]


def lean_link(link: Link) -> Link:
    """A link whose inputs carry their hashes, so that no manifest is read again for each shard."""
    return link._replace(inputs=replace(link.inputs, hashes=link.inputs.content(without=("of",))))


SECOND = 10**12
"""Where the numbers of a second input store begin, of which each further one begins at a multiple; what is read from files is below."""


class InputShard(NamedTuple):
    """A shard of an input, and the number of the output shard that is made of it alone."""

    number: int
    store: Store
    shard: int
    content: str
    """Content hash."""


def input_shards(inputs: Inputs, ports: Sequence[str] = ("of",)) -> Iterator[InputShard]:
    """Every shard of the stores of `ports`, in order. An output shard has its input's number, whatever shards stand beside it, so
    that it stays where others come and go. Each store begins at the next multiple of SECOND above all numbers before it."""
    first = 0
    for store in (store for port in ports for store in inputs[port]):
        contents = store.hashes()
        for shard, content in contents.items():
            yield InputShard(first + shard, store, shard, content)
        first += (max(contents, default=0) // SECOND + 1) * SECOND


def numbered_as(there: Collection[int], inputs: Inputs, ports: Sequence[str] = ("of",)) -> list[InputShard]:
    """The input shards under the numbers that a store with the shards `there` knows them by: in 0.1.0 these were positions."""
    found = list(input_shards(inputs, ports))
    if set(there) <= {each.number for each in found}:
        return found
    return [each._replace(number=position) for position, each in enumerate(found)]


def valid_receipts(links: Sequence[Link], number: int, first_key: str, there: Sequence[Proofs]) -> list[Receipt] | None:
    """The receipts of every link for output shard `number`, if all stand under current keys and what they prove is there
    in its full length. `there`: what is proven in each sink."""
    key, receipts = first_key, []
    for position, (link, proofs) in enumerate(zip(links, there)):
        receipt = proofs.whole(number)
        if receipt is None or receipt.key != key or (link.written and not receipt.written):
            return None
        receipts.append(receipt)
        if position + 1 < len(links):
            following = links[position + 1]
            key = following.stage.shard_key(following.inputs, receipt.content_hash)
    return receipts


def work_shard(task: ShardTask) -> list[Receipt]:
    """One shard through every link of its chain, batch by batch; receipts last, in chain order."""
    workers = [link.stage.worker(link.inputs, task.shard) for link in task.links]
    # Rows that are tried alone are given to workers of their own, so that nothing these remember is touched.
    row_workers = [cache(partial(link.stage.worker, link.inputs, task.shard)) for link in task.links]
    writers: list[Any] = []
    try:
        for _position, link in enumerate(task.links):
            stage = stage_name(type(link.stage))
            writer = link.sink.writer(task.number, stage=stage, key="", written=link.written, beside=task.second)
            writers.append(writer.__enter__())
        seen: list[list[pa.Array]] = [[] for _ in writers]
        notes: list[dict[str, Any]] = [{} for _ in writers]
        row = 0
        for batch in _with_first(task.source, task.shard):
            _through(batch, workers, row_workers, writers, seen, notes, task, row)
            row += len(batch)
        return _commit(task, writers, seen, notes)
    finally:
        for writer in writers:
            writer.__exit__(None, None, None)


def _with_first(source: Store, shard: int) -> Iterator[pa.RecordBatch]:
    """The shard's batches; one without rows where it has none, so that columns are known."""
    any_batch = False
    for batch in source.batches(shard):
        any_batch = True
        yield batch
    if not any_batch:
        schema = source.read(shard).schema
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _through(
    batch: pa.RecordBatch,
    workers: list[Callable],
    row_workers: list[Callable],
    writers: list,
    seen: list,
    notes: list,
    task: ShardTask,
    row: int,
) -> None:
    flow = [batch]
    for position, work in enumerate(workers):
        following = []
        for piece in flow:
            if "id" in piece.schema.names:
                seen[position].append(piece.column("id"))
            stage = stage_name(type(task.links[position].stage))
            where = f"{stage}, shard {task.shard:05d}"
            again = partial(each_row, row_workers[position], piece, where, row)
            rows = again if task.links[position].stage.repeatable() else None
            watchdog.at(f"{where},", f"rows {row}..{row + len(piece)}", rows=rows)
            stretches, fatal = around_fatal(piece, where, row)
            for first, stretch in stretches:
                kept = narrowed(work, stretch, where, first)
                parts = kept.kept.to_batches() if isinstance(kept.kept, pa.Table) else [kept.kept]
                writers[position].expect(kept.kept.schema)
                for part in parts:
                    writers[position].write(part)
                writers[position].record(kept.ledger)
                merge_notes(notes[position], kept.notes or {})
                following += parts or [pa.RecordBatch.from_pylist([], schema=kept.kept.schema)]
            if fatal:
                writers[position].record(Ledger.rows(fatal, reason=[f"{stage}.{PROCESS_ENDED}"] * len(fatal)))
        flow = following


def _commit(task: ShardTask, writers: list, seen: list, notes: list) -> list[Receipt]:
    receipts: list[Receipt] = []
    spent = {name: round(value / len(writers), 3) for name, value in clock.lap().items()}
    for position, (link, writer) in enumerate(zip(task.links, writers)):
        key = task.key if position == 0 else link.stage.shard_key(link.inputs, receipts[-1].content_hash)
        writer.key = key
        ids = pa.chunked_array(seen[position], pa.large_string()) if seen[position] else None
        receipts.append(
            writer.commit(
                input_ids=ids,
                notes=notes[position],
                versions=versions(link.stage.needs()),
                **spent,
            )
        )
    return receipts


def merge_notes(total: dict[str, Any], more: dict[str, Any]) -> None:
    """Add `more` into `total`: numbers are summed, dicts merged, lists joined (first 50), other values kept once."""
    for name, value in more.items():
        if isinstance(value, dict):
            merge_notes(total.setdefault(name, {}), value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            total[name] = total.get(name, 0) + value
        elif isinstance(value, list):
            total[name] = (total.get(name, []) + value)[:50]
        else:
            total.setdefault(name, value)
