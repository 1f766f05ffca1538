"""Passes `measures` and `names`: of each document the few numbers and words that the levels compare and prefer by.

They are a fiftieth of the rows, and are written where the texts are read anyway, so that no other pass but those that compare
or write texts reads the rows. Row i is row i of the input shard. `measures`, in blocks: `exact_a`, `exact_b`, `tokens`, `size`,
`length` (as in the pass `minhash`), `text` (uint64: XXH3-64 of the compared text, by which one that is read alone is held),
`name` (the id, bytes), `way`
(int8: how the text is cut), `at` (int64: byte of the shard's file at which a plain text begins; -1 where it does not lie there in one
piece), and a float64 for each rule of the keep policy that asks more than the length. `names`: `source` and `host`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.docs import Docs
from pipeline.engine.pool import Pool
from pipeline.options import digest
from pipeline.schema import STR
from pipeline.storage.ledger import Receipt
from pipeline.urls import host_of
from stages.dedup.columns import blocks, column
from stages.dedup.corpus import with_columns
from stages.dedup.fields import text_of
from stages.dedup.passes import PassTask, make

if TYPE_CHECKING:
    from stages.dedup.run import Run

MAGIC = b"ARROW1"
NUMBERS = ("exact_a", "exact_b", "tokens", "size", "length")


def key_of(run: Run, number: int) -> str:
    """Key of a part's measures: its signatures', and what the keep policy reads."""
    policy, signatures = run.policy, run.minhash.key(run.corpus.parts[number].content)
    more = [policy.rules, policy.sources, policy.score]
    return digest({"pass": "measures", "version": 1, "signatures": signatures, "policy": more})


class PartMeasures:
    """The measures of one part, batch by batch."""

    def __init__(self, run: Run):
        self.run = run
        self.texts: list[np.ndarray] = []
        self.ids: list[np.ndarray] = []
        self.ways: list[np.ndarray] = []
        self.at: list[np.ndarray] = []
        self.worths: dict[str, list[np.ndarray]] = {rule: [] for rule in run.policy.worths}
        self.names: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch, texts: Docs) -> None:
        """Take a batch of rows and their compared texts."""
        rows = pa.Table.from_batches([batch])
        self.texts.append(text_marks(texts))
        self.ways.append(self.run.minhash.ways(batch))
        plain = self.run.minhash.shape == "DOCUMENT" and len(self.run.minhash.fields) == 1
        self.at.append(positions(batch.column(self.run.minhash.fields[0])) if plain else np.full(len(batch), -1))
        self.ids.append(words_of(rows["id"]))
        for rule, values in self.run.policy.measured(with_columns(rows, self.run.policy.columns)).items():
            self.worths[rule].append(values)
        has = "url" in rows.column_names
        hosts = [host_of(url) or "none" for url in rows["url"].to_pylist()] if has else ["none"] * len(rows)
        sources = rows["source"].to_pylist() if "source" in rows.column_names else [None] * len(rows)
        named = [pa.array([name or "none" for name in sources], STR), pa.array(hosts, STR)]
        self.names.append(pa.record_batch(named, ["source", "host"]))

    def put(self, number: int, signatures: pa.Table) -> Receipt:
        """Write both passes of the part whose signatures these are; returns the receipt of `measures`."""
        key = key_of(self.run, number)
        names = pa.Table.from_batches(self.names, pa.schema([("source", STR), ("host", STR)]))
        PassTask(self.run.store("names"), number, key, None).put(names)
        columns = {name: column(signatures, name) for name in NUMBERS}
        columns |= {name: _joined(pieces, np.float64) for name, pieces in self.worths.items()}
        columns |= {"text": _joined(self.texts, np.uint64), "name": _joined(self.ids, "S1")}
        columns |= {"way": _joined(self.ways, np.int8), "at": _joined(self.at, np.int64)}
        table = blocks(**columns)
        return PassTask(self.run.store("measures"), number, key, None).put(table)


def _joined(pieces: list[np.ndarray], kind: object) -> np.ndarray:
    return np.concatenate(pieces) if pieces else np.zeros(0, kind)  # type: ignore[call-overload]


def words_of(values: pa.ChunkedArray) -> np.ndarray:
    """Ids as bytes of one length (dtype S); null is empty."""
    words = pc.fill_null(values.cast(pa.large_string()), "").combine_chunks()
    return np.array([word.encode() for word in words.to_pylist()] or np.zeros(0, "S1"), "S")


def text_marks(texts: Docs) -> np.ndarray:
    """uint64 by text: XXH3-64 of its bytes."""
    import xxhash

    ends, data = texts.offsets.tolist(), memoryview(texts.data)
    return np.fromiter((xxhash.xxh3_64_intdigest(data[a:b]) for a, b in zip(ends, ends[1:])), np.uint64, texts.n)


def positions(column: pa.Array) -> np.ndarray:
    """int64 by row of a text column: the byte of the Arrow file at which it begins; -1 where the column is no part of a file's bytes."""
    if column.type != pa.large_string() or not len(column):
        return np.full(len(column), -1)
    _, offsets, data = column.buffers()
    if data is None or offsets is None:
        return np.full(len(column), -1)
    file = data
    while file.parent is not None:
        file = file.parent
    if file.size < len(MAGIC) or file.slice(0, len(MAGIC)).to_pybytes() != MAGIC:
        return np.full(len(column), -1)
    starts = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column)]
    return starts + (data.address - file.address)


def measure(run: Run, pool: Pool) -> None:
    """Make what `minhash` has not made on its way: of parts whose signatures were there before."""
    keys = {number: key_of(run, number) for number in run.corpus.parts}
    make(run.store("measures"), measure_part, keys, lambda number: run, pool)


def measure_part(task: PassTask) -> Receipt:
    """Both passes of one part, from its rows and its signatures."""
    run: Run = task.given
    made = PartMeasures(run)
    for batch in run.corpus.batches(task.number):
        made.add(batch, Docs(pa.record_batch({"text": text_of(batch, run.minhash.fields, run.minhash.shape)})))
    return made.put(task.number, run.signatures.read(task.number))


def marks_of(run: Run, docs: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
    """These columns of the pass `measures` for the documents `docs` (int64, any order)."""
    names = tuple(dict.fromkeys(names))
    owner = run.corpus.owners(docs)
    found: dict[str, np.ndarray] = {}
    for number in np.unique(owner).tolist():
        here = np.flatnonzero(owner == number)
        rows = run.store("measures").read(number)
        for name in names:
            values = column(rows, name)[docs[here] - run.corpus.parts[number].first]
            held = found.get(name, np.zeros(len(docs), values.dtype))
            if values.dtype.kind == "S" and values.dtype.itemsize > held.dtype.itemsize:
                held = held.astype(values.dtype)
            held[here] = values
            found[name] = held
    return {name: found.get(name, np.zeros(len(docs), np.int64)) for name in names}
