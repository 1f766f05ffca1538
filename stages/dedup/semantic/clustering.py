"""Passes `centroids`, `cells` and `sent` of the level `semantic`: k-means cells, and the vectors of a partition of them.

`centroids` is one task. `cells`, one task a part, sorted by `cell`: `cell`, `doc`, `members` (int64), `alone` (does it represent
identical texts at most?). Up to SCATTERED bytes of vectors on a local disk a partition reads from where they lie. More, and those on object
storage, are sent to the partitions: `sent`, one task a part, has these columns, `vector` and what the keep policy reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import column
from stages.dedup.exchange.ranges import Columns, joined, put
from stages.dedup.passes import PassTask
from stages.dedup.run import Run
from stages.dedup.semantic.embedding import Held, one_width, packed, unpacked
from stages.dedup.signatures.measures import marks_of

SAMPLE_BYTES = 256 << 20
"""Vectors k-means is trained on, in one task: 175,000 of 384 numbers."""
PER_CELL = (39, 128)
"""Fewest (faiss warns below) and most points a centroid is trained on. With 256 (faiss's) no more pairs fall into one cell, and
cells are a tenth more even, which saves less than it costs (tests/bench/dedup/RESULTS-levels.md)."""
ROUNDS = 10
"""k-means rounds at most (faiss: 25 by default, 10 is its usual advice); 20 find no more pairs."""
CELL = 1024
"""Rows a cell, where the number of cells is not given: a cell of 1,024 costs one product of half a million pairs."""
SCATTERED = 4 << 30
"""Bytes of vectors that are read one here, one there: they stay in the system's page cache. More are sorted by cell first."""
PARTITION_BYTES = 64 << 20
"""Vectors per task of `semantic`; it holds a window of them at a time, and of a larger cell a few blocks."""
WINDOW_BYTES = 16 << 20


class Clustering(NamedTuple):
    """What a task carries: the run and its vectors."""

    run: Run
    vectors: Held


class Sending(NamedTuple):
    """What a task that sends vectors to the partitions carries."""

    run: Run
    vectors: Held
    firsts: np.ndarray
    """int64: the first cell of each partition."""


def train(task: PassTask) -> Receipt:
    """Pass `centroids`: k-means over the sample that a hash of the vectors picks, the same for any layout."""
    from stages.dedup.semantic import vectors as math

    given: Clustering = task.given
    vectors, requested = given.vectors, given.run.stage.cells
    parts = vectors.vectors.shards()
    width = next((piece.shape[1] for number in parts for _, piece in vectors.pieces(number)), 1)
    cells = requested or max(1, round(vectors.count() / CELL))
    most = max(1, SAMPLE_BYTES // (4 * width))

    def pieces() -> Iterator[np.ndarray]:
        for _, piece in chain.from_iterable(map(vectors.pieces, parts)):
            one_width({width, piece.shape[1]})
            yield piece

    sample = _sample(pieces(), min(most, cells * PER_CELL[1]), width)
    cells = min(cells, max(1, len(sample) // PER_CELL[0]) if requested is None else max(1, len(sample)))
    found = math.kmeans(math.whole(sample), cells, ROUNDS) if cells > 1 else math.whole(sample[:1])
    return task.put(
        pa.Table.from_batches([packed(found, cell=np.arange(len(found)))]),
        {"cells": len(found), "trained_on": len(sample)},
    )


def _sample(pieces: Iterator[np.ndarray], most: int, width: int) -> np.ndarray:
    """The `most` distinct vectors of least hash, by it."""
    from stages.dedup.semantic.vectors import mixed

    held, keys = np.zeros((0, width), np.float32), np.zeros(0, np.uint64)
    limit = np.uint64(2**64 - 1)
    while fresh := list(islice(pieces, 64)):
        marks = [mixed(piece) for piece in fresh]
        known = np.unique(np.concatenate([keys, *marks]))[:most]
        limit = known[-1] if len(known) == most else limit
        # Each piece is thinned before they are put together: a sample's worth of copies, and not all.
        near = [(piece[mark <= limit], mark[mark <= limit]) for piece, mark in zip([held, *fresh], [keys, *marks])]
        keys, first = np.unique(np.concatenate([mark for _, mark in near]), return_index=True)
        held = np.concatenate([piece for piece, _ in near])[first]
    return held


def assign(task: PassTask) -> Receipt:
    """Pass `cells`: the vectors of one part by their nearest centroid; notes how many there are in each cell."""
    from stages.dedup.semantic import vectors as math

    given: Clustering = task.given
    run, part = given.run, given.run.corpus.parts[task.number]
    centroids = np.concatenate([unpacked(chunk) for chunk in run.store("centroids").read(0)["vector"].chunks])
    row = cell = np.zeros(0, np.int64)
    for rows, piece in given.vectors.pieces(task.number):
        row, cell = np.r_[row, rows], np.r_[cell, math.nearest(math.whole(piece), centroids)]
    order = np.argsort(cell, kind="stable")
    numbers, counts = np.unique(cell, return_counts=True)
    docs = row[order] + part.first
    members = run.decided(task.number, "semantic").members[docs - part.first]
    identical = run.identical(task.number)[docs - part.first]
    table = pa.table({"cell": cell[order], "doc": docs, "members": members, "alone": members == identical})
    return task.put(table, {"cells": {str(number): int(count) for number, count in zip(numbers, counts)}})


def send(task: PassTask) -> Receipt:
    """Pass `sent`: what is known of one part's rows with a vector, to the partition of their cell."""
    given: Sending = task.given
    run, number = given.run, given.run.corpus.number_at(task.number)
    columns = _known(run.store("cells").read(number))
    rows, measures = columns["doc"] - run.corpus.parts[number].first, run.store("measures").read(number)
    columns |= {"alone": columns["alone"].astype(np.uint8)}
    columns |= {name: column(measures, name)[rows] for name in run.policy.reads}
    found = list(given.vectors.pieces(number))
    at = np.searchsorted(np.concatenate([rows for rows, _ in found]), rows) if found else rows
    vectors = Chunks([vectors for _, vectors in found])

    def take(some: np.ndarray) -> Columns:
        wide = vectors.take(at[some])
        sent = wide.view(f"S{wide.itemsize * wide.shape[1]}").reshape(-1)
        return {**{name: values[some] for name, values in columns.items()}, "vector": sent}

    to = np.searchsorted(given.firsts, columns["cell"], side="right") - 1
    return put(task, len(given.firsts), to, take)


def _known(cells: pa.Table) -> Columns:
    """What the pass `cells` says of some rows."""
    numbers = {name: column(cells, name) for name in ("cell", "doc", "members")}
    return numbers | {"alone": cells["alone"].to_numpy()}


def partitions_of(receipts: Sequence[Receipt], width: int) -> list[tuple[int, int]]:
    """(first, last) cells of each partition: about PARTITION_BYTES of vectors of `width` bytes; a larger cell is alone."""
    counts: dict[int, int] = {}
    for receipt in receipts:
        for name, count in receipt.notes["cells"].items():
            counts[int(name)] = counts.get(int(name), 0) + count
    partitions: list[tuple[int, int]] = []
    held = 0
    for cell in sorted(counts):
        size = counts[cell] * width
        if partitions and held + size <= PARTITION_BYTES:
            partitions[-1], held = (partitions[-1][0], cell), held + size
        else:
            partitions.append((cell, cell))
            held = size
    return partitions


class Chunks:
    """Vectors that lie in several arrays, by position: those of the first, then those of the second."""

    def __init__(self, chunks: list[np.ndarray]):
        self._chunks = chunks
        self._ends = np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)
        self.width = chunks[0].shape[1] if chunks else 1

    def take(self, at: np.ndarray, found: np.ndarray | None = None) -> np.ndarray:
        """The vectors at these positions (any order), in `found` where it is given."""
        found = np.empty((len(at), self.width), np.float32) if found is None else found
        owner = np.searchsorted(self._ends, at, side="right")
        order = np.argsort(owner, kind="stable")
        numbers, starts = np.unique(owner[order], return_index=True)
        for number, some in zip(numbers.tolist(), np.split(order, starts[1:])):
            found[some] = self._chunks[number][at[some] - (self._ends[number] - len(self._chunks[number]))]
        return found


class Partition(NamedTuple):
    """The rows of consecutive cells that have a vector."""

    cell: np.ndarray
    docs: np.ndarray
    members: np.ndarray
    alone: np.ndarray
    marks: Columns
    """What the keep policy reads."""
    vectors: Chunks
    at: np.ndarray
    """Where in `vectors` that of each row lies."""

    @classmethod
    def sent(cls, found: Columns, reads: Sequence[str]) -> Partition:
        """Of what the task of the partition was sent."""
        vectors = found["vector"].view(np.float32).reshape(len(found["vector"]), -1)
        known = (found[name] for name in ("cell", "doc", "members"))
        marks = {name: found[name] for name in reads}
        return cls(*known, found["alone"].astype(bool), marks, Chunks([vectors]), np.arange(len(vectors)))

    @classmethod
    def lying(cls, run: Run, held: Held, cells: Store, first: int, last: int) -> Partition:
        """Of the parts, on a local disk."""
        pieces, chunks, where, before = [], [], [], 0
        for number in cells.shards():
            rows = _known(cells.read(number))
            low, high = np.searchsorted(rows["cell"], (first, last + 1))
            if low < high:
                pieces.append({name: values[low:high] for name, values in rows.items()})
                found = list(held.lying(number))
                mine = pieces[-1]["doc"] - held.corpus.parts[number].first
                where.append(before + (np.searchsorted(held.rows(number), mine) if found[0][0] < 0 else mine))
                chunks += [chunk for _, chunk in found]
                before += sum(len(chunk) for _, chunk in found)
        known = joined(pieces)
        marks = marks_of(run, known["doc"], run.policy.reads)
        return cls(*known.values(), marks, Chunks(chunks), np.concatenate(where))


class Window:
    """The vectors of a partition in one order of its positions, a window of them at hand; a cell larger than that is fetched block by
    block."""

    def __init__(self, partition: Partition, order: np.ndarray):
        self.vectors, self.order = partition.vectors, partition.at[order]
        width = self.vectors.width
        self.window = np.empty((min(len(order), max(1, WINDOW_BYTES // (4 * width))), width), np.float32)
        self.low = self.high = 0

    def reach(self, low: int, high: int) -> None:
        """Have the positions `low` to `high - 1` at hand, and as many behind them as there is room for, if there is enough for these."""
        if (low < self.low or high > self.high) and high - low <= len(self.window):
            self.low, self.high = low, min(low + len(self.window), len(self.order))
            self.vectors.take(self.order[self.low : self.high], self.window)

    def take(self, at: np.ndarray) -> np.ndarray:
        """The vectors at these positions of the order (ascending)."""
        if at[0] < self.low or at[-1] >= self.high:
            return self.vectors.take(self.order[at])
        straight = at[-1] - at[0] + 1 == len(at)
        return self.window[at[0] - self.low : at[-1] + 1 - self.low] if straight else self.window[at - self.low]
