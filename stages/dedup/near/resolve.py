"""Pass `near`: every component resolved by exact similarity (Jaccard, or containment) over the shingles of its texts.

A task resolves a partition of whole components. Besides the columns of the decisions table: `not_compared` (int64: candidates
of a kept document that were not compared, for the work on one has a limit). The receipt counts, per bin of estimated
similarity, the candidates compared, those confirmed and those left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from stages.dedup.decisions import NEAR, rows_of
from stages.dedup.exact.level import ExactGroups
from stages.dedup.near import texts
from stages.dedup.near.cluster import Partitions
from stages.dedup.near.link import signatures
from stages.dedup.passes import PassTask
from stages.dedup.run import Run
from stages.dedup.signatures.measures import marks_of

if TYPE_CHECKING:
    from stages.dedup.near.representatives import Choice
    from stages.text.minhash.jaccard import Sets

PIECE_BYTES = 64 << 20
"""A component of more text is resolved through an index, half as much of it held at once; its shingle sets take as much again."""
HELD_BYTES = 8 << 20
"""Text of small components held at once: their sets are used and used up in the cache."""
PIECE_DOCS = 1 << 16
LARGE_DOCS = 4096
"""A component of more documents is resolved through an index of rare shingles and not pair by pair."""


class Resolving(NamedTuple):
    """What a task carries."""

    run: Run
    partitions: Partitions


class Members(NamedTuple):
    """Documents of whole components, by component, the preferred first; `bounds` are the components'."""

    docs: np.ndarray
    sizes: np.ndarray
    bounds: np.ndarray
    marks: dict[str, np.ndarray]
    """Of the pass `measures`."""

    def some(self, low: int, high: int, bounds: np.ndarray) -> Members:
        """The documents `low` to `high - 1`."""
        marks = {name: values[low:high] for name, values in self.marks.items()}
        return Members(self.docs[low:high], self.sizes[low:high], bounds, marks)


def resolve(task: PassTask) -> Receipt:
    """Choose the representatives of one partition."""
    run: Run = task.given.run
    members = _read(task.given, task.number)
    count = len(members.docs)
    representative, score, left = np.empty(count, np.int64), np.empty(count), np.zeros(count, np.int64)
    tally = 0
    for first, last in _pieces(members):
        low, high = members.bounds[first], members.bounds[last]
        piece = members.some(low, high, members.bounds[first : last + 1] - low)
        choice = _choose(run, piece)
        representative[low:high], score[low:high] = choice.representative + low, choice.score
        left[low:high] = choice.left
        tally = tally + choice.tally
    weights = ExactGroups(run.store("exact")).members(members.docs)
    sizes = np.bincount(representative, weights=weights, minlength=count).astype(np.int64)[representative]
    duplicate_of = members.docs[representative]
    ids = members.marks["name"][representative]
    table = rows_of(NEAR, members.docs, duplicate_of, score, sizes, ids, not_compared=left)
    if not count:
        return task.put(table)
    limited = {"not_all_compared": int((left > 0).sum())} if left.any() else {}
    return task.put(table, {"candidates": _bins(tally), **limited})


def _read(given: Resolving, number: int) -> Members:
    run = given.run
    docs, components = given.partitions.members(number)
    marks = marks_of(run, docs, (*texts.READS, *run.policy.reads))
    order = run.policy.order(docs, marks, components)
    components = components[order]
    starts = np.flatnonzero(np.r_[True, components[1:] != components[:-1]])
    marks = {name: values[order] for name, values in marks.items()}
    return Members(docs[order], marks["size"], np.r_[starts, len(docs)], marks)


def _pieces(members: Members) -> Iterator[tuple[int, int]]:
    """(first, last) components, last excluded, of pieces that fit into memory; a large component is alone."""
    first = 0
    held_bytes = held_docs = 0
    weights = np.add.reduceat(members.sizes, members.bounds[:-1])
    for index, (weight, docs) in enumerate(zip(weights.tolist(), np.diff(members.bounds).tolist())):
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


def _choose(run: Run, piece: Members) -> Choice:
    from stages.dedup.near.prefixjoin import JoinChunk, choose_large
    from stages.dedup.near.representatives import choose

    fixed = piece.docs >= run.policy.limit
    how = (run.banding, run.stage.threshold, run.contained)

    def chunk(low: int, high: int) -> JoinChunk:
        return JoinChunk(low, _values(run, piece.docs[low:high]), _sets(run, piece.some(low, high, piece.bounds)))

    if len(piece.bounds) == 2 and (len(piece.docs) > LARGE_DOCS or piece.sizes.sum() > PIECE_BYTES):

        def chunks(start: int) -> Iterator[JoinChunk]:
            return (chunk(low, high) for low, high in _cut(piece.sizes, start))

        return choose_large(chunks, fixed, *how)
    whole = chunk(0, len(piece.docs))
    return choose(piece.bounds, fixed, whole.values, whole.sets, *how)


def _cut(sizes: np.ndarray, start: int) -> Iterator[tuple[int, int]]:
    """Runs of documents from `start` on, each of at most half a piece; a larger document is alone."""
    low = start
    held = 0
    for at in range(start, len(sizes)):
        if at > low and (held + sizes[at] > PIECE_BYTES // 2 or at - low == PIECE_DOCS):
            yield low, at
            low, held = at, 0
        held += int(sizes[at])
    if low < len(sizes):
        yield low, len(sizes)


def _values(run: Run, docs: np.ndarray) -> np.ndarray:
    order = np.argsort(docs)
    found = np.empty((len(docs), run.banding.permutations), np.uint32)
    found[order] = signatures(run.corpus, run.signatures, docs[order], run.banding.permutations)
    return found


def _sets(run: Run, members: Members) -> Sets:
    from stages.text.minhash.jaccard import gather_sets

    return gather_sets(texts.texts(run, members.docs, members.marks), len(members.docs))


def _bins(tally: np.ndarray) -> dict[str, dict[str, int]]:
    """Counts by bin of estimated similarity: `0.80` covers .80 up to .85."""
    width = len(tally)
    return {
        f"{bin_ / width:.2f}": {"compared": compared, "confirmed": confirmed} | ({"left_out": left} if left else {})
        for bin_, (compared, confirmed, left) in enumerate(tally.tolist())
        if compared or left
    }
