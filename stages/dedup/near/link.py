"""Pass `link`: documents that share a bucket and may match, as the edges of a spanning forest.

A task reads one range of keys from every sorted list, finds the buckets of two documents and more, and joins their
documents: pairs whose estimate allows a match in small buckets, a star in large ones. Columns: `left`, `right` (int64).
"""

from __future__ import annotations

import numpy as np

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import blocks, column, picked
from stages.dedup.corpus import Corpus
from stages.dedup.near.band import groups
from stages.dedup.passes import PassTask, piece
from stages.dedup.run import Run

MOST = 2 << 20
"""Keys per task: 34 MB while they are sorted, and at worst 1 GB of signatures of 128 values when all of them meet in small buckets."""


def write_edges(task: PassTask) -> Receipt:
    """Join the documents that meet under the task's keys."""
    from stages.dedup.near.representatives import link_buckets
    from stages.dedup.near.sorting import sorted_pairs

    run: Run = task.given
    keys, docs = _in_range(run, task.number)
    keys, docs = sorted_pairs(keys, docs)
    new = np.r_[True, keys[1:] != keys[:-1]] if len(keys) else np.zeros(0, bool)
    bucket = np.cumsum(new) - 1
    sizes = np.bincount(bucket, minlength=1) if len(bucket) else np.zeros(1, np.int64)
    met = sizes[bucket] > 1 if len(bucket) else np.zeros(0, bool)
    docs, sizes = docs[met], sizes[sizes > 1]
    notes = {
        "keys": int(len(keys)),
        "buckets": int(len(sizes)),
        "largest_bucket": {str(task.number): int(sizes.max(initial=0))},
    }
    known, positions, compared = _numbered(docs, sizes)
    starts = np.r_[0, np.cumsum(sizes)].astype(np.int64)
    values = signatures(run.corpus, run.signatures, known[:compared], run.banding.permutations)
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


def _in_range(run: Run, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(keys, documents) of a range."""
    keys, docs = [], []
    for at, group in enumerate(groups(run)):
        rows = piece(run.store("band"), at, number)
        keys.append(column(rows, "key"))
        docs.append(column(rows, "row").astype(np.int64) + run.corpus.parts[group[0]].first)
    return np.concatenate(keys), np.concatenate(docs)


def signatures(corpus: Corpus, store: Store, docs: np.ndarray, count: int) -> np.ndarray:
    """The first `count` values of the signatures (pass `minhash`) of the documents `docs` (ascending), uint32 (n, count)."""
    owner = corpus.owners(docs)
    found = [
        picked(store.read(int(number)), "values", docs[owner == number] - corpus.parts[number].first, count)
        for number in np.unique(owner)
    ]
    return found[0] if len(found) == 1 else np.concatenate([np.zeros((0, count), np.uint32), *found])
