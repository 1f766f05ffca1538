"""Level `url`: rows whose URLs, canonically spelt, are one; the keep policy says which of them stays.

    address   key of every row's URL, sent to the ranges of keys    one task a part
    url       which row of each URL stays                           one task a range of keys

Columns of `address`: `key`, `check` (uint64: the two halves of the URL's hash), `doc`, `duplicate_of`, `members` (int64: the decision of
the levels before), and what the keep policy reads. Rows without a URL are compared with nothing.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from pipeline.urls import canonical
from stages.dedup.columns import column
from stages.dedup.decisions import URL, consolidate, put_no_rows, put_rows
from stages.dedup.exchange.ranges import Columns, Exchange, put
from stages.dedup.passes import PassTask, key_ranges, range_of
from stages.dedup.run import Run

MOST = 2 << 20
"""Rows of a range of keys, if every row has a URL: some 200 MB of keys, decisions, numbers and ids while a task sorts them."""
SCRATCH = ("address", "decided-url")
NOTED = ("address", "url")


class Addressing(NamedTuple):
    """What a task carries: the run, how many ranges of keys there are, and what they read."""

    run: Run
    ranges: int
    addresses: Exchange


def decide(run: Run, pool: Pool) -> None:
    """Send the keys of all parts, then decide range by range."""
    consolidate(run, pool, "url")
    parts, ranges = len(run.corpus.parts), len(key_ranges(run.corpus.rows, MOST))
    given = Addressing(run, ranges, Exchange.of(run.store("address"), parts, ranges))
    run.make("address", send_keys, [given] * parts, pool)
    given.addresses.merge(run, pool)
    run.make("url", choose, [given] * ranges, pool)


def send_keys(task: PassTask) -> Receipt:
    """Pass `address`: the keys of one part."""
    given: Addressing = task.given
    run, number = given.run, given.run.corpus.number_at(task.number)
    before = run.decided(number, "url")
    keys, found = [], []
    for at, url in enumerate(url for batch in run.corpus.batches(number) for url in batch.column("url").to_pylist()):
        if url and (spelt := canonical(url)):
            keys.append(hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).digest())
            found.append(at)
    halves, rows = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2), np.array(found, np.int64)
    measures = run.store("measures").read(number)
    columns = {"key": halves[:, 0], "check": halves[:, 1], "doc": rows + run.corpus.parts[number].first}
    columns |= {"duplicate_of": before.duplicate_of[rows], "members": before.members[rows]}
    columns |= {name: column(measures, name)[rows] for name in run.policy.reads}
    to, noted = range_of(halves[:, 0], given.ranges), {"addresses": len(rows)}
    return put(task, given.ranges, to, lambda at: {name: values[at] for name, values in columns.items()}, noted)


def choose(task: PassTask) -> Receipt:
    """Pass `url`: which row of each URL of the task's range stays."""
    given: Addressing = task.given
    found = given.addresses.read(task.number)
    order = np.lexsort((found["doc"], found["check"], found["key"]))
    key, check = found.pop("key")[order], found.pop("check")[order]
    group = np.cumsum(np.r_[False, (key[1:] != key[:-1]) | (check[1:] != check[:-1])][: len(key)])
    rows = [found.pop(name)[order] for name in ("doc", "duplicate_of", "members")]
    return _decided(task, UrlRows(group, *rows), {name: values[order] for name, values in found.items()})


class UrlRows(NamedTuple):
    """Rows of some URLs: which URL (ascending), and their decisions so far."""

    group: np.ndarray
    docs: np.ndarray
    duplicate_of: np.ndarray
    members: np.ndarray


def _decided(task: PassTask, rows: UrlRows, known: Columns) -> Receipt:
    """Write the decisions that change (`known`: what the keep policy reads of the rows); notes URLs of several rows that stayed so far, and rows that stay nevertheless because they
    stand for others."""
    run: Run = task.given.run
    group, docs, _, members = rows
    heads = np.flatnonzero(rows.duplicate_of == docs)
    heads = heads[np.bincount(group[heads], minlength=1)[group[heads]] > 1]
    if not len(heads):
        return put_no_rows(task, run, {"pages": 0, "held": 0})
    marks = {name: values[heads] for name, values in known.items()}
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
