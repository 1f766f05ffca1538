"""Level `semantic`: rows that say the same in other words, by the cosine of their vectors.

    survivors   rows that the earlier levels left                                    one task a part
    vectors     a vector for each of them (stages/dedup/semantic/embedding.py)       one task a part
    centroids   spherical k-means over a sample                                      one task
    cells       their rows in the order of the nearest centroid                      one task a part
    sent        the vectors, to the partitions of cells, where they are many         one task a part
    semantic    who goes, cell by cell                                               one task a partition of cells

This is SemDeDup (Abbas et al. 2023): pairs are compared within a k-means cell only. Here each row that goes reaches the
threshold with its own representative, the first of the cell in the order of the keep policy that it matches, and the ledger
names both and the exact cosine. The vectors come from a local encoder or from a column. What is decided follows from the
vectors alone: `stages/dedup/semantic/vectors.py` says how. Rows without a vector (null, empty, of length 0 or not finite) stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.engine.pool import Pool
from pipeline.engine.stage import versions
from pipeline.options import digest, known_hash
from pipeline.storage.ledger import Receipt
from stages.dedup.columns import blocks
from stages.dedup.decisions import SEMANTIC, consolidate, put_rows
from stages.dedup.exchange.ranges import Exchange
from stages.dedup.passes import PassTask, make
from stages.dedup.run import Run
from stages.dedup.semantic import clustering
from stages.dedup.semantic.clustering import Clustering, Partition, Window
from stages.dedup.semantic.embedding import Embedding, Held, embed, unpacked

SCRATCH = ("cells", "sent", "decided-semantic")
NOTED = ("vectors", "centroids", "semantic")
LIBRARIES = ("torch", "transformers", "tokenizers")


class Comparing(NamedTuple):
    """What a `semantic` task carries: the run, its vectors, the first and last cell, and what was sent to it, where vectors are sent."""

    run: Run
    vectors: Held
    first: int
    last: int
    sent: Exchange | None

    def partition(self, number: int) -> Partition:
        """The rows that the task of this number compares."""
        if self.sent is not None:
            return Partition.sent(self.sent.read(number), self.run.policy.reads)
        return Partition.lying(self.run, self.vectors, self.run.store("cells"), self.first, self.last)


def decide(run: Run, pool: Pool) -> None:
    """Embed what the earlier levels left, cut it into cells, and compare within each."""
    stage, vectors = run.stage, run.store("vectors")
    consolidate(run, pool, "semantic")
    run.make("survivors", find_survivors, run.of_parts(run), pool)

    embedding = Embedding(
        run.corpus, run.store("survivors"), run.minhash.fields, run.minhash.shape, stage.vectors, stage.encoder
    )
    model = digest([known_hash(Path(stage.encoder)), versions(LIBRARIES)]) if stage.encoder else ""
    keys = {number: embedding.key(number, model) for number in run.corpus.parts}
    embedded = make(vectors, embed, keys, lambda number: embedding, pool)
    if not any(receipt.notes["vectors"] for receipt in embedded):
        run.make("semantic", compare, [], pool)
        return

    given = Clustering(run, Held(run.corpus, vectors, stage.vectors))
    run.make("centroids", clustering.train, [given], pool)
    width = 4 * unpacked(run.store("centroids").read(0)["vector"].chunks[0]).shape[1]
    partitions = clustering.partitions_of(run.make("cells", clustering.assign, run.of_parts(given), pool), width)
    sent = None
    if not (given.vectors.local() and given.vectors.count() * width <= clustering.SCATTERED):
        parts = len(run.corpus.parts)
        sent = Exchange.of(run.store("sent"), parts, len(partitions))
        sending = clustering.Sending(run, given.vectors, np.array([first for first, _ in partitions], np.int64))
        run.make("sent", clustering.send, [sending] * parts, pool)
        sent.merge(run, pool)
    run.make("semantic", compare, [Comparing(run, given.vectors, *cells, sent) for cells in partitions], pool)


def find_survivors(task: PassTask) -> Receipt:
    """Pass `survivors`: the rows of one part that stay so far. Column: `row` (int64, in the part)."""
    run: Run = task.given
    return task.put(blocks(row=np.flatnonzero(run.decided(task.number, "semantic").kept)))


def compare(task: PassTask) -> Receipt:
    """Pass `semantic`: one partition of cells."""
    given: Comparing = task.given
    run = given.run
    partition = given.partition(task.number)
    order = run.policy.order(partition.docs, partition.marks, partition.cell)
    cell, docs, members = partition.cell[order], partition.docs[order], partition.members[order]
    # Identical texts go along; whoever represents others that were compared with it alone has to stay.
    free = (docs < run.policy.limit) & partition.alone[order]
    vectors, found, score = Window(partition, order), np.arange(len(order)), np.full(len(order), np.nan)
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    for low, high in zip(starts.tolist(), [*starts[1:].tolist(), len(order)]):
        vectors.reach(low, high)
        _choose(vectors, (low, high), free, run.stage.cosine, found, score)
    gone = np.flatnonzero(found != np.arange(len(found)))
    total = members.copy()
    np.add.at(total, found[gone], members[gone])
    changed = np.union1d(gone, found[gone]).astype(np.int64)
    to = found[changed]
    notes = {"rows": len(order), "held": int((~free).sum())}
    names = partition.marks["name"][order][to]
    return put_rows(task, run, SEMANTIC, docs[changed], docs[to], score[changed], total[to], names, notes)


def _choose(
    vectors: Window, cell: tuple[int, int], free: np.ndarray, cosine: float, found: np.ndarray, score: np.ndarray
) -> None:
    """Decide one cell, the positions `cell` (first, behind the last) of the order, the preferred first; fills `found`
    (positions of representatives) and `score`."""
    from stages.dedup.semantic import vectors as math

    heads = np.zeros(0, np.int64)
    for low in range(*cell, math.BLOCK):
        block = np.arange(low, min(low + math.BLOCK, cell[1]))
        mine, followers = math.Vectors.of(vectors.take(block)), math.Followers.none(len(block))
        for at in range(0, len(heads), math.BLOCK):
            leaders = math.Vectors.of(vectors.take(heads[at : at + math.BLOCK]))
            math.follow(leaders, at, mine, cosine, free[block], followers)
        led = followers.leader >= 0
        found[block[led]] = heads[followers.leader[led]]
        math.follow_among(mine, cosine, free[block], followers)
        among = (followers.leader >= 0) & ~led
        found[block[among]] = block[followers.leader[among]]
        score[block] = followers.score
        heads = np.r_[heads, block[followers.leader < 0]]
