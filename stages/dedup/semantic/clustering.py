"""Passes `centroids` and `cells` of the level `semantic`: k-means cells, and the vectors of a partition of them.

`centroids` is one task. `cells`, one task a part, sorted by `cell`: `cell`, `doc`, `members` (int64), `alone` (does it represent
identical texts at most?), and `vector` where all vectors are more than SCATTERED: then a partition reads its own in one piece of
each part, otherwise from where they lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import column
from stages.dedup.passes import PassTask
from stages.dedup.run import Run
from stages.dedup.semantic.embedding import Held, one_width, packed, unpacked

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
    sort: bool = False
    """Are vectors written in the order of cells?"""


def train(task: PassTask) -> Receipt:
    """Pass `centroids`: k-means over the sample that a hash of the vectors picks, the same for any layout."""
    from stages.dedup.semantic import vectors as math

    given: Clustering = task.given
    vectors, requested = given.vectors, given.run.stage.cells
    parts = vectors.vectors.shards()
    width = one_width({piece.shape[1] for number in parts for piece in islice(vectors.pieces(number), 1)})
    cells = requested or max(1, round(vectors.count() / CELL))
    most = max(1, SAMPLE_BYTES // (4 * width))
    pieces = (piece for number in parts for piece in vectors.pieces(number))
    sample = _sample(pieces, min(most, cells * PER_CELL[1]), width)
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
    cells = [math.nearest(math.whole(piece), centroids) for piece in given.vectors.pieces(task.number)]
    cell = np.concatenate(cells) if cells else np.zeros(0, np.int64)
    order = np.argsort(cell, kind="stable")
    numbers, counts = np.unique(cell, return_counts=True)
    docs = given.vectors.rows(task.number)[order] + part.first
    members = run.decided(task.number, "semantic").members[docs - part.first]
    identical = run.identical(task.number)[docs - part.first]
    table = pa.table({"cell": cell[order], "doc": docs, "members": members, "alone": members == identical})
    if given.sort:
        vectors = np.concatenate([*given.vectors.pieces(task.number)] or [centroids[:0]])[order]
        table = table.append_column("vector", packed(vectors).column("vector"))
    return task.put(table, {"cells": {str(number): int(count) for number, count in zip(numbers, counts)}})


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


class Partition:
    """The vectors of consecutive cells where they lie, by position, and what is known of them."""

    def __init__(self, vectors: Held, cells: Store, first: int, last: int):
        self.chunks: list[np.ndarray] = []
        pieces, where = [], []
        for number in cells.shards():
            rows = cells.read(number)
            low, high = np.searchsorted(column(rows, "cell"), (first, last + 1))
            pieces.append(rows.slice(low, high - low))
            where.append(
                self._sorted(pieces[-1])
                if "vector" in rows.column_names
                else self._lying(vectors, number, column(pieces[-1], "doc"))
            )
        self.owner, self.row = map(np.concatenate, zip(*where))
        numbers = ([column(piece, name) for piece in pieces] for name in ("cell", "doc", "members"))
        self.cell, self.docs, self.members = map(np.concatenate, numbers)
        self.alone = np.concatenate([piece["alone"].to_numpy() for piece in pieces])

    def _sorted(self, piece: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(chunk, row in it) of vectors that lie in the order of cells."""
        chunks = [unpacked(chunk) for chunk in piece["vector"].chunks]
        return self._positions(chunks, np.arange(len(piece)))

    def _lying(self, held: Held, number: int, docs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of the vectors of one part."""
        found = list(held.lying(number)) if len(docs) else []
        rows = docs - held.corpus.parts[number].first
        at = np.searchsorted(held.rows(number), rows) if found and found[0][0] < 0 else rows
        return self._positions([chunk for _, chunk in found], at)

    def _positions(self, chunks: list[np.ndarray], at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bounds = np.cumsum([0, *map(len, chunks)])
        owner = np.searchsorted(bounds, at, side="right") - 1
        first = len(self.chunks)
        self.chunks += chunks
        return owner + first, at - bounds[owner]

    @property
    def width(self) -> int:
        return self.chunks[0].shape[1]

    def take(self, at: np.ndarray, found: np.ndarray | None = None) -> np.ndarray:
        """The vectors of the positions `at` (any order), in `found` where it is given."""
        found = np.empty((len(at), self.width), np.float32) if found is None else found
        order = np.argsort(self.owner[at], kind="stable")
        owner = self.owner[at[order]]
        starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(at) else order
        for low, high in zip(starts, np.r_[starts[1:], len(at)]):
            found[order[low:high]] = self.chunks[owner[low]][self.row[at[order[low:high]]]]
        return found


class Window:
    """The vectors of a partition in one order of its positions, a window of them at hand; a cell larger than that is fetched block by
    block."""

    def __init__(self, partition: Partition, order: np.ndarray):
        self.partition, self.order = partition, order
        self.window = np.empty(
            (min(len(order), max(1, WINDOW_BYTES // (4 * partition.width))), partition.width), np.float32
        )
        self.low = self.high = 0

    def reach(self, low: int, high: int) -> None:
        """Have the positions `low` to `high - 1` at hand, and as many behind them as there is room for, if there is enough for these."""
        if (low < self.low or high > self.high) and high - low <= len(self.window):
            self.low, self.high = low, min(low + len(self.window), len(self.order))
            self.partition.take(self.order[self.low : self.high], self.window)

    def take(self, at: np.ndarray) -> np.ndarray:
        """The vectors at these positions of the order (ascending)."""
        if at[0] < self.low or at[-1] >= self.high:
            return self.partition.take(self.order[at])
        straight = at[-1] - at[0] + 1 == len(at)
        return self.window[at[0] - self.low : at[-1] + 1 - self.low] if straight else self.window[at - self.low]
