"""Level `url`: rows whose URLs, canonically spelt, are one; the keep policy says which of them stays.

    address   key of every row's URL, sorted         one task a part
    url       which row of each URL stays            one task a range of keys

Columns of `address`, sorted by `key`: `key`, `check` (uint64: the two halves of the URL's hash), `doc`, `duplicate_of`, `members`
(int64: the decision of the levels before). Rows without a URL are compared with nothing.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from pipeline.urls import canonical
from stages.dedup.columns import between, blocks
from stages.dedup.decisions import URL, consolidate, put_no_rows, put_rows
from stages.dedup.passes import PassTask, key_ranges
from stages.dedup.run import KeyRange, Run
from stages.dedup.signatures.measures import marks_of

MOST = 2 << 20
"""URLs per task of `url`: 80 MB while they are sorted."""
SCRATCH = ("address", "decided-url")
NOTED = ("address", "url")
COLUMNS = ("key", "check", "doc", "duplicate_of", "members")


def decide(run: Run, pool: Pool) -> None:
    """Write the keys of all parts, then decide range by range."""
    consolidate(run, pool, "url")
    made = run.make("address", write_keys, run.of_parts(run), pool)
    ranges = key_ranges(sum(receipt.notes["addresses"] for receipt in made), MOST)
    run.make("url", choose, [KeyRange(run, *ends) for ends in ranges], pool)


def write_keys(task: PassTask) -> Receipt:
    """Pass `address`: the keys of one part."""
    run: Run = task.given
    part = run.corpus.parts[task.number]
    before = run.decided(task.number, "url")
    keys, found = [], []
    for at, url in enumerate(
        url for batch in run.corpus.batches(task.number) for url in batch.column("url").to_pylist()
    ):
        if url and (spelt := canonical(url)):
            keys.append(hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).digest())
            found.append(at)
    halves = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    rows = np.array(found, np.int64)[order]
    columns = {"doc": rows + part.first, "duplicate_of": before.duplicate_of[rows], "members": before.members[rows]}
    return task.put(blocks(key=halves[order, 0], check=halves[order, 1], **columns), {"addresses": len(rows)})


def choose(task: PassTask) -> Receipt:
    """Pass `url`: which row of each URL of the task's range stays."""
    low, high = task.given.low, task.given.high
    addresses = task.given.run.store("address")
    pieces = [between(addresses.read(number), "key", low, high, *COLUMNS) for number in addresses.shards()]
    key, check, docs, duplicate_of, members = (np.concatenate(columns) for columns in zip(*pieces))
    order = np.lexsort((docs, check, key))
    key, check = key[order], check[order]
    group = np.cumsum(np.r_[False, (key[1:] != key[:-1]) | (check[1:] != check[:-1])][: len(key)])
    rows = UrlRows(group, docs[order], duplicate_of[order], members[order])
    return _decided(task, rows)


class UrlRows(NamedTuple):
    """Rows of some URLs: which URL (ascending), and their decisions so far."""

    group: np.ndarray
    docs: np.ndarray
    duplicate_of: np.ndarray
    members: np.ndarray


def _decided(task: PassTask, rows: UrlRows) -> Receipt:
    """Write the decisions that change; notes URLs of several rows that stayed so far, and rows that stay nevertheless because they
    stand for others."""
    run: Run = task.given.run
    group, docs, _, members = rows
    heads = np.flatnonzero(rows.duplicate_of == docs)
    heads = heads[np.bincount(group[heads], minlength=1)[group[heads]] > 1]
    if not len(heads):
        return put_no_rows(task, run, {"pages": 0, "held": 0})
    marks = marks_of(run, docs[heads], run.policy.reads)
    by_worth = run.policy.order(docs[heads], marks, group[heads])
    heads = heads[by_worth]
    names = np.zeros(len(docs), marks["name"].dtype)
    names[heads] = marks["name"][by_worth]
    opens = np.r_[True, group[heads][1:] != group[heads][:-1]]
    best = heads[opens][np.cumsum(opens) - 1]
    follower, head = _followers(rows, heads)
    here = 1 + np.bincount(head, minlength=len(heads))

    free = (members[heads] == here) & (docs[heads] < run.policy.limit) & ~opens
    total = members.copy()
    np.add.at(total, best[free], members[heads[free]])
    kept = np.unique(best[free])
    taken = free[head]
    changed = np.r_[heads[free], follower[taken], kept].astype(np.int64)
    to = np.r_[best[free], best[head[taken]], kept].astype(np.int64)
    score = np.where(changed == to, np.nan, 1.0)
    notes = {"pages": int(opens.sum()), "held": int((~free & ~opens).sum())}
    return put_rows(task, run, URL, docs[changed], docs[to], score, total[to], names[to], notes)


def _followers(rows: UrlRows, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, position in `heads` of its representative) of those with the URL of their representative: they match directly what
    that one does."""
    by_doc = np.argsort(rows.docs[heads])
    known = rows.docs[heads][by_doc]
    follower = np.flatnonzero(rows.duplicate_of != rows.docs)
    at = np.minimum(np.searchsorted(known, rows.duplicate_of[follower]), len(known) - 1)
    near = known[at] == rows.duplicate_of[follower]
    follower, head = follower[near], by_doc[at[near]]
    same = rows.group[follower] == rows.group[heads[head]]
    return follower[same], head[same]
