"""Passes of the level `semantic`: rows that say the same in other words, by the cosine of their vectors.

    standing    which rows the earlier levels left                         one task a part
    vectors     a vector for each of them (stages/dedup/semantic/embedding.py)      one task a part
    centroids   spherical k-means over a sample                            one task
    cells       their rows in the order of the nearest centroid            one task a part
    semantic    who goes, cell by cell                                     one task a lot of cells

This is SemDeDup (Abbas et al. 2023): pairs are compared within a k-means cell only. Here each row that goes reaches the
threshold with its own keeper, the first of the cell in the order of the keep policy that it matches, and the ledger names
both and the exact cosine. The vectors come from a local encoder or from a column. What is decided follows from the vectors
alone: `stages/dedup/semantic/vectors.py` says how. Rows without a vector (null, empty, of length 0 or not finite) stay.

`standing`: `row` (int64, in the part). `cells`, sorted by `cell`: `cell`, `doc`, `members` (int64), `alone` (does it stand for
identical texts at most?), and `vector` where all vectors are more than SCATTERED: then a lot of cells reads its own in one piece
of each part, otherwise from where they lie. `semantic`: columns as in `stages/dedup/later.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.apply import Applying, fate_of
from stages.dedup.columns import blocks, column
from stages.dedup.exact.groups import Twins
from stages.dedup.keep import Policy
from stages.dedup.passes import Task
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
LOT_BYTES = 64 << 20
"""Vectors per task of `semantic`; it holds a window of them at a time, and of a larger cell a few blocks."""
WINDOW_BYTES = 16 << 20


class Clustering(NamedTuple):
    """What a `centroids` task needs: the vectors, and how many cells (null: by their number)."""

    vectors: Held
    cells: int | None


class Placing(NamedTuple):
    """What a `cells` task needs."""

    applying: Applying
    vectors: Held
    centroids: Store
    sort: bool
    """Are vectors written in the order of cells?"""


class Comparing(NamedTuple):
    """What a `semantic` task needs; `lots` is (first, last cell) per task."""

    vectors: Held
    sign: Store
    cells: Store
    policy: Policy
    cosine: float
    lots: tuple[tuple[int, int], ...]


# -- vectors ---------------------------------------------------------------------------------------------------------------


def stand(task: Task) -> Receipt:
    """Pass `standing`: the rows of one part that stay so far."""
    given: Applying = task.given
    part = given.corpus.parts[task.number]
    keeper = fate_of(given, part.first, part.rows).keeper
    return task.put(blocks(row=np.flatnonzero(keeper == np.arange(part.first, part.first + part.rows))))


# -- centroids and cells ---------------------------------------------------------------------------------------------------


def cluster(task: Task) -> Receipt:
    """Pass `centroids`: k-means over the sample that a hash of the vectors picks, the same for any layout."""
    from stages.dedup.semantic import vectors as math

    given: Clustering = task.given
    total = given.vectors.count()
    parts = given.vectors.vectors.shards()
    width = one_width({piece.shape[1] for number in parts for piece in islice(given.vectors.pieces(number), 1)})
    cells = given.cells or max(1, round(total / CELL))
    most = max(1, SAMPLE_BYTES // (4 * width))
    pieces = (piece for number in parts for piece in given.vectors.pieces(number))
    sample = _sample(pieces, min(most, cells * PER_CELL[1]), width)
    cells = min(cells, max(1, len(sample) // PER_CELL[0]) if given.cells is None else max(1, len(sample)))
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


def place(task: Task) -> Receipt:
    """Pass `cells`: the vectors of one part by their nearest centroid; notes how many there are in each cell."""
    from stages.dedup.semantic import vectors as math

    given: Placing = task.given
    centroids = np.concatenate([unpacked(chunk) for chunk in given.centroids.read(0)["vector"].chunks])
    cells = [math.nearest(math.whole(piece), centroids) for piece in given.vectors.pieces(task.number)]
    cell = np.concatenate(cells) if cells else np.zeros(0, np.int64)
    order = np.argsort(cell, kind="stable")
    numbers, counts = np.unique(cell, return_counts=True)
    part = given.applying.corpus.parts[task.number]
    docs = given.vectors.rows(task.number)[order] + part.first
    members = fate_of(given.applying, part.first, part.rows).members[docs - part.first]
    known = {
        "cell": cell[order],
        "doc": docs,
        "members": members,
        "alone": members == Twins(given.applying.exact).members(docs),
    }
    table = pa.table({name: pa.array(values) for name, values in known.items()})
    if given.sort:
        vectors = np.concatenate([*given.vectors.pieces(task.number)] or [centroids[:0]])[order]
        table = table.append_column("vector", packed(vectors).column("vector"))
    return task.put(table, {"cells": {str(number): int(count) for number, count in zip(numbers, counts)}})


def lots_of(receipts: Sequence[Receipt], width: int) -> tuple[tuple[int, int], ...]:
    """(first, last) cells of each lot: about LOT_BYTES of vectors; a larger cell is alone."""
    counts: dict[int, int] = {}
    for receipt in receipts:
        for name, count in receipt.notes["cells"].items():
            counts[int(name)] = counts.get(int(name), 0) + count
    lots: list[tuple[int, int]] = []
    held = 0
    for cell in sorted(counts):
        size = counts[cell] * width
        if lots and held + size <= LOT_BYTES:
            lots[-1], held = (lots[-1][0], cell), held + size
        else:
            lots.append((cell, cell))
            held = size
    return tuple(lots)


# -- comparing -------------------------------------------------------------------------------------------------------------


class Lot:
    """The vectors of a lot of cells where they lie, by position, and what is known of them."""

    def __init__(self, given: Comparing, first: int, last: int):
        self.chunks: list[np.ndarray] = []
        pieces, where = [], []
        for number in given.cells.shards():
            rows = given.cells.read(number)
            low, high = np.searchsorted(column(rows, "cell"), (first, last + 1))
            pieces.append(rows.slice(low, high - low))
            where.append(
                self._sorted(pieces[-1])
                if "vector" in rows.column_names
                else self._lying(given.vectors, number, column(pieces[-1], "doc"))
            )
        self.owner, self.row = map(np.concatenate, zip(*where))
        numbers = ([column(piece, name) for piece in pieces] for name in ("cell", "doc", "members"))
        self.cell, self.docs, self.members = map(np.concatenate, numbers)
        self.alone = np.concatenate([piece["alone"].to_numpy() for piece in pieces])

    def _sorted(self, piece: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(chunk, row in it) of vectors that lie in the order of cells."""
        chunks = [unpacked(chunk) for chunk in piece["vector"].chunks]
        return self._places(chunks, np.arange(len(piece)))

    def _lying(self, held: Held, number: int, docs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of the vectors of one part."""
        found = list(held.lying(number)) if len(docs) else []
        rows = docs - held.corpus.parts[number].first
        at = np.searchsorted(held.rows(number), rows) if found and found[0][0] < 0 else rows
        return self._places([chunk for _, chunk in found], at)

    def _places(self, chunks: list[np.ndarray], at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


class Ordered:
    """The vectors of a lot in one order of its positions, a window of them at hand; a cell larger than that is fetched block by
    block."""

    def __init__(self, lot: Lot, order: np.ndarray):
        self.lot, self.order = lot, order
        self.window = np.empty((min(len(order), max(1, WINDOW_BYTES // (4 * lot.width))), lot.width), np.float32)
        self.low = self.high = 0

    def reach(self, low: int, high: int) -> None:
        """Have the places `low` to `high - 1` at hand, and as many behind them as there is room for, if there is enough for these."""
        if (low < self.low or high > self.high) and high - low <= len(self.window):
            self.low, self.high = low, min(low + len(self.window), len(self.order))
            self.lot.take(self.order[self.low : self.high], self.window)

    def take(self, at: np.ndarray) -> np.ndarray:
        """The vectors at these places of the order (ascending)."""
        if at[0] < self.low or at[-1] >= self.high:
            return self.lot.take(self.order[at])
        straight = at[-1] - at[0] + 1 == len(at)
        return self.window[at[0] - self.low : at[-1] + 1 - self.low] if straight else self.window[at - self.low]


def compare(task: Task) -> Receipt:
    """Pass `semantic`: one lot of cells."""
    given: Comparing = task.given
    lot, corpus = Lot(given, *given.lots[task.number]), given.vectors.corpus
    (lengths,) = corpus.measured(given.sign, lot.docs, "length")
    order = given.policy.order(corpus, lot.docs, lengths, lot.cell)
    cell, docs, members = lot.cell[order], lot.docs[order], lot.members[order]
    # Identical texts follow their leader; whoever stands for others that were compared with it alone has to stay.
    free = (docs < given.policy.limit) & lot.alone[order]
    vectors, keeper, score = Ordered(lot, order), np.arange(len(order)), np.full(len(order), np.nan)
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    for low, high in zip(starts.tolist(), [*starts[1:].tolist(), len(order)]):
        vectors.reach(low, high)
        _settle(vectors, (low, high), free, given.cosine, keeper, score)
    gone = np.flatnonzero(keeper != np.arange(len(keeper)))
    total = members.copy()
    np.add.at(total, keeper[gone], members[gone])
    changed = np.union1d(gone, keeper[gone]).astype(np.int64)
    changed = changed[np.argsort(docs[changed])]
    moved = {
        "doc": docs[changed],
        "keeper": docs[keeper[changed]],
        "score": score[changed],
        "members": total[keeper[changed]],
    }
    return task.put(blocks(**moved), {"rows": len(order), "held": int((~free).sum())})


def _settle(
    vectors: Ordered, cell: tuple[int, int], free: np.ndarray, cosine: float, keeper: np.ndarray, score: np.ndarray
) -> None:
    """Decide one cell, the places `cell` (first, behind the last) of the order, best keeper first; fills `keeper` and `score`."""
    from stages.dedup.semantic import vectors as math

    heads = np.zeros(0, np.int64)
    for low in range(*cell, math.BLOCK):
        block = np.arange(low, min(low + math.BLOCK, cell[1]))
        mine, found = math.Vectors.of(vectors.take(block)), math.Followers.none(len(block))
        for at in range(0, len(heads), math.BLOCK):
            leaders = math.Vectors.of(vectors.take(heads[at : at + math.BLOCK]))
            math.follow(leaders, at, mine, cosine, free[block], found)
        led = found.leader >= 0
        keeper[block[led]] = heads[found.leader[led]]
        math.follow_among(mine, cosine, free[block], found)
        among = (found.leader >= 0) & ~led
        keeper[block[among]] = block[found.leader[among]]
        score[block] = found.score
        heads = np.r_[heads, block[found.leader < 0]]
