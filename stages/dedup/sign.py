"""Pass `sign`: one row of numbers per document, from its text alone.

Columns: `values` (fixed-size binary: the MinHash signature, uint32 each), `exact_a`, `exact_b` (uint64: identity of the
normalised text), `tokens` (int64), `size` (int64: bytes of the text, -1 for null) and `length` (int64: its code points). Row
i is row i of the input shard. The key holds nothing but the shard's content and the options that shape a signature, so that
it outlives other changes.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.ledger import Receipt
from pipeline.options import digest
from stages.dedup.columns import column
from stages.dedup.fields import text_of
from stages.dedup.library import SAMPLE, Known, Library, hashes_of
from stages.dedup.passes import Task
from stages.text.shingles import Shingling


class Signing(NamedTuple):
    """What shapes a signature."""

    fields: tuple[str, ...]
    shape: str
    how: Shingling
    permutations: int
    seed: int

    def key(self, content: str | None) -> str:
        """Key of the signatures of an input shard; another Unicode version may know other letters."""
        return digest({"pass": "sign", "version": 3, "options": list(self), "unicode": unicodedata.unidata_version, "input": content})

    def library(self, folder: str | None) -> Library | None:
        """The signatures kept in `folder` under these options."""
        return Library.at(folder, self.key(None)[:16]) if folder else None


class Measured(NamedTuple):
    """What is known of n texts, by row."""

    values: np.ndarray
    exact: np.ndarray
    tokens: np.ndarray
    sizes: np.ndarray
    lengths: np.ndarray


def run(task: Task) -> Receipt:
    """Sign one part of the corpus, or take its signatures from the library."""
    corpus, signing, library = task.given
    kind = schema(signing.permutations)
    if library is not None:
        known = library.whole(task.key)
        if known is not None:
            return task.put(known, {"signed": 0, "taken": known.num_rows})
    signed, contents, pieces = 0, [], []
    held = None
    for batch in corpus.batches(task.number):
        texts = Docs(pa.record_batch({"text": text_of(batch, signing.fields, signing.shape)}))
        if library is None:
            found = _measured(texts, signing)
            signed += texts.n
        else:
            hashes = hashes_of(texts)
            held = held or library.among(hashes[:: max(1, texts.n // SAMPLE), 0])
            found, count = _completed(texts, signing, held, held.rows(hashes))
            signed += count
            contents.append(hashes)
        pieces.append(_batch(found, kind))
    table = pa.Table.from_batches(pieces, kind)
    if library is not None:
        library.add(task.key, table, np.concatenate(contents) if contents else np.zeros((0, 2), np.uint64))
    return task.put(table, {"signed": signed, "taken": table.num_rows - signed})


def _measured(texts: Docs, signing: Signing) -> Measured:
    from stages.text import minhash

    found = minhash.sign(texts.data, texts.offsets, signing.how, signing.permutations, signing.seed)
    sizes = np.where(texts.valid, np.diff(texts.offsets), -1)
    return Measured(found.values, found.exact, found.tokens, sizes, np.where(texts.valid, found.lengths, 0))


def _completed(texts: Docs, signing: Signing, held: Known, rows: np.ndarray) -> tuple[Measured, int]:
    """What is known of the texts (`rows` of `held`, -1 for a new one), the new ones signed; and how many were."""
    new = np.flatnonzero(rows < 0)
    if len(new) == texts.n:
        return _measured(texts, signing), texts.n
    taken = np.maximum(rows, 0)
    exact = np.stack([column(held.table, "exact_a")[taken], column(held.table, "exact_b")[taken]], 1)
    whole = Measured(held.values(taken), exact, *(column(held.table, name)[taken] for name in ("tokens", "size", "length")))
    if len(new):
        for into, part in zip(whole, _measured(Docs(pa.record_batch({"text": texts.text.take(pa.array(new))})), signing)):
            into[new] = part
    whole.sizes[~texts.valid], whole.lengths[~texts.valid] = -1, 0
    return whole, len(new)


def _batch(found: Measured, kind: pa.Schema) -> pa.RecordBatch:
    values = pa.FixedSizeBinaryArray.from_buffers(kind.field("values").type, len(found.sizes), [None, pa.py_buffer(np.ascontiguousarray(found.values))])
    exact_a, exact_b = np.ascontiguousarray(found.exact.T)
    numbers = (exact_a, exact_b, found.tokens, found.sizes, found.lengths)
    return pa.record_batch([values, *(pa.array(each) for each in numbers)], schema=kind)


def schema(permutations: int) -> pa.Schema:
    """Columns of the pass."""
    return pa.schema(
        [
            pa.field("values", pa.binary(4 * permutations)),
            pa.field("exact_a", pa.uint64()),
            pa.field("exact_b", pa.uint64()),
            pa.field("tokens", pa.int64()),
            pa.field("size", pa.int64()),
            pa.field("length", pa.int64()),
        ]
    )
