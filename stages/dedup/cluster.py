"""Pass `cluster`: the components of all edges, cut into tasks for `verify`.

One task joins the forests of every range: an array of one number per document, edges streamed. Columns, sorted by
component, then document: `doc`, `component` (its smallest document) and `lot` (number of the verify task; int64 all). A lot
is consecutive components of about so many bytes of text; a component that is larger is a lot of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.ledger import Receipt
from pipeline.store import Store
from stages.dedup.columns import blocks, column
from stages.dedup.corpus import Corpus
from stages.dedup.passes import Task

BYTES = 64 << 20
"""Text per verify task, of which it holds a piece at a time."""
DOCS = 1 << 17
"""Documents per verify task, for corpora of short texts."""
LOTS = 2048
"""Above this many tasks they grow instead, so that the number of files read back stays small."""


class Joining(NamedTuple):
    """What the task needs: the corpus, its signatures and the edges."""

    corpus: Corpus
    sign: Store
    link: Store


def run(task: Task) -> Receipt:
    """Write every component of two documents and more."""
    from stages.text import components

    given: Joining = task.given
    parent = components.forest(given.corpus.rows)
    for number in given.link.shards():
        edges = given.link.read(number)
        components.join_all(parent, column(edges, "left"), column(edges, "right"))
    members, bounds = components.groups(parent)
    (sizes,) = given.corpus.measured(given.sign, members, "size")
    lots = lots_of(sizes, bounds, max(BYTES, int(sizes.sum()) // LOTS), max(DOCS, len(sizes) // LOTS))
    return task.put(
        blocks(doc=members, component=np.repeat(members[bounds[:-1]], np.diff(bounds)), lot=np.repeat(lots, np.diff(bounds))),
        {"components": int(len(bounds) - 1), "documents": int(len(members)), "lots": int(lots[-1] + 1) if len(lots) else 0},
    )


def lots_of(sizes: np.ndarray, bounds: np.ndarray, most_bytes: int, most_docs: int) -> np.ndarray:
    """Number of the verify task of each component: consecutive ones, up to `most_bytes` of text or `most_docs`."""
    weights = np.add.reduceat(sizes, bounds[:-1]) if len(bounds) > 1 else np.zeros(0, np.int64)
    lots = np.zeros(len(weights), np.int64)
    lot = held_bytes = held_docs = 0
    for index, (weight, docs) in enumerate(zip(weights.tolist(), np.diff(bounds).tolist())):
        if held_docs and (held_bytes + weight > most_bytes or held_docs + docs > most_docs):
            lot, held_bytes, held_docs = lot + 1, 0, 0
        lots[index], held_bytes, held_docs = lot, held_bytes + weight, held_docs + docs
    return lots
