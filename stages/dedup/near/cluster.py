"""Pass `cluster`: the connected components of all edges, in partitions for the tasks of `near`.

One task joins the forests of every range: three arrays of four bytes per document and one per member, edges streamed.
Columns, sorted by component, then document, in a piece for each partition: `doc` and `component` (its smallest document; int64). A
partition is consecutive components of about so many bytes of text; a larger component is alone.

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
from stages.dedup.columns import BLOCK, blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.passes import PassTask, piece

if TYPE_CHECKING:
    from stages.dedup.near.union_find import Trees

SCHEMA = pa.schema({name: pa.large_list(pa.int64()) for name in ("doc", "component")})
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
        found = [piece(self.store, shard, number) for shard in shards]
        docs, components = (np.concatenate([column(rows, name) for rows in found]) for name in ("doc", "component"))
        return docs, components


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
    return task.put_pieces(SCHEMA, _pieces(trees), notes)


def _pieces(trees: Trees) -> Iterator[tuple[int, pa.Table]]:
    """The columns, a block at a time: none of them is ever whole in memory."""
    for first in range(0, len(trees.members), BLOCK):
        docs = trees.members[first : first + BLOCK].astype(np.int64)
        component = trees.parent[docs].astype(np.int64)
        yield from by_partition(docs, component, trees.partitions[component])


def by_partition(docs: np.ndarray, components: np.ndarray, partitions: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """(partition, rows) of documents in the order of partitions."""
    starts = np.flatnonzero(np.r_[True, partitions[1:] != partitions[:-1]][: len(docs)])
    for low, high in zip(starts.tolist(), [*starts[1:].tolist(), len(docs)]):
        yield int(partitions[low]), blocks(doc=docs[low:high], component=components[low:high])
