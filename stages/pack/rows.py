"""One shard of documents as rows of tokens: encoding, the columns, the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import TOKENS, child_ids
from pipeline.storage.ledger import Ledger
from pipeline.storage.packed_rows import TRAINING_ROWS
from pipeline.storage.store import BATCH_ROWS, Store
from stages.models.encoder import Encoder
from stages.models.holdout import document_keys, held_out
from stages.pack import layout

SCHEMA = TOKENS.append(pa.field("heldout", pa.bool_()))
_DOC = TOKENS.field("docs").type.value_type
TOGETHER = 2 << 20
"""Bytes of text encoded at once, where batches are smaller."""


class TokenDocuments(NamedTuple):
    """The documents of a shard as tokens end to end. Lists and arrays run over the documents unless said otherwise."""

    ids: pa.LargeStringArray
    tokens: np.ndarray
    """int32, begin and end tokens included; dropped documents have none."""
    begins: np.ndarray
    """int64, one more than documents: where each begins in `tokens`."""
    reason: list[str | None]
    heldout: np.ndarray
    """bool."""
    chars: np.ndarray
    """int64, code points of the text."""
    bytes: np.ndarray
    """int64, UTF-8 bytes of the text."""
    langs: list[str]
    bos: int
    """Tokens before the text: 1 or 0."""

    def part(self, doc: int) -> np.ndarray:
        """A document's tokens."""
        return self.tokens[self.begins[doc] : self.begins[doc + 1]]


def encoded(source: Store, shard: int, encoder: Encoder, stage: Any) -> TokenDocuments:
    """Encode every document of a shard, batch by batch; once more where gigatoken was found different on the way."""
    left = encoder.left
    docs = _encoded(source, shard, encoder, stage)
    return docs if encoder.left == left else _encoded(source, shard, encoder, stage)


def _encoded(source: Store, shard: int, encoder: Encoder, stage: Any) -> TokenDocuments:
    bos = [encoder.bos] if stage.bos and encoder.bos is not None else []
    ids: list[pa.Array] = []
    parts: list[np.ndarray] = []
    reason: list[str | None] = []
    langs: list[str] = []
    keys: list[str] = []
    counts, chars, sizes = ([np.zeros(0, np.int64)] for _ in range(3))
    for batch in _together(source.batches(shard)):
        ids.append(batch.column("id").cast(pa.large_string()))
        keys += document_keys(batch)
        langs += [lang or "und" for lang in batch.column("lang").to_pylist()]
        text = pc.fill_null(batch.column("text"), "")
        tokens, bounds = encoder.encode_column(text)
        made = np.diff(bounds)
        reason += ["pack.empty" if not n else "pack.short" if n < stage.min_tokens else None for n in made.tolist()]
        whole, lengths = framed(tokens, made, made >= stage.min_tokens, bos, [encoder.eos])
        parts.append(whole)
        counts.append(lengths)
        chars.append(pc.utf8_length(text).to_numpy(zero_copy_only=False))
        sizes.append(pc.binary_length(text).to_numpy(zero_copy_only=False))
    return TokenDocuments(
        pa.concat_arrays([*ids, pa.array([], pa.large_string())]),
        np.concatenate([*parts, np.zeros(0, np.int32)]),
        np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64),
        reason,
        held_out(keys, stage.holdout),
        np.concatenate(chars).astype(np.int64),
        np.concatenate(sizes).astype(np.int64),
        langs,
        len(bos),
    )


def _together(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The columns of a shard that are packed, small batches together: a batch costs the same, however short its texts."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        batch = batch.select([name for name in ("id", "content_id", "lang", "text") if name in batch.schema.names])
        held.append(batch)
        size += batch.column("text").nbytes
        if size >= TOGETHER:
            yield pa.concat_batches(held) if len(held) > 1 else batch
            held, size = [], 0
    if held:
        yield pa.concat_batches(held)


def framed(
    tokens: np.ndarray, sizes: np.ndarray, kept: np.ndarray, before: list[int], after: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Documents end to end with `before` and `after` around each; those not `kept` are left out. Returns tokens and sizes.

    >>> framed(np.array([7, 8, 9], np.int32), np.array([2, 0, 1]), np.array([True, False, True]), [1], [2])[0].tolist()
    [1, 7, 8, 2, 1, 9, 2]
    """
    framing = len(before) + len(after)
    lengths = np.where(kept, sizes + framing, 0)
    ends = np.cumsum(lengths)
    out = np.empty(int(ends[-1]) if len(ends) else 0, np.int32)
    text = np.ones(len(out), dtype=bool)
    begins = (ends - lengths)[kept]
    for i, token in enumerate(before):
        out[begins + i], text[begins + i] = token, False
    for i, token in enumerate(reversed(after), 1):
        out[ends[kept] - i], text[ends[kept] - i] = token, False
    out[text] = tokens if kept.all() else tokens[np.repeat(kept, sizes)]
    return out, lengths


def marks(
    source: Store, shard: int, encoder: Encoder, docs: TokenDocuments, wanted: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """By document: the code points at which its tokens `wanted` (ascending, int64) begin; those around the text begin where it does
    or ends. Texts are read again only where the tokens do not say it."""
    found: dict[int, np.ndarray] = {}
    for doc, at in wanted.items():
        text = docs.part(doc)[docs.bos : -1]
        inside = (at >= docs.bos) & (at < docs.bos + len(text))
        begins = encoder.begins(text, int(docs.bytes[doc]), at[inside] - docs.bos)
        if begins is not None:
            found[doc] = np.where(at < docs.bos, 0, docs.chars[doc])
            found[doc][inside] = begins
    rest, first = {doc for doc in wanted if doc not in found}, 0
    for batch in source.batches(shard) if rest else ():
        texts = batch.column("text")
        for doc in sorted(rest & set(range(first, first + len(batch)))):
            text = texts[doc - first].as_py()
            begins = encoder.marks(text, docs.part(doc)[docs.bos : -1])
            found[doc] = np.concatenate([[0] * docs.bos, begins, [len(text)]]).astype(np.int64)[wanted[doc]]
        first += len(batch)
    return found


class Packed:
    """A shard's documents laid out in rows: those trained on first, then those held out."""

    def __init__(self, docs: TokenDocuments, stage: Any):
        self.docs, self.stage = docs, stage
        self.streams = [(held, self._lay(np.flatnonzero(docs.heldout == held))) for held in (False, True)]
        self.row_ids = [row_ids(lay, docs.ids, stage.method) for _, lay in self.streams]

    def _lay(self, members: np.ndarray) -> layout.Layout:
        """The layout of some documents, with `doc` counted over all of the shard's."""
        lengths = np.diff(self.docs.begins)[members]
        lay = layout.METHODS[self.stage.method](lengths, self.stage.seq_len)
        return lay._replace(doc=members[lay.doc] if len(lay.doc) else lay.doc)

    def tables(self) -> Iterator[pa.Table]:
        """The rows, 1,024 at a time; one empty table where there are none."""
        yield SCHEMA.empty_table()
        for (held, lay), names in zip(self.streams, self.row_ids):
            for first in range(0, lay.rows, BATCH_ROWS):
                last = min(first + BATCH_ROWS, lay.rows)
                a, b = np.searchsorted(lay.row, [first, last])
                yield self._table(layout.Layout(*(part[a:b] for part in lay)), names[first:last], first, held)

    def _table(self, lay: layout.Layout, names: list[str], first: int, held: bool) -> pa.Table:
        begin = self.docs.begins[lay.doc] + lay.offset
        tokens = np.concatenate([self.docs.tokens[at : at + n] for at, n in zip(begin.tolist(), lay.length.tolist())])
        rows = len(names)
        size = np.bincount(lay.row - first, weights=lay.length, minlength=rows).astype(np.int64)
        pieces = np.bincount(lay.row - first, minlength=rows)
        docs = pa.StructArray.from_arrays(
            [
                self.docs.ids.take(pa.array(lay.doc)),
                pa.array(lay.start.astype(np.int32)),
                pa.array((lay.start + lay.length).astype(np.int32)),
                pa.array(lay.offset),
            ],
            fields=list(_DOC),
        )
        columns = [
            pa.array(names, pa.large_string()),
            pa.ListArray.from_arrays(_offsets(size), pa.array(tokens), type=SCHEMA.field("input_ids").type),
            pa.ListArray.from_arrays(_offsets(pieces), docs, type=SCHEMA.field("docs").type),
            pa.array(np.full(rows, held)),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def cut(self) -> dict[int, np.ndarray]:
        """Documents that stand in more than one row: the tokens (ascending) with which their pieces begin."""
        doc, offset = (np.concatenate([getattr(lay, name) for _, lay in self.streams]) for name in ("doc", "offset"))
        cut = np.flatnonzero(np.bincount(doc, minlength=1)[doc] > 1) if len(doc) else doc
        cut = cut[np.lexsort((offset[cut], doc[cut]))]
        docs, first = np.unique(doc[cut], return_index=True)
        return dict(zip(docs.tolist(), np.split(offset[cut], first[1:])))

    def ledger(self, marks: dict[int, np.ndarray]) -> pa.Table:
        """A row per (document, row) with the code points of the text that stand there; dropped documents have one row.

        `marks`: the code points at which the pieces begin that `cut()` names.
        """
        docs = self.docs
        dropped = np.flatnonzero([why is not None for why in docs.reason])
        lay = layout.Layout(*(np.concatenate(parts) for parts in zip(*(lay for _, lay in self.streams))))
        starts, ends = np.zeros(len(lay.doc), np.int64), docs.chars[lay.doc]
        if marks:
            cut = np.flatnonzero(np.isin(lay.doc, list(marks)))
            cut = cut[np.lexsort((lay.offset[cut], lay.doc[cut]))]
            begins = [marks[doc] for doc in sorted(marks)]
            starts[cut] = np.concatenate(begins)
            ends[cut] = np.concatenate([[*one[1:], docs.chars[doc]] for doc, one in zip(sorted(marks), begins)])
        unpacked = pa.nulls(len(dropped), pa.int64())
        names = [pa.array(names, pa.large_string()) for names in self.row_ids]
        rows = [pa.array(lay.row) for _, lay in self.streams]
        return Ledger.rows(
            docs.ids.take(pa.array(np.concatenate([dropped, lay.doc]))),
            out=pa.concat_arrays([pa.nulls(len(dropped), pa.large_string()), *map(pa.Array.take, names, rows)]),
            reason=[docs.reason[doc] for doc in dropped.tolist()] + [None] * len(lay.doc),
            span=(pa.concat_arrays([unpacked, pa.array(starts)]), pa.concat_arrays([unpacked, pa.array(ends)])),
            metrics={"pack.tokens": np.concatenate([np.zeros(len(dropped), np.int64), lay.length])},
        )

    def notes(self) -> dict[str, Any]:
        """Counts for the report, summed over shards."""
        docs = self.docs
        kept = np.diff(docs.begins)
        rows = sum(lay.rows for _, lay in self.streams)
        room = rows * self.stage.seq_len
        if self.stage.method == "bucketed":
            room = sum(int(layout.widths(lay.length, self.stage.seq_len).sum()) for _, lay in self.streams)
        by_language: Counter[str] = Counter()
        for lang, size in zip(docs.langs, kept.tolist()):
            by_language[lang] += size
        return {
            "tokens": int(kept.sum()),
            "heldout_tokens": int(kept[docs.heldout].sum()),
            TRAINING_ROWS: self.streams[0][1].rows,
            "row_room": int(room),
            "documents": int((kept > 0).sum()),
            "documents_cut": len(self.cut()),
            "bytes": int(docs.bytes[kept > 0].sum()),
            "tokens_by_language": {lang: by_language[lang] for lang in sorted(by_language) if by_language[lang]},
        }


def row_ids(lay: layout.Layout, ids: pa.LargeStringArray, method: str) -> list[str]:
    """An id per row: of its documents in order and where in the first of them it begins."""
    begins = np.searchsorted(lay.row, np.arange(lay.rows + 1))
    return child_ids(ids.take(pa.array(lay.doc)), begins[1:], "pack", method, lay.offset[begins[:-1]].tolist())


def _offsets(sizes: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
