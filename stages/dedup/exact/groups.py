"""Pass `exact`: documents of one normalised text, each group with its leader, the one the keep policy prefers.

Only leaders go on to the near-duplicate passes, so that a million identical documents cost a sort and nothing more.
Columns, sorted by `doc`: `doc`, `leader` (int64; the leader's own row has doc = leader) and `members` (int64, size of the
group). Documents of groups of one do not appear. A shard covers a range of the exact hash.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import between, blocks, column, lookup
from stages.dedup.corpus import Corpus
from stages.dedup.keep import Policy
from stages.dedup.passes import Task

MOST = 4 << 20
"""Documents per shard: 100 MB of hashes and numbers while a task sorts them."""


class Grouping(NamedTuple):
    """What a task needs: the corpus, its signatures, who stays, whether empty texts count as one text, and its hash range."""

    corpus: Corpus
    sign: Store
    policy: Policy
    merge_empty: bool
    low: int
    high: int


def run(task: Task) -> Receipt:
    """Group the documents whose hash lies in the task's range."""
    given: Grouping = task.given
    docs, first_half, second_half, lengths = _in_range(given)
    order = np.lexsort((second_half, first_half))
    a, b = first_half[order], second_half[order]
    same = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    group = np.r_[0, np.cumsum(~same)] if len(order) else np.zeros(0, np.int64)
    counts = np.bincount(group, minlength=1)
    twins = counts[group] > 1
    order, group = order[twins], group[twins]
    docs, lengths = docs[order], lengths[order]
    if not len(docs):
        empty = np.zeros(0, np.int64)
        return task.put(blocks(doc=empty, leader=empty, members=empty))
    best = given.policy.order(given.corpus, docs, lengths, group)
    docs, group = docs[best], group[best]
    leads = np.r_[True, group[1:] != group[:-1]]
    leader = docs[leads][np.cumsum(leads) - 1]
    by_doc = np.argsort(docs)
    return task.put(blocks(doc=docs[by_doc], leader=leader[by_doc], members=counts[group][by_doc]))


def _in_range(given: Grouping) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(docs, exact_a, exact_b, lengths) of the documents in range; null texts and, unless asked for, empty ones left out."""
    found: list[tuple[np.ndarray, ...]] = []
    for number, part in enumerate(given.corpus.parts):
        rows = given.sign.read(number)
        a, b, sizes, lengths = (column(rows, name) for name in ("exact_a", "exact_b", "size", "length"))
        taken = (a >= np.uint64(given.low)) & (a <= np.uint64(given.high)) & (sizes >= 0)
        if not given.merge_empty:
            taken &= (a != 0) | (b != 0)
        at = np.flatnonzero(taken)
        found.append((at + part.first, a[at], b[at], lengths[at]))
    return tuple(np.concatenate(column) for column in zip(*found)) if found else (np.zeros(0, np.int64),) * 4  # type: ignore[return-value]


class Twins:
    """The groups as later passes read them."""

    def __init__(self, store: Store):
        self.shards = [store.read(number) for number in store.shards()]

    def of(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(doc, leader, members) of the twins among the documents `first` to `last - 1`, by doc."""
        pieces = [between(shard, "doc", first, last - 1, "doc", "leader", "members") for shard in self.shards]
        docs, leaders, members = (
            (np.concatenate(held) for held in zip(*pieces)) if pieces else (np.zeros(0, np.int64),) * 3
        )
        order = np.argsort(docs)
        return docs[order], leaders[order], members[order]

    def members(self, docs: np.ndarray) -> np.ndarray:
        """Size of the exact group of each document; 1 for one without twins."""
        found = np.ones(len(docs), np.int64)
        for shard in self.shards:
            places, sizes = lookup(shard, "doc", docs, "members")
            found[places] = sizes
        return found
