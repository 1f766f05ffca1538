"""Level `exact`: documents of one normalised text; of each group the one that the keep policy prefers represents it.

Only representatives go on to the level `near`, so that a million identical documents cost a sort and nothing more. A shard
covers a range of the exact hash. Where the level is not asked for but `near` is, its rows have the reason of `near`.
"""

from __future__ import annotations

import numpy as np

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import column, lookup
from stages.dedup.decisions import EXACT, NEAR, no_rows, rows_of
from stages.dedup.passes import PassTask, key_ranges
from stages.dedup.run import KeyRange, Run

MOST = 4 << 20
"""Documents per shard: 100 MB of hashes and numbers while a task sorts them."""
SCRATCH = ()


def decide(run: Run, pool: Pool) -> None:
    """Group the documents, one task a range of hashes."""
    ranges = key_ranges(run.corpus.rows, MOST)
    run.make("exact", find_groups, [KeyRange(run, *ends) for ends in ranges], pool)


def find_groups(task: PassTask) -> Receipt:
    """Group the documents whose hash lies in the task's range."""
    run: Run = task.given.run
    docs, marks = _in_range(task.given)
    first_half, second_half = marks.pop("exact_a"), marks.pop("exact_b")
    order = np.lexsort((second_half, first_half))
    a, b = first_half[order], second_half[order]
    same = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    group = np.r_[0, np.cumsum(~same)] if len(order) else np.zeros(0, np.int64)
    counts = np.bincount(group, minlength=1)
    several = counts[group] > 1
    order, group = order[several], group[several]
    docs, marks = docs[order], {name: values[order] for name, values in marks.items()}
    if not len(docs):
        return task.put(no_rows())
    best = run.policy.order(docs, marks, group)
    docs, group = docs[best], group[best]
    opens = np.r_[True, group[1:] != group[:-1]]
    first = np.cumsum(opens) - 1
    representative = docs[opens][first]
    names = marks["name"][best][opens][first]
    score = np.where(docs == representative, np.nan, 1.0)
    reason = EXACT if "exact" in run.stage.levels else NEAR
    return task.put(rows_of(reason, docs, representative, score, counts[group], names))


def _in_range(given: KeyRange) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(documents, their `exact_a`, `exact_b` and what the keep policy reads) in range; null texts and, unless asked for, empty ones
    left out."""
    run = given.run
    names = ("exact_a", "exact_b", *run.policy.reads)
    docs: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for number, part in run.corpus.parts.items():
        rows = run.store("measures").read(number)
        a, b, sizes = (column(rows, name) for name in ("exact_a", "exact_b", "size"))
        taken = (a >= np.uint64(given.low)) & (a <= np.uint64(given.high)) & (sizes >= 0)
        if not run.stage.merge_empty:
            taken &= (a != 0) | (b != 0)
        at = np.flatnonzero(taken)
        docs.append(at + part.first)
        for name in names:
            found[name].append(column(rows, name)[at])
    return np.concatenate(docs), {name: np.concatenate(pieces) for name, pieces in found.items()}


class ExactGroups:
    """The groups as the other levels read them."""

    def __init__(self, store: Store):
        self.shards = [store.read(number) for number in store.shards()]

    def members(self, docs: np.ndarray) -> np.ndarray:
        """Size of the group of each document; 1 for one without a group."""
        found = np.ones(len(docs), np.int64)
        for shard in self.shards:
            at, sizes = lookup(shard, "doc", docs, "members")
            found[at] = sizes
        return found
