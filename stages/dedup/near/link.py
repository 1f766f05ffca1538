"""Passes `met` and `link`: documents that share a bucket and may match, as the edges of a spanning forest.

    met-requests     buckets of two documents and more; asks for signatures    one task a range of keys
    met-answers   the signatures                                            one task some parts
    link          edges                                                     one task a range of keys

Pairs whose estimate allows a match are joined in small buckets, a star in large ones. Columns of `buckets`, written beside `met-requests`:
`doc` (int64), by bucket, and `opens` (uint8: is it the first of a bucket?); of `link`: `left`, `right` (int64).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import blocks, column, picked
from stages.dedup.corpus import Corpus
from stages.dedup.exchange.gather import Gather
from stages.dedup.exchange.ranges import Columns, Exchange
from stages.dedup.passes import PassTask
from stages.dedup.run import Run

MOST = 2 << 20
"""Keys per task: 34 MB while they are sorted, and at worst 1 GB of signatures of 128 values when all of them meet in small buckets."""


class Linking(NamedTuple):
    """What a task carries: the run, the keys by range, and whom to ask for signatures."""

    run: Run
    keys: Exchange
    signatures: Gather


def meet(task: PassTask) -> Receipt:
    """Find the buckets of a range of keys, and ask for the signatures of the documents in small ones."""
    from stages.dedup.near.sorting import sorted_pairs

    given: Linking = task.given
    found = given.keys.read(task.number)
    keys, docs = sorted_pairs(found["key"], found["doc"])
    opens = np.r_[True, keys[1:] != keys[:-1]][: len(keys)]
    sizes = np.diff(np.r_[np.flatnonzero(opens), len(keys)])
    met = np.repeat(sizes > 1, sizes)
    docs, opens, sizes = docs[met], opens[met], sizes[sizes > 1]
    PassTask(given.run.store("buckets"), task.number, task.key, None).put(
        blocks(doc=docs, opens=opens.astype(np.uint8))
    )
    known, _, compared = _numbered(docs, sizes)
    return given.signatures.ask(task, known[:compared])


def write_edges(task: PassTask) -> Receipt:
    """Join the documents that meet under the task's keys."""
    from stages.dedup.near.representatives import link_buckets

    given: Linking = task.given
    run, rows = given.run, given.run.store("buckets").read(task.number)
    docs = column(rows, "doc")
    sizes = np.diff(np.r_[np.flatnonzero(column(rows, "opens")), len(docs)])
    notes = {"buckets": len(sizes), "largest_bucket": {str(task.number): int(sizes.max(initial=0))}}
    known, positions, compared = _numbered(docs, sizes)
    starts = np.r_[0, np.cumsum(sizes)].astype(np.int64)
    values = unpacked(given.signatures.read(task.number)["values"], run.banding.permutations)
    left, right = link_buckets(starts, positions, values, run.banding, run.stage.threshold, run.contained, len(known))
    return task.put(blocks(left=known[left], right=known[right]), notes)


def _numbered(docs: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(documents, position of each entry in them, how many are compared): those of small buckets first, ascending.

    Documents met in stars alone need no signature: a bucket of millions costs sixteen bytes a document.
    """
    from stages.dedup.near.representatives import WIDEST

    known, positions = np.unique(docs, return_inverse=True)
    compared = np.zeros(len(known), bool)
    compared[positions[np.repeat(sizes <= WIDEST, sizes)]] = True
    order = np.argsort(~compared, kind="stable")
    back = np.empty(len(known), np.int64)
    back[order] = np.arange(len(known))
    return known[order], back[positions], int(compared.sum())


def fetch(run: Run, _: int, docs: np.ndarray) -> tuple[np.ndarray, Columns]:
    """The signatures of some documents (ascending), for `Gather`."""
    return np.arange(len(docs)), {
        "values": packed(signatures(run.corpus, run.signatures, docs, run.banding.permutations))
    }


def packed(values: np.ndarray) -> np.ndarray:
    """Signatures (uint32, n x count) as words of `4 count` bytes each (dtype S)."""
    return np.ascontiguousarray(values).view(f"S{4 * values.shape[1]}").reshape(len(values))


def unpacked(words: np.ndarray, count: int) -> np.ndarray:
    """What was packed."""
    return words.view(np.uint32).reshape(len(words), count)


def signatures(corpus: Corpus, store: Store, docs: np.ndarray, count: int) -> np.ndarray:
    """The first `count` values of the signatures (pass `minhash`) of the documents `docs` (ascending), uint32 (n, count)."""
    owner = corpus.owners(docs)
    found = [
        picked(store.read(int(number)), "values", docs[owner == number] - corpus.parts[number].first, count)
        for number in np.unique(owner)
    ]
    return found[0] if len(found) == 1 else np.concatenate([np.zeros((0, count), np.uint32), *found])
