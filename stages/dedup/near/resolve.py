"""Pass `near`: every component resolved by exact similarity (Jaccard, or containment) over the shingles of its texts.

    near-known   measures and signatures of its documents    stages/dedup/exchange/gather.py
    near         who represents whom                         one task a partition of whole components

Besides the columns of the decisions table: `not_compared` (int64: candidates
of a kept document that were not compared, for the work on one has a limit). The receipt counts, per bin of estimated
similarity, the candidates compared, those confirmed and those left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from stages.dedup.decisions import NEAR, put_rows
from stages.dedup.exchange.gather import Gather
from stages.dedup.exchange.ranges import Columns, joined
from stages.dedup.near import link, texts
from stages.dedup.near.cluster import Partitions
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
VALUES_BYTES = 256 << 20
"""Signatures of a partition that are held in memory: half a million of 128 values."""
LARGE_DOCS = 4096
"""A component of more documents is resolved through an index of rare shingles and not pair by pair."""


class Resolving(NamedTuple):
    """What a task carries: the run, the partitions, and whom to ask about documents."""

    run: Run
    partitions: Partitions
    known: Gather


class Members(NamedTuple):
    """Documents of whole components, by component, the preferred first; `bounds` are the components'."""

    docs: np.ndarray
    sizes: np.ndarray
    bounds: np.ndarray
    marks: dict[str, np.ndarray]
    """Of the pass `measures`; `identical` (how many have its text); and `row`, of its signature in `values`."""
    values: np.ndarray
    """uint32: signatures of all documents of the partition."""

    def some(self, low: int, high: int, bounds: np.ndarray) -> Members:
        """The documents `low` to `high - 1`."""
        marks = {name: values[low:high] for name, values in self.marks.items()}
        return Members(self.docs[low:high], self.sizes[low:high], bounds, marks, self.values)


def ask(task: PassTask) -> Receipt:
    """Ask about the documents of a partition."""
    given: Resolving = task.given
    docs, _ = given.partitions.members(task.number)
    return given.known.ask(task, np.sort(docs))


def fetch(run: Run, _: int, docs: np.ndarray) -> tuple[np.ndarray, Columns]:
    """What is known of some documents (ascending), for `Gather`."""
    _, found = link.fetch(run, _, docs)
    owner = run.corpus.owners(docs)
    identical = np.ones(len(docs), np.int64)
    for number in np.unique(owner).tolist():
        here = owner == number
        identical[here] = run.identical(number)[docs[here] - run.corpus.parts[number].first]
    marks = marks_of(run, docs, (*texts.READS, *run.policy.reads))
    return np.arange(len(docs)), {"identical": identical, **marks, **found}


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
    weights = members.marks["identical"]
    sizes = np.bincount(representative, weights=weights, minlength=count).astype(np.int64)[representative]
    duplicate_of = members.docs[representative]
    ids = members.marks["name"][representative]
    limited = {"not_all_compared": int((left > 0).sum())} if left.any() else {}
    notes = {"candidates": _bins(tally), **limited}
    return put_rows(task, run, NEAR, members.docs, duplicate_of, score, sizes, ids, notes, not_compared=left)


def _read(given: Resolving, number: int) -> Members:
    run = given.run
    docs, components = given.partitions.members(number)
    values, marks = _known(given, number, len(docs))
    rank = np.empty(len(docs), np.int64)
    rank[np.argsort(docs)] = np.arange(len(docs))  # answers are by document
    marks = {name: column[rank] for name, column in marks.items()}
    order = run.policy.order(docs, marks, components)
    components = components[order]
    starts = np.flatnonzero(np.r_[True, components[1:] != components[:-1]])
    marks = {name: column[order] for name, column in marks.items()}
    return Members(docs[order], marks["size"], np.r_[starts, len(docs)], marks, values)


def _known(given: Resolving, number: int, count: int) -> tuple[np.ndarray, Columns]:
    """(signatures, other columns) of the documents of a partition, by document. More signatures than `VALUES_BYTES` lie in a temporary
    file."""
    shape = count, given.run.banding.permutations
    if 4 * shape[0] * shape[1] > VALUES_BYTES:
        with tempfile.TemporaryFile(prefix="maetdol-") as file:
            values = np.memmap(file, np.uint32, "w+", shape=shape)
    else:
        values = np.empty(shape, np.uint32)
    found, at = [], 0
    for columns in given.known.pieces(number):
        words = link.unpacked(columns.pop("values"), shape[1])
        values[at : at + len(words)] = words
        at += len(words)
        found.append(columns)
    return values, {"row": np.arange(count), **joined(found)}


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
        values = piece.values[piece.marks["row"][low:high]]
        return JoinChunk(low, values, _sets(run, piece.some(low, high, piece.bounds)))

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
