"""The passes of a sample, a task per shard of the corpus, so that no process reads or names all of it.

passes/count      in each shard's receipt: documents by language, and their bytes by how small and how large the hash of an id is
passes/gather     the documents that may be learnt from or measured on, with their text; deleted when the tokenizer is made
left-out-NNNNN    ledgers of the store itself: the documents of each shard that are not among them

Bytes are counted by the leading zeros of the hash, and by those of its complement. So it is known before the texts are read which power
of two the hashes of a language's share lie below: what is gathered is the share and, as a rule, less than as much again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.engine.stage import InputShard
from pipeline.engine.tasks import run_tasks
from pipeline.options import digest
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store
from stages.tokenizer import sample
from stages.tokenizer.sample import GATHERED, Gathered

MIB = 1 << 20
COUNT, GATHER, LEFT_OUT = "passes/count", "passes/gather", "left-out-"
LEVELS = 65
"""Numbers of leading zeros there are."""
_POWERS = np.uint64(1) << np.arange(64, dtype=np.uint64)


class Bounds(NamedTuple):
    """Which documents are gathered, by the hash of their id."""

    zeros: dict[str, int]
    """By language: hashes with so many leading zeros or more; none of a language that is not named."""
    ones: int
    """Of any language: hashes with so many leading ones or more."""


class SampleTask(NamedTuple):
    """One shard of the corpus."""

    source: Store
    shard: int
    number: int
    key: str
    sink: Store
    home: Store
    """The tokenizer's store, for the ledger."""
    bounds: Bounds | None = None

    @property
    def name(self) -> str:
        return f"tokenizer sample shard {self.number:05d}"


def gather(
    shards: Iterable[InputShard],
    balance: str | Mapping[str, float],
    sample_mb: float,
    probe_mb: float,
    home: Store,
    pool: Pool,
) -> Gathered:
    """What a sample of `sample_mb` and documents of `probe_mb` outside of it may be chosen from."""
    counts, store = home.sub(COUNT), home.sub(GATHER)
    inputs = list(shards)
    tasks = [
        SampleTask(source, shard, number, digest(["tokenizer count 1", content]), counts, home)
        for number, source, shard, content in inputs
    ]
    found = run_tasks(pool, counts, count_shard, tasks, "tokenizer")
    small, large = (_added(receipt.notes[name] for receipt in found) for name in ("small", "large"))
    have = {lang: int(levels.sum()) for lang, levels in small.items()}
    given = sample.shares(have, balance, int(sample_mb * MIB))
    bounds = bounds_of(small, large, given, int(probe_mb * MIB))
    tasks = [
        task._replace(key=digest(["tokenizer gather 1", each.content, *bounds]), sink=store, bounds=bounds)
        for task, each in zip(tasks, inputs)
    ]
    documents = sum(receipt.notes["documents"] for receipt in found)
    found = run_tasks(pool, store, gather_shard, tasks, "tokenizer")
    ledgers = {_ledger_name(task.number) for task in tasks}
    for name in home.fs.names("receipts"):
        if name.startswith(LEFT_OUT) and name.removesuffix(".json") not in ledgers:
            home.drop(name.removesuffix(".json"))
    left_out: Counter[str] = Counter()
    for receipt in found:
        left_out.update(receipt.notes["left_out"])
    return Gathered(store, given, documents, sum(have.values()), dict(left_out))


def forget_texts(home: Store) -> None:
    """Delete what was gathered: the tokenizer is made."""
    home.fs.delete(GATHER)


def count_shard(task: SampleTask) -> Receipt:
    """Documents of one shard, and by language their bytes by leading zeros and leading ones, from none on."""
    counts: tuple[dict[str, np.ndarray], ...] = ({}, {})
    documents = 0
    for batch in task.source.batches(task.shard):
        documents += len(batch)
        keys, lengths, coded = sample.hashes(batch.column("id")), sample.sizes(batch), sample.languages(batch)
        names, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
        for found, levels in zip(counts, (leading_zeros(keys), leading_zeros(~keys))):
            sums = np.bincount(codes * LEVELS + levels, lengths, LEVELS * len(names)).astype(np.int64)
            for name, own in zip(names, sums.reshape(-1, LEVELS)):
                found[name] = found.get(name, 0) + own
    small, large = ({name: np.trim_zeros(own, "b").tolist() for name, own in found.items()} for found in counts)
    notes = {"documents": documents, "small": small, "large": large}
    nothing = pa.table({"nothing": pa.array([], pa.int8())})
    return task.sink.put(task.number, nothing, None, key=task.key, stage="tokenizer", notes=notes)


def gather_shard(task: SampleTask) -> Receipt:
    """The documents of one shard within the bounds; the others into a ledger, which is written first."""
    ledgers, rows = [], []
    bounds: Any = task.bounds
    for batch in task.source.batches(task.shard):
        keys, lengths, coded = sample.hashes(batch.column("id")), sample.sizes(batch), sample.languages(batch)
        names, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
        least = np.array([*(bounds.zeros.get(name, LEVELS) for name in names), LEVELS])[codes]
        wanted = (lengths > 0) & ((leading_zeros(keys) >= least) | (leading_zeros(~keys) >= bounds.ones))
        why = np.where(lengths == 0, sample.EMPTY, np.where(least == LEVELS, sample.LANGUAGE, sample.BUDGET))
        ids, mask = batch.column("id").cast(GATHERED.field("id").type), pa.array(wanted)
        ledgers.append(sample.ledger(ids.filter(pa.array(~wanted)), why[~wanted]))
        if wanted.any():
            own = [ids, pa.array(keys), pa.array(lengths), coded.cast(GATHERED.field("lang").type)]
            more = [batch.column(name).cast(GATHERED.field(name).type) for name in ("licence", "text")]
            rows.append(pa.table([*own, *more], schema=GATHERED).filter(mask))
    ledger = Ledger.concat(ledgers)
    left_out = task.home.put_ledger(_ledger_name(task.number), ledger, key=task.key, stage="tokenizer").reasons
    table = pa.concat_tables([GATHERED.empty_table(), *rows])
    notes = {"left_out": left_out}
    return task.sink.put(task.number, table, Ledger.rows(table["id"]), key=task.key, stage="tokenizer", notes=notes)


def bounds_of(
    small: Mapping[str, np.ndarray], large: Mapping[str, np.ndarray], given: Mapping[str, float], probe: int
) -> Bounds:
    """Bounds within which lie every document of the shares `given`, and outside of them `probe` bytes or all there is."""
    zeros = {lang: _most(small[lang], budget) for lang, budget in given.items()}
    # Of a language of which not all is gathered anyway; a hash with a leading one is then above what its share's bound lets in.
    outside = sum((levels for lang, levels in large.items() if zeros.get(lang, LEVELS)), np.zeros(LEVELS, np.int64))
    return Bounds(zeros, _most(outside, probe))


def _most(levels: np.ndarray, budget: float) -> int:
    """The most leading zeros with which hashes of `budget` bytes begin (`levels`: bytes by leading zeros); 0, all hashes, where there
    are no more bytes.

    >>> _most(np.array([50, 25, 12, 6]), 18), _most(np.array([50, 25]), 100)
    (2, 0)
    """
    reached = np.cumsum(levels[::-1])[::-1]
    return int(max(np.flatnonzero(reached >= budget), default=0))


def leading_zeros(keys: np.ndarray) -> np.ndarray:
    """int64 per uint64.

    >>> leading_zeros(np.array([0, 1, 3, 2**63], np.uint64)).tolist()
    [64, 63, 62, 0]
    """
    return 64 - np.searchsorted(_POWERS, keys, side="right")


def _added(notes: Iterable[Mapping[str, list[int]]]) -> dict[str, np.ndarray]:
    """Bytes by language and level, of all shards."""
    found: dict[str, np.ndarray] = {}
    for note in notes:
        for lang, levels in note.items():
            found.setdefault(lang, np.zeros(LEVELS, np.int64))[: len(levels)] += np.asarray(levels, np.int64)
    return found


def _ledger_name(number: int) -> str:
    return f"{LEFT_OUT}{number:05d}"
