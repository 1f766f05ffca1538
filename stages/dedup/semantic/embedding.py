"""Pass `vectors` of the level `semantic`: a vector for each survivor of the earlier levels, and where it lies.

Vectors of a local encoder, and columns of other numbers than float32 or of lists with nulls between them, are written: columns
`row` (int64, in the part) and `vector` (float32 of fixed width). A column of float32 lists of one width is not copied: only the
rows that have a vector are named, and everybody reads the numbers where they lie, in the mapped shard. The key is the part's
content, the surviving rows and where vectors come from, so that other thresholds, levels and further crawls encode nothing again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import WorkError
from pipeline.options import digest
from pipeline.storage.files import Local
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.fields import columns, text_of
from stages.dedup.passes import PassTask

ONE_MODEL = "give a column that holds the vectors of one model"


class Embedding(NamedTuple):
    """What a `vectors` task needs; `column` or `encoder` says where vectors come from."""

    corpus: Corpus
    survivors: Store
    fields: tuple[str, ...]
    shape: str
    column: str | None
    encoder: str | None

    def key(self, number: int, model: str) -> str:
        """Key of the vectors of part `number`; `model` identifies the encoder."""
        source = [self.column, model, list(self.fields), self.shape]
        given = {"input": self.corpus.parts[number].content, "rows": self.survivors.hashes()[number]}
        return digest({"pass": "vectors", "version": 2, "of": source, **given})


class Held(NamedTuple):
    """The vectors of all parts, where they lie."""

    corpus: Corpus
    vectors: Store
    column: str | None

    def count(self) -> int:
        """How many there are."""
        return sum(receipt.notes["vectors"] for receipt in self.vectors.receipts().values())

    def local(self) -> bool:
        """Can any of them be read without reading all?"""
        return all(
            isinstance(store.fs, Local)
            for store in (self.vectors, *(part.store for part in self.corpus.parts.values()))
        )

    def rows(self, number: int) -> np.ndarray:
        """int64: the rows of part `number` that have one."""
        return column(self.vectors.read(number), "row")

    def pieces(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows (int64), their vectors: float32 (n, d)) of a part, a batch at a time."""
        written, at = self.vectors.read(number), 0
        rows = column(written, "row")
        for low, piece in self._lying(number, written):
            last = at + len(piece) if low < 0 else int(np.searchsorted(rows, low + len(piece)))
            mine, at = rows[at:last], last
            if len(mine):
                yield mine, piece if len(mine) == len(piece) else piece[mine - low]

    def lying(self, number: int) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, float32 (n, d)): the batches of a part as they lie. First row -1: row i is the i-th that has a vector."""
        yield from self._lying(number, self.vectors.read(number))

    def _lying(self, number: int, written: pa.Table) -> Iterator[tuple[int, np.ndarray]]:
        if "vector" in written.column_names:
            yield from ((-1, unpacked(chunk)) for chunk in written["vector"].chunks)
            return
        at = 0
        for batch in self.corpus.batches(number) if len(written) else ():
            yield at, as_they_lie(batch.column(self.column))
            at += len(batch)


def embed(task: PassTask) -> Receipt:
    """Pass `vectors`: one part. WorkError where its vectors are of several widths."""
    given: Embedding = task.given
    survivors = column(given.survivors.read(task.number), "row")
    lying = _lying(given, task.number, survivors) if given.column is not None else None
    if lying is not None:
        return task.put(blocks(row=lying), {"vectors": len(lying), "without": len(survivors) - len(lying)})
    at = 0
    pieces: list[pa.RecordBatch] = []
    names = [given.column] if given.column is not None else columns(given.fields, given.shape)
    for batch in given.corpus.batches(task.number):
        rows = survivors[slice(*np.searchsorted(survivors, (at, at + len(batch))))] - at
        found, rows = _vectors(batch.select(names).take(pa.array(rows)), rows, given) if len(rows) else (None, rows)
        if len(rows):
            pieces.append(packed(found, row=rows + at))
        at += len(batch)
    one_width({piece.schema.field("vector").type.byte_width // 4 for piece in pieces}, "in one shard")
    made = sum(map(len, pieces))
    pieces = pieces or [packed(np.zeros((0, 1), np.float32), row=survivors[:0])]
    return task.put(pa.Table.from_batches(pieces), {"vectors": made, "without": len(survivors) - made})


def one_width(widths: set[int], where: str = "") -> int:
    """The one width of all vectors (1 where there are none)."""
    if len(widths) > 1:
        raise WorkError(
            f"dedup: vectors of {' and '.join(map(str, sorted(widths)))} numbers {where}".rstrip(), ONE_MODEL
        )
    return min(widths, default=1)


def _lying(given: Embedding, number: int, survivors: np.ndarray) -> np.ndarray | None:
    """The surviving rows that have a vector, where the column's numbers can be read as they lie; otherwise None."""
    found, widths, at = [], set(), 0
    for batch in given.corpus.batches(number):
        if given.column not in batch.schema.names:
            return survivors[:0]  # a shard whose files had no such column
        values = batch.column(given.column)
        vectors = as_they_lie(values)
        if vectors is None:
            return None
        rows = survivors[slice(*np.searchsorted(survivors, (at, at + len(batch))))] - at
        good = usable(vectors if len(rows) == len(vectors) else vectors[rows])
        found.append(rows[good & values.is_valid().to_numpy(zero_copy_only=False)[rows]] + at)
        widths.add(vectors.shape[1])
        at += len(batch)
    one_width(widths, "in one shard")
    return np.concatenate(found) if found else survivors[:0]


def as_they_lie(values: pa.Array) -> np.ndarray | None:
    """A column of lists as float32 (n, d), a row of it for each (that of a null means nothing); None where they do not lie so."""
    if not pa.types.is_float32(values.type.value_type) or values.values.null_count:
        return None
    if pa.types.is_fixed_size_list(values.type):
        width, first = values.type.list_size, values.offset * values.type.list_size
    else:
        ends = values.offsets.to_numpy()
        width, first = int(ends[1] - ends[0]) if len(values) else 0, int(ends[0])
        if values.null_count or (np.diff(ends) != width).any():
            return None
    if not width:
        return None
    return values.values.slice(first, len(values) * width).to_numpy(zero_copy_only=True).reshape(-1, width)


def usable(vectors: np.ndarray) -> np.ndarray:
    """bool: which vectors have a direction."""
    from stages.dedup.semantic.vectors import lengths

    sizes = lengths(vectors)
    return np.isfinite(sizes) & (sizes > 0)


def _vectors(batch: pa.RecordBatch, rows: np.ndarray, given: Embedding) -> tuple[np.ndarray, np.ndarray]:
    """(float32 vectors, rows) of those rows of `batch` that have one; `rows` are their numbers."""
    if given.column is not None:
        found, has = _given_vectors(batch.column(given.column), given.column)
    else:
        texts = text_of(batch, given.fields, given.shape)
        has = np.array([bool(text and not text.isspace()) for text in texts.to_pylist()], bool)
        found = _encoder(given.encoder or "").embed([text for text, good in zip(texts.to_pylist(), has) if good])
    good = usable(found)
    return found[good], rows[has][good]


def _encoder(folder: str):
    from stages.dedup.semantic.embedder import opened

    return opened(folder)


def _given_vectors(values: pa.Array, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(float32 (n, d), which rows) of a column of lists of numbers. WorkError where they differ in length."""
    has = values.is_valid().to_numpy(zero_copy_only=False)
    values = values.filter(pa.array(has))
    if not len(values):
        return np.zeros((0, 1), np.float32), has
    flat = values.flatten().cast(pa.float32(), safe=False).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    if len(flat) % len(values) or (
        not pa.types.is_fixed_size_list(values.type) and len(values.value_lengths().unique()) != 1
    ):
        raise WorkError(f"dedup: the vectors in {name!r} are of several lengths", ONE_MODEL)
    return np.ascontiguousarray(flat.reshape(len(values), -1)), has


def packed(vectors: np.ndarray, **columns: np.ndarray) -> pa.RecordBatch:
    """A batch of number columns and the vectors."""
    kind = pa.binary(4 * vectors.shape[1])
    data = pa.py_buffer(np.ascontiguousarray(vectors, np.float32))
    found = pa.FixedSizeBinaryArray.from_buffers(kind, len(vectors), [None, data])
    return pa.record_batch({**{name: pa.array(values) for name, values in columns.items()}, "vector": found})


def unpacked(values: pa.Array) -> np.ndarray:
    """The vectors of a chunk, where they lie: float32 (n, d)."""
    width = values.type.byte_width // 4
    return np.frombuffer(values.buffers()[1], np.float32)[
        values.offset * width : (values.offset + len(values)) * width
    ].reshape(-1, width)
