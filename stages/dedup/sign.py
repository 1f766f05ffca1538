"""Pass `sign`: one row of numbers per document, from its text alone.

Columns: `values` (fixed-size binary: the MinHash signature, uint32 each), `exact_a`, `exact_b` (uint64: identity of the
normalised text), `tokens` (int64), `size` (int64: bytes of the text, -1 for null) and `length` (int64: its code points). Row i is row i of the input shard. The
key holds nothing but the shard's content and the options that shape a signature, so that it outlives other changes.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.ledger import Receipt
from pipeline.options import digest
from stages.dedup.fields import text_of
from stages.dedup.passes import Task
from stages.text.shingles import Shingling


class Signing(NamedTuple):
    """What shapes a signature."""

    fields: tuple[str, ...]
    shape: str
    how: Shingling
    permutations: int
    seed: int

    def key(self, content: str) -> str:
        """Key of the signatures of an input shard; another Unicode version may know other letters."""
        return digest({"pass": "sign", "version": 2, "options": list(self), "unicode": unicodedata.unidata_version, "input": content})


def run(task: Task) -> Receipt:
    """Sign one part of the corpus."""
    from stages.text import minhash

    corpus, signing = task.given
    kind = schema(signing.permutations)

    def pieces():
        for batch in corpus.batches(task.number):
            texts = Docs(pa.record_batch({"text": text_of(batch, signing.fields, signing.shape)}))
            found = minhash.sign(texts.data, texts.offsets, signing.how, signing.permutations, signing.seed)
            sizes = np.where(texts.valid, np.diff(texts.offsets), -1)
            lengths = np.where(texts.valid, found.lengths, 0)
            values = pa.FixedSizeBinaryArray.from_buffers(kind.field("values").type, len(sizes), [None, pa.py_buffer(found.values)])
            exact_a, exact_b = np.ascontiguousarray(found.exact.T)
            columns = [values, *(pa.array(numbers) for numbers in (exact_a, exact_b, found.tokens, sizes, lengths))]
            yield pa.record_batch(columns, schema=kind)

    return task.put(pa.Table.from_batches(pieces(), kind))


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
