"""Pass `cluster`: the components of all edges, cut into tasks for `verify`.

One task joins the forests of every range: three arrays of four bytes per document and one per member, edges streamed.
Columns, sorted by component, then document: `doc`, `component` (its smallest document) and `lot` (number of the verify task;
int64 all). A lot is consecutive components of about so many bytes of text; a component that is larger is a lot of its own.

What one task may not hold is spread over ranges of documents (`components.py`): then the same rows lie in several shards, one
behind the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import COLUMNS, Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import BLOCK, between, blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.passes import STAGE, Task

if TYPE_CHECKING:
    from stages.dedup.near.union_find import Trees

BYTES = 64 << 20
"""Text per verify task, of which it holds a piece at a time."""
DOCS = 1 << 17
"""Documents per verify task, for corpora of short texts."""
LOTS = 2048
"""Above this many tasks they grow instead, so that the number of files read back stays small."""


class Lots(NamedTuple):
    """The lots, and where they lie."""

    store: Store
    held: tuple[tuple[int, int], ...] = ()
    """(first lot, one behind the last) of each shard. A lot that reaches over several begins in the first of them."""

    @classmethod
    def of(cls, store: Store, receipts: list[Receipt]) -> Lots:
        return cls(store, tuple((receipt.notes.get("first", 0), receipt.notes["lots"]) for receipt in receipts))

    @property
    def count(self) -> int:
        return max((end for _, end in self.held), default=0)

    def members(self, lot: int) -> tuple[np.ndarray, np.ndarray]:
        """(documents, components) of a lot, by component, then document."""
        shards = [number for number, (first, end) in enumerate(self.held) if first <= lot < end]
        docs, components = zip(
            *(between(self.store.read(number), "lot", lot, lot, "doc", "component") for number in shards)
        )
        return np.concatenate(docs), np.concatenate(components)


class Joining(NamedTuple):
    """What the task needs: the corpus, its signatures and the edges."""

    corpus: Corpus
    sign: Store
    link: Store


def run(task: Task) -> Receipt:
    """Write every component of two documents and more."""
    from stages.dedup.near import union_find as components

    given: Joining = task.given
    parent = components.forest(given.corpus.rows)
    for number in given.link.shards():
        edges = given.link.read(number)
        components.join_all(parent, column(edges, "left"), column(edges, "right"))
    sizes = (column(given.sign.read(number), "size") for number in range(len(given.corpus.parts)))
    trees = components.gathered(parent, sizes, BYTES, DOCS, LOTS)
    notes = {"components": trees.trees, "documents": len(trees.members), "lots": trees.lot_count}
    if not len(trees.members):
        nothing = np.zeros(0, np.int64)
        return task.put(blocks(doc=nothing, component=nothing, lot=nothing), notes)
    return task.sink.put(task.number, _batches(trees), COLUMNS.empty_table(), key=task.key, stage=STAGE, notes=notes)


def _batches(trees: Trees) -> Iterator[pa.RecordBatch]:
    """The columns, a block at a time: none of them is ever whole in memory."""
    for first in range(0, len(trees.members), BLOCK):
        docs = trees.members[first : first + BLOCK].astype(np.int64)
        component = trees.parent[docs].astype(np.int64)
        yield from blocks(doc=docs, component=component, lot=trees.lots[component].astype(np.int64)).to_batches()
