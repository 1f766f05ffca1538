"""Level `exact`: documents of one normalised text; of each group the one that the keep policy prefers represents it.

    exact-keys     of each text the best document of a group of parts, by ranges of hashes    one task a group
    exact-chosen   the best of these for every text of several, sent back                     one task a range of hashes
    exact          the decisions table (stages/dedup/decisions.py)                            one task a group

Only one document of a text leaves its group, so a text that a tenth of the corpus has is one entry a group, and only representatives
go on to the level `near`: a million identical documents cost a sort and nothing more. Where there is one group it knows all, and
decides alone. Where the level is not asked for but `near` is, its rows have the reason of `near`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from stages.dedup.columns import column
from stages.dedup.decisions import EXACT, NEAR, Decision, put_table
from stages.dedup.exchange.ranges import Columns, Exchange, put
from stages.dedup.passes import PassTask, key_ranges
from stages.dedup.run import Run

MOST = 4 << 20
"""Documents a range of hashes: some 400 MB of hashes, numbers and ids while a task sorts them."""
SCRATCH = ("exact-keys", "exact-chosen")


class Exact(NamedTuple):
    """What a task carries: the run, the first hash of each range, and what the ranges and then the groups read."""

    run: Run
    lows: tuple[int, ...]
    keys: Exchange
    chosen: Exchange


class TextGroups(NamedTuple):
    """Documents of one text and more, by text, the preferred first."""

    docs: np.ndarray
    marks: Columns
    """`exact_a`, `exact_b`, and what the keep policy reads."""
    heads: np.ndarray
    """int64 by text: position of its best document."""
    counts: np.ndarray
    """int64 by text: documents."""


def decide(run: Run, pool: Pool) -> None:
    """Group the documents: in each group of parts, and what is left of them by ranges of hashes."""
    groups = len(run.groups)
    ranges = key_ranges(run.corpus.rows, MOST)
    keys = Exchange.of(run.store("exact-keys"), groups, len(ranges))
    chosen = Exchange.of(run.store("exact-chosen"), len(ranges), groups)
    given = Exact(run, tuple(low for low, _ in ranges), keys, chosen)
    if groups > 1 and run.proven("exact", groups) is None:
        run.make("exact-keys", send_keys, [given] * groups, pool)
        keys.merge(run, pool)
        run.make("exact-chosen", choose, [given] * len(ranges), pool)
        chosen.merge(run, pool)
    run.make("exact", write, [given] * groups, pool)


def send_keys(task: PassTask) -> Receipt:
    """Send the best document of each text of a group of parts to the range of its hash."""
    given: Exact = task.given
    texts = _texts(given.run, *_documents(given.run, task.number))
    marks = {name: values[texts.heads] for name, values in texts.marks.items()}
    columns = {"doc": texts.docs[texts.heads], "count": texts.counts, **marks}
    to = np.searchsorted(np.array(given.lows, np.uint64), marks["exact_a"], side="right") - 1
    return put(task, len(given.lows), to, lambda at: {name: values[at] for name, values in columns.items()})


def choose(task: PassTask) -> Receipt:
    """Choose the representative of every text of a range; each document that was sent gets an answer, if its text has several."""
    given: Exact = task.given
    run, marks = given.run, given.keys.read(task.number)
    docs = marks.pop("doc")
    texts = _texts(run, docs, marks)
    which = np.repeat(np.arange(len(texts.heads)), texts.counts)
    members = np.bincount(which, weights=texts.marks["count"], minlength=len(texts.heads)).astype(np.int64)
    several = np.flatnonzero(members[which] > 1)
    best = texts.heads[which[several]]
    columns = {"doc": texts.docs[several], "duplicate_of": texts.docs[best], "members": members[which[several]]}
    columns["kept_id"] = texts.marks["name"][best]
    to = run.group_of(columns["doc"])
    return put(task, len(run.groups), to, lambda at: {name: values[at] for name, values in columns.items()})


def write(task: PassTask) -> Receipt:
    """The decisions table of a group of parts: its documents follow the best among them, and that one its representative."""
    given: Exact = task.given
    run = given.run
    parts = [run.corpus.parts[number] for number in run.groups[task.number]]
    first = parts[0].first
    texts = _texts(run, *_documents(run, task.number))
    head = texts.docs[texts.heads]
    to, members, names = head.copy(), texts.counts.copy(), texts.marks["name"][texts.heads]
    if len(run.groups) > 1:
        received = given.chosen.read(task.number)
        order = np.argsort(head)
        at = order[np.searchsorted(head, received["doc"], sorter=order)]
        to[at], members[at] = received["duplicate_of"], received["members"]
        names = names.astype(np.promote_types(names.dtype, received["kept_id"].dtype))
        names[at] = received["kept_id"]
    which = np.repeat(np.arange(len(head)), texts.counts)
    several = members[which] > 1
    which, rows = which[several], texts.docs[several] - first
    found = Decision.none(first, sum(part.rows for part in parts), names.dtype.itemsize)
    found.duplicate_of[rows], found.members[rows], found.kept_id[rows] = to[which], members[which], names[which]
    gone = rows[found.duplicate_of[rows] != rows + first]
    found.score[gone], found.reason[gone] = 1.0, EXACT if "exact" in run.stage.levels else NEAR
    return put_table(task, run, task.number, found)


def _texts(run: Run, docs: np.ndarray, marks: Columns) -> TextGroups:
    """Documents by text, as the keep policy prefers them."""
    order = np.lexsort((marks["exact_b"], marks["exact_a"]))
    a, b = marks["exact_a"][order], marks["exact_b"][order]
    heads = np.flatnonzero(np.r_[True, (a[1:] != a[:-1]) | (b[1:] != b[:-1])][: len(order)])
    counts = np.diff(np.r_[heads, len(order)])
    group = np.repeat(np.arange(len(heads)), counts)
    several = np.flatnonzero(counts[group] > 1)
    those = order[several]
    best = run.policy.order(docs[those], {name: values[those] for name, values in marks.items()}, group[several])
    order[several] = those[best]
    return TextGroups(docs[order], {name: values[order] for name, values in marks.items()}, heads, counts)


def _documents(run: Run, group: int) -> tuple[np.ndarray, Columns]:
    """(documents of a group of parts, their `exact_a`, `exact_b` and what the keep policy reads); null texts and, unless asked for,
    empty ones left out."""
    names = ("exact_a", "exact_b", *run.policy.reads)
    docs: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for number in run.groups[group]:
        rows = run.store("measures").read(number)
        a, b, sizes = (column(rows, name) for name in ("exact_a", "exact_b", "size"))
        taken = sizes >= 0
        if not run.stage.merge_empty:
            taken &= (a != 0) | (b != 0)
        at = np.flatnonzero(taken)
        docs.append(at + run.corpus.parts[number].first)
        for name in names:
            found[name].append(column(rows, name)[at])
    return np.concatenate(docs), {name: np.concatenate(pieces) for name, pieces in found.items()}
