"""Pass `minhash`: the MinHash signature and other measures of each document, from its text alone.

Columns: `values` (fixed-size binary: the MinHash signature, uint32 each), `exact_a`, `exact_b` (uint64: identity of the
normalised text), `tokens` (int64), `size` (int64: bytes of the text, -1 for null) and `length` (int64: its code points). Row
i is row i of the input shard. The key holds nothing but the shard's content and the options that shape a signature, so that
it outlives other changes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.docs import Docs
from pipeline.engine.pool import Pool
from pipeline.options import digest
from pipeline.storage.ledger import Receipt
from stages.dedup.columns import column
from stages.dedup.fields import columns, text_of
from stages.dedup.passes import SIGNATURES_BEFORE, PassTask, make
from stages.dedup.signatures.cache import CachedSignatures, SignatureCache, hashes_of
from stages.dedup.signatures.measures import PartMeasures
from stages.text.minhash.shingles import Shingling

if TYPE_CHECKING:
    from stages.dedup.run import Run


class MinHashOptions(NamedTuple):
    """What shapes a signature."""

    fields: tuple[str, ...]
    shape: str
    how: Shingling
    permutations: int
    seed: int
    languages: tuple[tuple[str, Shingling], ...] = ()
    """Languages (`lang` of a row) whose texts are cut in another way."""

    @property
    def columns(self) -> list[str]:
        """Columns of the rows that signatures depend on."""
        return [*columns(self.fields, self.shape), *(["lang"] if self.languages else [])]

    def by_row(self, batch: pa.RecordBatch) -> Ways:
        """How the text of each row is cut."""
        if not self.languages or not len(batch):
            return Ways([self.how], None)
        words = pc.fill_null(batch.column("lang").cast(pa.large_string()), "").dictionary_encode()
        known = dict(self.languages)
        hows = [known.get(word, self.how) for word in words.dictionary.to_pylist()]
        if len(set(hows)) == 1:
            return Ways(hows[:1], None)
        return Ways(hows, words.indices.to_numpy(zero_copy_only=False))

    def texts(self, batch: pa.RecordBatch) -> tuple[Docs, Ways]:
        """The compared texts of a batch, and how each is cut."""
        return Docs(pa.record_batch({"text": text_of(batch, self.fields, self.shape)})), self.by_row(batch)

    @property
    def hows(self) -> list[Shingling]:
        """The ways in which texts are cut: the common one, then that of each language."""
        return [self.how, *(how for _, how in self.languages)]

    def ways(self, batch: pa.RecordBatch) -> np.ndarray:
        """Position in `hows` of the way in which each row is cut, int8."""
        found = np.zeros(len(batch), np.int8)
        for at, (lang, _) in enumerate(self.languages, 1):
            same = pc.fill_null(pc.equal(batch.column("lang").cast(pa.large_string()), lang), False)
            found[same.to_numpy(zero_copy_only=False)] = at
        return found

    def key(self, content: str | None) -> str:
        """Key of the signatures of an input shard; another Unicode version may know other letters. Signatures of 0.1.0 stay valid,
        so the pass has its old name here."""
        return digest(
            {
                "pass": SIGNATURES_BEFORE,
                "version": 4,
                "options": list(self),
                "unicode": unicodedata.unidata_version,
                "input": content,
            }
        )

    def cache(self, folder: str | None) -> SignatureCache | None:
        """The signatures kept in `folder` under these options."""
        return SignatureCache.at(folder, self.key(None)[:16]) if folder else None


class Ways(NamedTuple):
    """Ways of cutting texts, and which one each row takes (None: all the first)."""

    hows: list[Shingling]
    which: np.ndarray | None

    def groups(self) -> Iterator[tuple[Shingling, np.ndarray | None]]:
        """(way, rows that take it); None for every row."""
        if self.which is None:
            yield self.hows[0], None
        else:
            for number, how in enumerate(self.hows):
                yield how, np.flatnonzero(self.which == number)

    def of(self, rows: np.ndarray) -> Ways:
        """The ways of these rows."""
        return self if self.which is None else Ways(self.hows, self.which[rows])


class Measured(NamedTuple):
    """What is known of n texts, by row."""

    values: np.ndarray
    exact: np.ndarray
    tokens: np.ndarray
    sizes: np.ndarray
    lengths: np.ndarray


def compute_signatures(run: Run, pool: Pool) -> None:
    """Make the pass, one task a part; the signatures of a part outlive other changes."""
    keys = {number: run.minhash.key(part.content) for number, part in run.corpus.parts.items()}
    given = (run, run.minhash.cache(run.stage.signatures))
    run.store("measures").unlist_receipts()  # written on the way
    make(run.signatures, compute_part, keys, lambda number: given, pool)


def compute_part(task: PassTask) -> Receipt:
    """The signatures of one part of the corpus, computed or taken from the cache; its measures on the way."""
    run, cache = task.given
    options: MinHashOptions = run.minhash
    kind = schema(options.permutations)
    if cache is not None:
        known = cache.whole(task.key)
        if known is not None:  # `measure` reads the rows
            return task.put(known, {"computed": 0, "taken": known.num_rows})
    computed, at, pieces, measures = 0, 0, [], PartMeasures(run)
    batches = list(run.corpus.batches(task.number))  # of a shard that lies mapped, or was fetched whole
    contents = [_contents(*options.texts(batch)) for batch in batches if cache is not None]
    hashes = np.concatenate([np.zeros((0, 2), np.uint64), *contents])
    held = cache.among(hashes) if cache is not None else None
    for batch in batches:
        texts, ways = options.texts(batch)
        if held is None:
            found, count = _measured(texts, ways, options), texts.n
        else:
            found, count = _completed(texts, ways, options, held, held.rows(hashes[at : at + texts.n]))
        computed, at = computed + count, at + texts.n
        pieces.append(_batch(found, kind))
        measures.add(batch, texts)
    table = pa.Table.from_batches(pieces, kind)
    if cache is not None:
        cache.add(task.key, table, hashes)
    measures.put(task.number, table)
    return task.put(table, {"computed": computed, "taken": table.num_rows - computed})


def _contents(texts: Docs, ways: Ways) -> np.ndarray:
    """Hash of each text and of how it is cut."""
    hashes = hashes_of(texts)
    for how, rows in ways.groups():
        hashes[slice(None) if rows is None else rows, 0] ^= np.uint64(int(digest(list(how))[:16], 16))
    return hashes


def _measured(texts: Docs, ways: Ways, options: MinHashOptions) -> Measured:
    if ways.which is not None:
        pieces = [(rows, _measured(_some(texts, rows), Ways([how], None), options)) for how, rows in ways.groups()]
        back = np.argsort(np.concatenate([rows for rows, _ in pieces]))
        return Measured(*(np.concatenate(column)[back] for column in zip(*(piece for _, piece in pieces))))
    from stages.text.minhash import signatures as minhash

    found = minhash.compute_minhash(texts.data, texts.offsets, ways.hows[0], options.permutations, options.seed)
    sizes = np.where(texts.valid, np.diff(texts.offsets), -1)
    return Measured(found.values, found.exact, found.tokens, sizes, np.where(texts.valid, found.lengths, 0))


def _some(texts: Docs, rows: np.ndarray) -> Docs:
    return Docs(pa.record_batch({"text": pc.if_else(pa.array(texts.valid), texts.text, None).take(pa.array(rows))}))


def _completed(
    texts: Docs, ways: Ways, options: MinHashOptions, held: CachedSignatures, rows: np.ndarray
) -> tuple[Measured, int]:
    """What is known of the texts (`rows` of `held`, -1 for a new one), the new ones computed; and how many were."""
    new = np.flatnonzero(rows < 0)
    if len(new) == texts.n:
        return _measured(texts, ways, options), texts.n
    taken = np.maximum(rows, 0)
    exact = np.stack([column(held.table, "exact_a")[taken], column(held.table, "exact_b")[taken]], 1)
    whole = Measured(
        held.values(taken), exact, *(column(held.table, name)[taken] for name in ("tokens", "size", "length"))
    )
    if len(new):
        for into, part in zip(whole, _measured(_some(texts, new), ways.of(new), options)):
            into[new] = part
    whole.sizes[~texts.valid], whole.lengths[~texts.valid] = -1, 0
    return whole, len(new)


def _batch(found: Measured, kind: pa.Schema) -> pa.RecordBatch:
    values = pa.FixedSizeBinaryArray.from_buffers(
        kind.field("values").type, len(found.sizes), [None, pa.py_buffer(np.ascontiguousarray(found.values))]
    )
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
