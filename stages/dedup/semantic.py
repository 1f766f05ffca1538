"""Passes of the level `semantic`: rows that say the same in other words, by the cosine of their vectors.

    standing    which rows the earlier levels left                         one task a part
    vectors     a vector for each of them                                  one task a part
    centroids   spherical k-means over a sample                            one task
    cells       the vectors in the order of their nearest centroid         one task a part
    semantic    who goes, cell by cell                                     one task a lot of cells

This is SemDeDup (Abbas et al. 2023): pairs are compared within a k-means cell only. Here each row that goes reaches the
threshold with its own keeper, the first of the cell in the order of the keep policy that it matches, and the ledger names
both and the exact cosine. The vectors come from a local encoder or from a column. What is decided follows from the vectors
alone: `stages/text/vectors.py` says how. Rows without a vector (null, empty, of length 0 or not finite) stay.

`standing`: `row` (int64, in the part). `vectors`: `row`, `vector` (float32 of fixed width); their key is the part's content, the
standing rows and where vectors come from, so that other thresholds, levels and further crawls encode nothing again. `cells`,
sorted by `cell`: `cell`, `doc`, `members` (int64), `alone` (does it stand for identical texts at most?), `vector`. `semantic`:
columns as in `stages/dedup/later.py`.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Sequence

import numpy as np
import pyarrow as pa

from pipeline.errors import WorkError
from pipeline.ledger import Receipt
from pipeline.options import digest
from pipeline.store import Store
from stages.dedup.apply import Applying, fate_of
from stages.dedup.columns import blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.exact import Twins
from stages.dedup.fields import text_of
from stages.dedup.keep import Policy
from stages.dedup.passes import Task

SAMPLE_BYTES = 256 << 20
"""Vectors k-means is trained on, in one task: 175,000 of 384 numbers."""
PER_CELL = (39, 256)
"""Fewest and most points a centroid is trained on (faiss warns below and samples above these)."""
ROUNDS = 20
"""k-means rounds at most; faiss takes 25 by default and 10 is its usual advice."""
CELL = 1024
"""Rows a cell, where the number of cells is not given: a cell of 1,024 costs one product of half a million pairs."""
LOT_BYTES = 64 << 20
"""Vectors per task of `semantic`; of a larger cell it holds a few blocks at a time."""

ONE_MODEL = "give a column that holds the vectors of one model"


class Embedding(NamedTuple):
    """What a `vectors` task needs; `column` or `encoder` says where vectors come from."""

    corpus: Corpus
    standing: Store
    fields: tuple[str, ...]
    shape: str
    column: str | None
    encoder: str | None

    def key(self, number: int, model: str) -> str:
        """Key of the vectors of part `number`; `model` identifies the encoder."""
        source = [self.column, model, list(self.fields), self.shape]
        given = {"input": self.corpus.parts[number].content, "rows": self.standing.hashes()[number]}
        return digest({"pass": "vectors", "version": 1, "of": source, **given})


class Clustering(NamedTuple):
    """What a `centroids` task needs: the vectors, and how many cells (null: by their number)."""

    vectors: Store
    cells: int | None


class Placing(NamedTuple):
    """What a `cells` task needs."""

    applying: Applying
    vectors: Store
    centroids: Store


class Comparing(NamedTuple):
    """What a `semantic` task needs; `lots` is (first, last cell) per task."""

    corpus: Corpus
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


def embed(task: Task) -> Receipt:
    """Pass `vectors`: one part. WorkError where its vectors are of several widths."""
    given: Embedding = task.given
    standing = column(given.standing.read(task.number), "row")
    at = 0
    pieces: list[pa.RecordBatch] = []
    for batch in given.corpus.batches(task.number):
        rows = standing[slice(*np.searchsorted(standing, (at, at + len(batch))))] - at
        found, rows = _vectors(batch.take(pa.array(rows)), rows, given) if len(rows) else (None, rows)
        if len(rows):
            pieces.append(_packed(found, row=rows + at))
        at += len(batch)
    widths = {piece.schema.field("vector").type.byte_width // 4 for piece in pieces}
    if len(widths) > 1:
        raise WorkError(f"dedup: vectors of {' and '.join(map(str, sorted(widths)))} numbers in one shard", ONE_MODEL)
    made = sum(map(len, pieces))
    pieces = pieces or [_packed(np.zeros((0, 1), np.float32), row=standing[:0])]
    return task.put(pa.Table.from_batches(pieces), {"vectors": made, "without": len(standing) - made})


def _vectors(batch: pa.RecordBatch, rows: np.ndarray, given: Embedding) -> tuple[np.ndarray, np.ndarray]:
    """(float32 vectors, rows) of those rows of `batch` that have one; `rows` are their numbers."""
    from stages.text.vectors import lengths

    if given.column is not None:
        found, has = _given_vectors(batch.column(given.column), given.column)
    else:
        texts = text_of(batch, given.fields, given.shape)
        has = np.array([bool(text and not text.isspace()) for text in texts.to_pylist()], bool)
        found = _encoder(given.encoder or "").embed([text for text, good in zip(texts.to_pylist(), has) if good])
    rows = rows[has]
    sizes = lengths(found)
    good = np.isfinite(sizes) & (sizes > 0)
    return found[good], rows[good]


def _encoder(folder: str):
    from stages.models.embedder import opened

    return opened(folder)


def _given_vectors(values: pa.Array, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(float32 (n, d), which rows) of a column of lists of numbers. WorkError where they differ in length."""
    has = values.is_valid().to_numpy(zero_copy_only=False)
    values = values.filter(pa.array(has))
    if not len(values):
        return np.zeros((0, 1), np.float32), has
    flat = values.flatten().cast(pa.float32(), safe=False).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    if len(flat) % len(values) or (not pa.types.is_fixed_size_list(values.type) and len(values.value_lengths().unique()) != 1):
        raise WorkError(f"dedup: the vectors in {name!r} are of several lengths", ONE_MODEL)
    return np.ascontiguousarray(flat.reshape(len(values), -1)), has


def _packed(vectors: np.ndarray, **columns: np.ndarray) -> pa.RecordBatch:
    kind = pa.binary(4 * vectors.shape[1])
    data = pa.py_buffer(np.ascontiguousarray(vectors, np.float32))
    packed = pa.FixedSizeBinaryArray.from_buffers(kind, len(vectors), [None, data])
    return pa.record_batch({**{name: pa.array(values) for name, values in columns.items()}, "vector": packed})


def unpacked(values: pa.Array) -> np.ndarray:
    """The vectors of a chunk, where they lie: float32 (n, d)."""
    width = values.type.byte_width // 4
    return np.frombuffer(values.buffers()[1], np.float32)[values.offset * width : (values.offset + len(values)) * width].reshape(-1, width)


# -- centroids and cells ---------------------------------------------------------------------------------------------------


def cluster(task: Task) -> Receipt:
    """Pass `centroids`: k-means over the sample that a hash of the vectors picks, the same for any layout."""
    from stages.text import vectors as math

    given: Clustering = task.given
    total = sum(receipt.notes["vectors"] for receipt in given.vectors.receipts().values())
    chunks = [unpacked(chunk) for number in given.vectors.shards() for chunk in given.vectors.read(number)["vector"].chunks if len(chunk)]
    widths = {chunk.shape[1] for chunk in chunks}
    if len(widths) > 1:
        raise WorkError(f"dedup: vectors of {' and '.join(map(str, sorted(widths)))} numbers", ONE_MODEL)
    width = widths.pop() if widths else 1
    cells = given.cells or max(1, round(total / CELL))
    most = max(1, SAMPLE_BYTES // (4 * width))
    sample = _sample(chunks, min(most, cells * PER_CELL[1]), width)
    cells = min(cells, max(1, len(sample) // PER_CELL[0]) if given.cells is None else max(1, len(sample)))
    found = math.kmeans(math.whole(sample), cells, ROUNDS) if cells > 1 else math.whole(sample[:1])
    return task.put(pa.Table.from_batches([_packed(found, cell=np.arange(len(found)))]), {"cells": len(found), "trained_on": len(sample)})


def _sample(chunks: list[np.ndarray], most: int, width: int) -> np.ndarray:
    """The `most` distinct vectors of least hash, by it."""
    from stages.text.vectors import mixed

    held, keys = np.zeros((0, width), np.float32), np.zeros(0, np.uint64)
    limit = None
    for low in range(0, len(chunks), 64):
        fresh = [chunk for chunk in chunks[low : low + 64]]
        marks = [mixed(chunk) for chunk in fresh]
        if limit is not None:
            fresh, marks = zip(*((chunk[mark < limit], mark[mark < limit]) for chunk, mark in zip(fresh, marks)))
        keys, first = np.unique(np.concatenate([keys, *marks]), return_index=True)
        keys, first = keys[:most], first[:most]
        held = np.concatenate([held, *fresh])[first]
        limit = keys[-1] if len(keys) == most else None
    return held


def place(task: Task) -> Receipt:
    """Pass `cells`: the vectors of one part by their nearest centroid; notes how many there are in each cell."""
    from stages.text import vectors as math

    given: Placing = task.given
    centroids = np.concatenate([unpacked(chunk) for chunk in given.centroids.read(0)["vector"].chunks])
    rows = given.vectors.read(task.number)
    cells = [math.nearest(math.whole(unpacked(chunk)), centroids) for chunk in rows["vector"].chunks if len(chunk)]
    cell = np.concatenate(cells) if cells else np.zeros(0, np.int64)
    order = np.argsort(cell, kind="stable")
    numbers, counts = np.unique(cell, return_counts=True)
    part = given.applying.corpus.parts[task.number]
    docs = column(rows, "row")[order] + part.first
    members = fate_of(given.applying, part.first, part.rows).members[docs - part.first]
    columns = {"cell": cell[order], "doc": docs, "members": members, "alone": members == Twins(given.applying.exact).members(docs)}
    sorted_vectors = rows["vector"].take(pa.array(order))
    table = pa.table({**{name: pa.array(values) for name, values in columns.items()}, "vector": sorted_vectors})
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


class Rows:
    """The vectors of a lot where they lie, by position (a mapped piece of each part), and what is known of them."""

    def __init__(self, cells: Store, first: int, last: int):
        pieces = []
        for number in cells.shards():
            rows = cells.read(number)
            low, high = np.searchsorted(column(rows, "cell"), (first, last + 1))
            pieces.append(rows.slice(low, high - low))
        self.chunks = [unpacked(chunk) for piece in pieces for chunk in piece["vector"].chunks if len(chunk)]
        self.bounds = np.cumsum([0, *map(len, self.chunks)])
        numbers = ([column(piece, name) for piece in pieces] for name in ("cell", "doc", "members"))
        self.cell, self.docs, self.members = map(np.concatenate, numbers)
        self.alone = np.concatenate([piece["alone"].to_numpy() for piece in pieces])

    def take(self, at: np.ndarray) -> np.ndarray:
        """float32 vectors of the positions `at` (any order)."""
        found = np.empty((len(at), self.chunks[0].shape[1]), np.float32)
        owner = np.searchsorted(self.bounds, at, side="right") - 1
        for number in np.unique(owner):
            here = owner == number
            found[here] = self.chunks[number][at[here] - self.bounds[number]]
        return found


def compare(task: Task) -> Receipt:
    """Pass `semantic`: one lot of cells."""
    given: Comparing = task.given
    rows = Rows(given.cells, *given.lots[task.number])
    (lengths,) = given.corpus.measured(given.sign, rows.docs, "length")
    order = given.policy.order(given.corpus, rows.docs, lengths, rows.cell)
    # Identical texts follow their leader; whoever stands for others that were compared with it alone has to stay.
    free = (rows.docs < given.policy.limit) & rows.alone
    keeper, score = np.arange(len(order)), np.full(len(order), np.nan)
    starts = np.flatnonzero(np.r_[True, rows.cell[order][1:] != rows.cell[order][:-1]])
    for low, high in zip(starts, np.r_[starts[1:], len(order)]):
        _settle(rows, order[low:high], free, given.cosine, keeper, score)
    gone = np.flatnonzero(keeper != np.arange(len(keeper)))
    total = rows.members.copy()
    np.add.at(total, keeper[gone], rows.members[gone])
    changed = np.union1d(gone, keeper[gone]).astype(np.int64)
    changed = changed[np.argsort(rows.docs[changed])]
    moved = {"doc": rows.docs[changed], "keeper": rows.docs[keeper[changed]], "score": score[changed], "members": total[keeper[changed]]}
    return task.put(blocks(**moved), {"rows": len(order), "held": int((~free).sum())})


def _settle(rows: Rows, order: np.ndarray, free: np.ndarray, cosine: float, keeper: np.ndarray, score: np.ndarray) -> None:
    """Decide one cell, whose positions `order` come best keeper first; fills `keeper` (positions) and `score`."""
    from stages.text import vectors as math

    least = math.floor(cosine, rows.chunks[0].shape[1])
    heads = np.zeros(0, np.int64)
    for low in range(0, len(order), math.BLOCK):
        block = order[low : low + math.BLOCK]
        mine = rows.take(block)
        whole = math.whole(mine)
        for other, theirs in _pieces(rows, heads):
            waiting = np.flatnonzero(free[block] & (keeper[block] == block))
            left, right = np.nonzero(whole[waiting] @ math.whole(theirs).T >= least)
            alike = math.cosines(mine, theirs, waiting[left], right)
            true = alike >= cosine
            # Pairs come row by row, keepers in their order: the first of each row is the one preferred.
            hit, first = np.unique(left[true], return_index=True)
            keeper[block[waiting[hit]]] = other[right[true][first]]
            score[block[waiting[hit]]] = alike[true][first]
        _among(block, mine, whole @ whole.T >= least, free, cosine, keeper, score)
        heads = np.r_[heads, block[keeper[block] == block]]


def _pieces(rows: Rows, heads: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from stages.text.vectors import BLOCK

    for low in range(0, len(heads), BLOCK):
        yield heads[low : low + BLOCK], rows.take(heads[low : low + BLOCK])


def _among(
    block: np.ndarray, mine: np.ndarray, near: np.ndarray, free: np.ndarray, cosine: float, keeper: np.ndarray, score: np.ndarray
) -> None:
    """Decide those of a block that no earlier keeper matched, among themselves; `near` are the pairs nominated."""
    from stages.text.vectors import cosines

    waiting = keeper[block] == block
    for place in np.flatnonzero(np.triu(near, 1).any(axis=1)):
        if not waiting[place]:
            continue
        others = place + 1 + np.flatnonzero(near[place, place + 1 :] & waiting[place + 1 :] & free[block[place + 1 :]])
        alike = cosines(mine, mine, np.full(len(others), place), others)
        true = alike >= cosine
        keeper[block[others[true]]], score[block[others[true]]] = block[place], alike[true]
        waiting[others[true]] = False
