"""Causal language modelling over packed token shards, read as they lie: mapped, row by row, never copied into a cache.

Rows that `pack` marked as held out are left out. In token shards without that mark, held-out documents are cut out of the
rows they were packed into; since segments never attend to one another, what remains trains exactly as if they had not been
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.models.chat.rows import Row, join, segment
from stages.models.holdout import held_out


class TokenBatch(NamedTuple):
    """One record batch of TOKENS as flat arrays over Arrow's own buffers."""

    ids: pa.Array
    """Row ids."""
    tokens: np.ndarray
    """int32, all rows end to end."""
    row_at: np.ndarray
    """int64 (rows + 1): where a row's tokens begin."""
    doc_at: np.ndarray
    """int64 (rows + 1): where a row's documents begin in the three arrays below."""
    start: np.ndarray
    end: np.ndarray
    held: np.ndarray
    """bool per document: held out of training."""
    first: np.ndarray
    """int64: where in `tokens` documents begin that are not the rest of one cut by a row's end."""


class TokenRows:
    """Rows of TOKENS stores as training rows and held-out rows. UsageError when a token id is outside `vocabulary`."""

    def __init__(self, stores: Sequence[Store], seq_len: int | None, share: float, vocabulary: int):
        self.pieces = [
            _piece(batch, share)
            for store in stores
            for shard in store.shards()
            for batch in store.batches(shard)
            if len(batch)
        ]
        self._check(vocabulary)
        longest = max((int(np.diff(piece.row_at).max()) for piece in self.pieces), default=0)
        self.width = seq_len or longest
        train, held = [], []
        self.reasons: list[list[str | None]] = []
        for index, piece in enumerate(self.pieces):
            kept_tokens, kept_trained = _sizes(piece, ~piece.held)
            out_tokens, out_trained = _sizes(piece, piece.held)
            train.append(_rows(index, kept_trained, kept_tokens <= self.width))
            held.append(_rows(index, out_trained, out_tokens <= self.width))
            self.reasons.append([_reason(*sizes, self.width) for sizes in zip(kept_tokens, kept_trained, out_tokens)])
        self._train, self._held = (
            np.concatenate(parts) if parts else np.zeros((0, 3), np.int64) for parts in (train, held)
        )

    def __len__(self) -> int:
        return len(self._train)

    @property
    def held_rows(self) -> int:
        return len(self._held)

    def weight(self, index: int, held: bool = False) -> int:
        """Tokens asked for in a row."""
        return int((self._held if held else self._train)[index, 2])

    def row(self, index: int, held: bool = False) -> Row:
        """The row without its held-out documents, or (held) those alone."""
        where, number, _ = (self._held if held else self._train)[index]
        piece = self.pieces[where]
        tokens = piece.tokens[piece.row_at[number] : piece.row_at[number + 1]]
        docs = slice(piece.doc_at[number], piece.doc_at[number + 1])
        chosen = piece.held[docs] if held else ~piece.held[docs]
        spans = zip(piece.start[docs][chosen], piece.end[docs][chosen])
        return join([segment(tokens[start:end]) for start, end in spans if end > start])

    def whole(self, most: int) -> list[np.ndarray]:
        """Tokens of at most `most` documents that begin in their row, spread over the pieces."""
        found = []
        for piece in self.pieces[:: max(1, len(self.pieces) // most)]:
            rows = np.repeat(np.arange(len(piece.row_at) - 1), np.diff(piece.doc_at))
            first = piece.row_at[rows] + piece.start
            for at in np.flatnonzero(np.isin(first, piece.first))[: max(1, most // max(1, len(self.pieces)))]:
                found.append(piece.tokens[first[at] : piece.row_at[rows[at]] + piece.end[at]])
        return found[:most]

    def begins_with(self, token: int | None) -> bool:
        """Does the first whole document found begin with `token`?"""
        for piece in self.pieces:
            if len(piece.first):
                return token is not None and int(piece.tokens[piece.first[0]]) == token
        return False

    def row_id(self, index: int) -> str:
        where, number, _ = self._train[index]
        return self.pieces[where].ids[int(number)].as_py()

    def ledger(self, used: np.ndarray) -> pa.Table:
        """A row per input: reason null where it was trained on; `used` (bool per training row) says which were reached."""
        reached = {(int(w), int(n)): bool(u) for (w, n, _), u in zip(self._train, used)}
        counts_of = {(int(w), int(n)): int(c) for w, n, c in self._train}
        tables = []
        for where, piece in enumerate(self.pieces):
            reasons = [
                why or (None if reached[where, n] else "train.not_reached") for n, why in enumerate(self.reasons[where])
            ]
            counts = [counts_of.get((where, n), 0) if why is None else 0 for n, why in enumerate(reasons)]
            held = np.add.reduceat(np.append(piece.held, False).astype(np.int64), piece.doc_at[:-1]) * (
                np.diff(piece.doc_at) > 0
            )
            notes = [f"{h} documents held out" if h else None for h in held.tolist()]
            tables.append(
                Ledger.rows(
                    piece.ids, out=[None] * len(reasons), reason=reasons, note=notes, metrics={"train.tokens": counts}
                )
            )
        return Ledger.concat(tables)

    def _check(self, vocabulary: int) -> None:
        for piece in self.pieces:
            if len(piece.tokens) and (piece.tokens.max() >= vocabulary or piece.tokens.min() < 0):
                raise UsageError(
                    f"the token shards hold id {int(piece.tokens.max())}, the tokenizer has {vocabulary} tokens",
                    "give the tokenizer these shards were packed with",
                )


def _piece(batch: pa.RecordBatch, share: float) -> TokenBatch:
    tokens, docs = batch.column("input_ids"), batch.column("docs")
    row_at = tokens.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    doc_at = docs.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    flat = docs.values
    start = pc.struct_field(flat, "start").to_numpy(zero_copy_only=False)
    row_of = np.repeat(row_at[:-1], np.diff(doc_at))
    whole = pc.struct_field(flat, "offset").to_numpy(zero_copy_only=False) == 0
    return TokenBatch(
        batch.column("id"),
        tokens.values.to_numpy(),
        row_at,
        doc_at,
        start,
        pc.struct_field(flat, "end").to_numpy(zero_copy_only=False),
        _held(batch, flat, np.diff(doc_at), share),
        (row_of + start)[whole],
    )


def _held(batch: pa.RecordBatch, docs: pa.StructArray, per_row: np.ndarray, share: float) -> np.ndarray:
    """bool per document: as `pack` marked its row, or by the hash of its id where rows carry no mark."""
    if "heldout" in batch.schema.names:
        return np.repeat(batch.column("heldout").to_numpy(zero_copy_only=False).astype(bool), per_row)
    return held_out(pc.struct_field(docs, "id").to_pylist(), share)


def _sizes(piece: TokenBatch, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and tokens asked for (all but the first of a document), of the chosen documents of every row."""
    lengths = np.where(chosen, piece.end - piece.start, 0).astype(np.int64)
    tokens, trained = (np.concatenate([[0], np.cumsum(values)]) for values in (lengths, np.maximum(lengths - 1, 0)))
    return tuple(total[piece.doc_at[1:]] - total[piece.doc_at[:-1]] for total in (tokens, trained))  # type: ignore[return-value]


def _rows(piece: int, trained: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """(piece, row, tokens asked for) of the rows that have something to train."""
    number = np.flatnonzero((trained > 0) & fits)
    return np.stack([np.full(len(number), piece), number, trained[number]], axis=1).astype(np.int64)


def _reason(tokens: int, trained: int, held: int, width: int) -> str | None:
    if tokens > width:
        return "train.over_context"
    if trained > 0:
        return None
    return "train.held_out" if held else "train.empty"
