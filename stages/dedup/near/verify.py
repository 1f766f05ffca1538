"""Pass `verify`: every component settled by exact similarity (Jaccard, or containment) over the shingles of its texts.

Columns, sorted by `doc`: `doc`, `keeper` (int64; its own number for one that is kept), `score` (float64: exact similarity
with the keeper, NaN for one that is kept), `members` (int64: documents that the keeper stands for, itself and all
identical ones included) and `left` (int64: candidates of a kept document that were not compared, for the work on one has a
limit). The receipt counts, per bin of estimated similarity, the candidates compared, those confirmed and those left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.docs import Docs
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import blocks
from stages.dedup.corpus import Corpus
from stages.dedup.exact.groups import Twins
from stages.dedup.fields import text_of
from stages.dedup.keep import Policy
from stages.dedup.near.cluster import Lots
from stages.dedup.near.link import signatures
from stages.dedup.near.sign import Signing
from stages.dedup.passes import Task
from stages.text.minhash.lsh import Banding

PIECE_BYTES = 64 << 20
"""A component of more text is settled through an index, half as much of it held at once; its shingle sets take as much again."""
HELD_BYTES = 8 << 20
"""Text of small components held at once: their sets are used and used up in the cache."""
PIECE_DOCS = 1 << 16
LARGE_DOCS = 4096
"""A component of more documents is settled through an index of rare shingles and not pair by pair."""


class Settling(NamedTuple):
    """What a task needs."""

    corpus: Corpus
    sign: Store
    exact: Store
    cluster: Lots
    signing: Signing
    banding: Banding
    policy: Policy
    threshold: float
    within: bool = False
    """Does containment in the keeper decide, and not Jaccard?"""


class Lot(NamedTuple):
    """Documents of whole components, by component, best keeper first; `bounds` are the components'."""

    docs: np.ndarray
    sizes: np.ndarray
    bounds: np.ndarray


def run(task: Task) -> Receipt:
    """Settle the components of one lot."""
    given: Settling = task.given
    lot = _read(given, task.number)
    keeper, score = np.empty(len(lot.docs), np.int64), np.empty(len(lot.docs))
    left = np.zeros(len(lot.docs), np.int64)
    tally = 0
    for first, last in _pieces(lot):
        low, high = lot.bounds[first], lot.bounds[last]
        choice = _settle(given, Lot(lot.docs[low:high], lot.sizes[low:high], lot.bounds[first : last + 1] - low))
        keeper[low:high], score[low:high] = choice.keeper + low, choice.score
        left[low:high] = choice.left
        tally = tally + choice.tally
    weights = Twins(given.exact).members(lot.docs)
    members = np.bincount(keeper, weights=weights, minlength=len(keeper)).astype(np.int64)[keeper]
    order = np.argsort(lot.docs)
    return task.put(
        blocks(
            doc=lot.docs[order],
            keeper=lot.docs[keeper][order],
            score=score[order],
            members=members[order],
            left=left[order],
        ),
        {"candidates": _bins(tally), **({"not_all_compared": int((left > 0).sum())} if left.any() else {})}
        if len(lot.docs)
        else None,
    )


def _read(given: Settling, number: int) -> Lot:
    docs, components = given.cluster.members(number)
    sizes, lengths = given.corpus.measured(given.sign, docs, "size", "length")
    order = given.policy.order(given.corpus, docs, lengths, components)
    components = components[order]
    starts = np.flatnonzero(np.r_[True, components[1:] != components[:-1]])
    return Lot(docs[order], sizes[order], np.r_[starts, len(docs)])


def _pieces(lot: Lot) -> Iterator[tuple[int, int]]:
    """(first, last) components, last excluded, of pieces that fit into memory; a large component is alone."""
    first = 0
    held_bytes = held_docs = 0
    weights = np.add.reduceat(lot.sizes, lot.bounds[:-1])
    for index, (weight, docs) in enumerate(zip(weights.tolist(), np.diff(lot.bounds).tolist())):
        large = docs > LARGE_DOCS or weight > PIECE_BYTES
        if index > first and (
            large or held_bytes + weight > min(HELD_BYTES, PIECE_BYTES) or held_docs + docs > PIECE_DOCS
        ):
            yield first, index
            first, held_bytes, held_docs = index, 0, 0
        if large:
            yield index, index + 1
            first = index + 1
        else:
            held_bytes, held_docs = held_bytes + weight, held_docs + docs
    if first < len(weights):
        yield first, len(weights)


def _settle(given: Settling, piece: Lot):
    from stages.dedup.near.prefixjoin import Chunk, choose_large
    from stages.dedup.near.representatives import choose

    fixed = piece.docs >= given.policy.limit

    def chunk(low: int, high: int) -> Chunk:
        return Chunk(low, _values(given, piece.docs[low:high]), _sets(given, piece.docs[low:high]))

    if len(piece.bounds) == 2 and (len(piece.docs) > LARGE_DOCS or piece.sizes.sum() > PIECE_BYTES):

        def chunks(start: int) -> Iterator[Chunk]:
            return (chunk(low, high) for low, high in _cut(piece.sizes, start))

        return choose_large(chunks, fixed, given.banding, given.threshold, given.within)
    whole = chunk(0, len(piece.docs))
    return choose(piece.bounds, fixed, whole.values, whole.sets, given.banding, given.threshold, given.within)


def _cut(sizes: np.ndarray, start: int) -> Iterator[tuple[int, int]]:
    """Runs of documents from `start` on, each of at most half a piece; a larger document is alone."""
    low = start
    held = 0
    for place in range(start, len(sizes)):
        if place > low and (held + sizes[place] > PIECE_BYTES // 2 or place - low == PIECE_DOCS):
            yield low, place
            low, held = place, 0
        held += int(sizes[place])
    if low < len(sizes):
        yield low, len(sizes)


def _values(given: Settling, docs: np.ndarray) -> np.ndarray:
    order = np.argsort(docs)
    found = np.empty((len(docs), given.banding.permutations), np.uint32)
    found[order] = signatures(given.corpus, given.sign, docs[order], given.banding.permutations)
    return found


def _sets(given: Settling, docs: np.ndarray):
    from stages.text.minhash.jaccard import gather_sets

    return gather_sets(_texts(given, docs), len(docs))


def _texts(given: Settling, docs: np.ndarray):
    """The documents' texts where they lie: a plain text column is read from the mapped shard, others are put together."""
    from stages.text.minhash.jaccard import Texts

    fields, shape = given.signing.fields, given.signing.shape
    plain = shape == "DOCUMENT" and len(fields) == 1
    for batch, rows, places in given.corpus.find(docs, given.signing.columns):
        if not plain:
            batch, rows = batch.take(pa.array(rows)), np.arange(len(rows))
        texts = Docs(pa.record_batch({"text": text_of(batch, fields, shape)}))
        for how, some in given.signing.by_row(batch).of(rows).groups():
            at = slice(None) if some is None else some
            yield Texts(texts.data, texts.offsets, rows[at], places[at], how)


def _bins(tally: np.ndarray) -> dict[str, dict[str, int]]:
    """Counts by bin of estimated similarity: `0.80` covers .80 up to .85."""
    width = len(tally)
    return {
        f"{place / width:.2f}": {"compared": compared, "confirmed": confirmed} | ({"left_out": left} if left else {})
        for place, (compared, confirmed, left) in enumerate(tally.tolist())
        if compared or left
    }
