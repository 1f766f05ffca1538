"""Pass `cluster`: the connected components of all edges, in partitions for the tasks of `near`.

One task joins the forests of every range: three arrays of four bytes per document and one per member, edges streamed.
Columns, sorted by component, then document: `doc`, `component` (its smallest document) and `partition` (number
of the task; int64 all). A partition is consecutive components of about so many bytes of text; a larger component is alone.

What one task may not hold is spread over ranges of documents (`components.py`): then the same rows lie in several shards, one
behind the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import BLOCK, between, blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.passes import STAGE, PassTask

if TYPE_CHECKING:
    from stages.dedup.near.union_find import Trees

BYTES = 64 << 20
"""Text per partition, of which a task it holds a piece at a time."""
DOCS = 1 << 17
"""Documents per partition, for corpora of short texts."""
PARTITIONS = 2048
"""Above this many partitions they grow instead, so that the number of files read back stays small."""


class Partitions(NamedTuple):
    """The partitions, and where they lie."""

    store: Store
    held: tuple[tuple[int, int], ...] = ()
    """(first partition, one behind the last) of each shard. One that reaches over several begins in the first of them."""

    @classmethod
    def of(cls, store: Store, receipts: list[Receipt]) -> Partitions:
        return cls(store, tuple((receipt.notes.get("first", 0), receipt.notes["partitions"]) for receipt in receipts))

    @property
    def count(self) -> int:
        return max((end for _, end in self.held), default=0)

    def members(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(documents, components) of a partition, by component, then document."""
        shards = [shard for shard, (first, end) in enumerate(self.held) if first <= number < end]
        docs, components = zip(
            *(between(self.store.read(shard), "partition", number, number, "doc", "component") for shard in shards)
        )
        return np.concatenate(docs), np.concatenate(components)


class Graph(NamedTuple):
    """The corpus, the sizes of its texts (pass `measures`) and the edges between its documents (pass `link`)."""

    corpus: Corpus
    measures: Store
    edges: Store


def find_components(task: PassTask) -> Receipt:
    """Write every component of two documents and more."""
    from stages.dedup.near import union_find

    graph: Graph = task.given
    parent = union_find.forest(graph.corpus.rows)
    for number in graph.edges.shards():
        edges = graph.edges.read(number)
        union_find.join_all(parent, column(edges, "left"), column(edges, "right"))
    sizes = (column(graph.measures.read(number), "size") for number in graph.corpus.parts)
    trees = union_find.gathered(parent, sizes, BYTES, DOCS, PARTITIONS)
    notes = {"components": trees.trees, "documents": len(trees.members), "partitions": trees.count}
    if not len(trees.members):
        nothing = np.zeros(0, np.int64)
        return task.put(blocks(doc=nothing, component=nothing, partition=nothing), notes)
    return task.sink.put(task.number, _batches(trees), None, key=task.key, stage=STAGE, notes=notes)


def _batches(trees: Trees) -> Iterator[pa.RecordBatch]:
    """The columns, a block at a time: none of them is ever whole in memory."""
    for first in range(0, len(trees.members), BLOCK):
        docs = trees.members[first : first + BLOCK].astype(np.int64)
        component = trees.parent[docs].astype(np.int64)
        yield from blocks(
            doc=docs, component=component, partition=trees.partitions[component].astype(np.int64)
        ).to_batches()
