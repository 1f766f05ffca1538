"""One shard of documents as rows of tokens: encoding, the columns, the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import TOKENS, child_ids
from pipeline.storage.ledger import Ledger
from pipeline.storage.packed_rows import GREATEST_ID, TRAINING_ROWS
from pipeline.storage.store import BATCH_ROWS, Store
from stages.models.encoder import Encoder
from stages.models.holdout import document_keys, held_out
from stages.pack import layout
from stages.pack.kernels import frame, gather

SCHEMA = TOKENS.append(pa.field("heldout", pa.bool_()))
_DOC = TOKENS.field("docs").type.value_type
TOGETHER = 8 << 20
"""Bytes of text encoded at once, where batches are smaller."""


REASONS = pa.array([None, "pack.empty", "pack.short"], pa.large_string())
"""What became of a document: packed, or why not."""
KEPT, EMPTY, SHORT = range(3)
NO_LANGUAGE = "und"


class TokenDocuments(NamedTuple):
    """The documents of a shard as tokens end to end. Arrays run over the documents unless said otherwise."""

    ids: pa.LargeStringArray
    tokens: np.ndarray
    """int32, begin and end tokens included; dropped documents have none."""
    begins: np.ndarray
    """int64, one more than documents: where each begins in `tokens`."""
    reason: np.ndarray
    """int8, numbers of `REASONS`."""
    heldout: np.ndarray
    """bool."""
    chars: np.ndarray
    """int64, code points of the text."""
    bytes: np.ndarray
    """int64, UTF-8 bytes of the text."""
    langs: pa.DictionaryArray
    """May be null or empty."""
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
    ids, langs, made = list[pa.Array](), list[pa.Array](), list[tuple[np.ndarray, np.ndarray]]()
    heldout, chars, sizes = [np.zeros(0, bool)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for batch in _together(source.batches(shard)):
        ids.append(batch.column("id").cast(pa.large_string()))
        langs.append(batch.column("lang"))
        heldout.append(held_out(document_keys(batch), stage.holdout))
        text = pc.fill_null(batch.column("text"), "")
        made.append(encoder.encode_column(text))
        chars.append(pc.utf8_length(text).to_numpy(zero_copy_only=False))
        sizes.append(pc.binary_length(text).to_numpy(zero_copy_only=False))
    tokens, begins, counts = framed(made, stage.min_tokens, bos, [encoder.eos])
    return TokenDocuments(
        pa.concat_arrays([*ids, pa.array([], pa.large_string())]),
        tokens,
        begins,
        np.where(counts == 0, EMPTY, np.where(counts < stage.min_tokens, SHORT, KEPT)).astype(np.int8),
        np.concatenate(heldout),
        np.concatenate(chars).astype(np.int64),
        np.concatenate(sizes).astype(np.int64),
        pa.chunked_array(langs, pa.large_string()).combine_chunks().dictionary_encode(),
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
    made: list[tuple[np.ndarray, np.ndarray]], least: int, before: list[Any], after: list[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The documents of all batches end to end with `before` and `after` around each; those of fewer than `least` tokens are left out.

    `made`: (ids, bounds) per batch, used up. Returns tokens (int32), where each document begins in them (int64, one more than there
    are), and how many of its own each had.

    >>> batch = np.array([7, 8, 9], np.int32), np.array([0, 2, 2, 3])
    >>> [part.tolist() for part in framed([batch], 1, [1], [2])]
    [[1, 7, 8, 2, 1, 9, 2], [0, 4, 4, 7], [2, 0, 1]]
    """
    counts = np.concatenate([np.zeros(0, np.int64), *(np.diff(bounds) for _, bounds in made)])
    lengths = np.where(counts >= least, counts + len(before) + len(after), 0)
    begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    out, first = np.empty(int(begins[-1]), np.int32), 0
    around = np.array(before, np.int32), np.array(after, np.int32)
    for batch in range(len(made)):
        tokens, bounds = made[batch]
        last = first + len(bounds) - 1
        frame(tokens, bounds, least, *around, out[begins[first] : begins[last]])
        made[batch], first = _NOTHING, last  # its memory is free
    return out, begins, counts


_NOTHING = np.zeros(0, np.int32), np.zeros(1, np.int64)


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
        self.doc_ids = [docs.ids.take(pa.array(lay.doc)) for _, lay in self.streams]
        self.row_ids = [row_ids(lay, ids, stage.method) for (_, lay), ids in zip(self.streams, self.doc_ids)]

    def _lay(self, members: np.ndarray) -> layout.Layout:
        """The layout of some documents, with `doc` counted over all of the shard's."""
        lengths = np.diff(self.docs.begins)[members]
        lay = layout.METHODS[self.stage.method](lengths, self.stage.seq_len)
        return lay._replace(doc=members[lay.doc] if len(lay.doc) else lay.doc)

    def tables(self) -> Iterator[pa.Table]:
        """The rows, 1,024 at a time; one empty table where there are none."""
        yield SCHEMA.empty_table()
        for (held, lay), ids, names in zip(self.streams, self.doc_ids, self.row_ids):
            for first in range(0, lay.rows, BATCH_ROWS):
                last = min(first + BATCH_ROWS, lay.rows)
                a, b = np.searchsorted(lay.row, [first, last])
                part = layout.Layout(*(column[a:b] for column in lay))
                yield self._table(part, ids[a:b], names[first:last], first, held)

    def _table(self, lay: layout.Layout, ids: pa.Array, names: list[str], first: int, held: bool) -> pa.Table:
        begin = self.docs.begins[lay.doc] + lay.offset
        tokens = gather(self.docs.tokens, begin, lay.length, int(lay.length.sum()))
        rows = len(names)
        size = np.bincount(lay.row - first, weights=lay.length, minlength=rows).astype(np.int64)
        pieces = np.bincount(lay.row - first, minlength=rows)
        docs = pa.StructArray.from_arrays(
            [
                ids,
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

    @cached_property
    def cut(self) -> dict[int, np.ndarray]:
        """Documents that stand in more than one row: the tokens (ascending) with which their pieces begin."""
        doc, offset = (np.concatenate([getattr(lay, name) for _, lay in self.streams]) for name in ("doc", "offset"))
        cut = np.flatnonzero(np.bincount(doc, minlength=1)[doc] > 1) if len(doc) else doc
        cut = cut[np.lexsort((offset[cut], doc[cut]))]
        docs, first = np.unique(doc[cut], return_index=True)
        return dict(zip(docs.tolist(), np.split(offset[cut], first[1:])))

    def ledger(self, marks: dict[int, np.ndarray]) -> pa.Table:
        """A row per (document, row) with the code points of the text that stand there; dropped documents have one row.

        `marks`: the code points at which the pieces begin that `cut` names.
        """
        docs = self.docs
        dropped = np.flatnonzero(docs.reason != KEPT)
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
            pa.concat_arrays([docs.ids.take(pa.array(dropped)), *self.doc_ids]),
            out=pa.concat_arrays([pa.nulls(len(dropped), pa.large_string()), *map(pa.Array.take, names, rows)]),
            reason=pa.concat_arrays(
                [REASONS.take(pa.array(docs.reason[dropped])), pa.nulls(len(lay.doc), REASONS.type)]
            ),
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
        sums = pa.table({"lang": docs.langs, "tokens": kept}).group_by("lang").aggregate([("tokens", "sum")])
        for lang, size in zip(sums["lang"].to_pylist(), sums["tokens_sum"].to_pylist()):
            by_language[lang or NO_LANGUAGE] += size
        return {
            "tokens": int(kept.sum()),
            "heldout_tokens": int(kept[docs.heldout].sum()),
            TRAINING_ROWS: self.streams[0][1].rows,
            GREATEST_ID: int(docs.tokens.max(initial=0)),
            "row_room": int(room),
            "documents": int((kept > 0).sum()),
            "documents_cut": len(self.cut),
            "bytes": int(docs.bytes[kept > 0].sum()),
            "tokens_by_language": {lang: by_language[lang] for lang in sorted(by_language) if by_language[lang]},
        }


def row_ids(lay: layout.Layout, ids: pa.LargeStringArray, method: str) -> list[str]:
    """An id per row: of its documents in order (`ids`, one per piece) and where in the first of them it begins."""
    begins = np.searchsorted(lay.row, np.arange(lay.rows + 1))
    return child_ids(ids, begins[1:], "pack", method, lay.offset[begins[:-1]].tolist())


def _offsets(sizes: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
