"""Passes `address` and `url`: rows whose URLs, canonically spelt, are one; the keep policy says which of them stays.

`address` writes the key of every row's address; columns, sorted by `key`: `key`, `check` (uint64: the two halves of its
hash), `doc`, `keeper`, `members` (int64: what became of the row at the levels before). `url` reads one range of keys from all
of them and decides; columns as in `stages/dedup/later.py`. Rows without a URL are compared with nothing.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.apply import Applying, fate_of
from stages.dedup.columns import between, blocks
from stages.dedup.corpus import Corpus
from stages.dedup.keep import Policy
from stages.dedup.passes import Task
from stages.dedup.url.canonical import canonical

MOST = 2 << 20
"""Addresses per task of `url`: 80 MB while they are sorted."""


class Choosing(NamedTuple):
    """What a `url` task needs: the corpus, its signatures, the addresses, who stays, and its range of keys."""

    corpus: Corpus
    sign: Store
    address: Store
    policy: Policy
    low: int
    high: int


def find(task: Task) -> Receipt:
    """Pass `address`: the keys of one part."""
    given: Applying = task.given
    part = given.corpus.parts[task.number]
    fate = fate_of(given, part.first, part.rows)
    keys, docs = [], []
    for at, url in enumerate(
        url for batch in given.corpus.batches(task.number) for url in batch.column("url").to_pylist()
    ):
        if url and (spelt := canonical(url)):
            keys.append(hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).digest())
            docs.append(at)
    halves = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    rows = np.array(docs, np.int64)[order]
    columns = {"key": halves[order, 0], "check": halves[order, 1], "doc": rows + part.first}
    return task.put(blocks(**columns, keeper=fate.keeper[rows], members=fate.members[rows]), {"addresses": len(rows)})


def choose(task: Task) -> Receipt:
    """Pass `url`: which row of each address of the task's range stays."""
    given: Choosing = task.given
    names = ("key", "check", "doc", "keeper", "members")
    pieces = [
        between(given.address.read(number), "key", given.low, given.high, *names) for number in given.address.shards()
    ]
    key, check, docs, keeper, members = (np.concatenate(columns) for columns in zip(*pieces))
    order = np.lexsort((docs, check, key))
    key, check, docs, keeper, members = (column[order] for column in (key, check, docs, keeper, members))
    group = (
        np.cumsum(np.r_[True, (key[1:] != key[:-1]) | (check[1:] != check[:-1])]) - 1
        if len(key)
        else key.astype(np.int64)
    )
    moved = _settle(given, group, docs, keeper, members)
    return task.put(blocks(**moved.rows), {"pages": moved.pages, "held": moved.held})


class Moved(NamedTuple):
    """Whose fate changes; addresses of several standing rows, and rows that stand for others and therefore stay."""

    rows: dict[str, np.ndarray]
    pages: int
    held: int


def _settle(given: Choosing, group: np.ndarray, docs: np.ndarray, keeper: np.ndarray, members: np.ndarray) -> Moved:
    """Decide the groups (ascending; one address each) of these documents."""
    heads = np.flatnonzero(keeper == docs)
    heads = heads[np.bincount(group[heads], minlength=1)[group[heads]] > 1]
    if not len(heads):
        empty = np.zeros(0, np.int64)
        return Moved({"doc": empty, "keeper": empty, "score": np.zeros(0), "members": empty}, 0, 0)
    (lengths,) = given.corpus.measured(given.sign, docs[heads], "length")
    heads = heads[given.policy.order(given.corpus, docs[heads], lengths, group[heads])]
    leads = np.r_[True, group[heads][1:] != group[heads][:-1]]
    best = heads[leads][np.cumsum(leads) - 1]

    # Who of those a head stands for has its address: only they match its keeper directly.
    by_doc = np.argsort(docs[heads])
    known = docs[heads][by_doc]
    follower = np.flatnonzero(keeper != docs)
    place = np.minimum(np.searchsorted(known, keeper[follower]), len(known) - 1)
    near = known[place] == keeper[follower]
    follower, head = follower[near], by_doc[place[near]]
    same = group[follower] == group[heads[head]]
    follower, head = follower[same], head[same]
    here = 1 + np.bincount(head, minlength=len(heads))

    free = (members[heads] == here) & (docs[heads] < given.policy.limit) & ~leads
    gained = np.zeros(len(docs), np.int64)
    np.add.at(gained, best[free], members[heads[free]])
    total = members + gained
    taken = free[head]
    changed = np.r_[heads[free], follower[taken], np.unique(best[free])].astype(np.int64)
    to = np.r_[best[free], best[head[taken]], np.unique(best[free])].astype(np.int64)
    order = np.argsort(docs[changed])
    changed, to = changed[order], to[order]
    rows = {"doc": docs[changed], "keeper": docs[to], "score": np.ones(len(changed)), "members": total[to]}
    return Moved(rows, int(leads.sum()), int((~free & ~leads).sum()))
