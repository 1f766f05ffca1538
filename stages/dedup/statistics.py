"""Pass `statistics`: dry-run statistics, counts of the decisions table by source, host, reason and similarity.

Columns: `kind` (source, host, reason, similarity or cluster), `name` (large_string), `rows`, `removed`, and `edited`, `bytes` (rows
that lose repeated spans, and their UTF-8 bytes; int64 all). For `cluster`, `name` is the number of the representative and `rows`
the size: the largest of each part. Rows that would lose a turn or everything count as edited, though they go or stay whole.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import WorkError
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.decisions import REASONS
from stages.dedup.exchange.ranges import Exchange
from stages.dedup.passes import PassTask
from stages.dedup.run import Run
from stages.dedup.spans.removal import Removals

log = logging.getLogger("maetdol.dedup")

LARGEST = 20
"""Clusters a plan shows."""
WARN = 0.5
"""Share of a source's rows whose loss is worth a warning."""
FEWEST = 10
"""Sources of fewer rows raise no alarm: two copies of one page are half of it."""
COUNTS = ("rows", "removed", "edited", "bytes")


class Counting(NamedTuple):
    """What a task carries: the run, and the repeated spans by part, where they are asked for."""

    run: Run
    repeats: Exchange | None


def count(task: PassTask) -> Receipt:
    """Count one part."""
    run, repeats = task.given
    part = run.corpus.parts[task.number]
    decision = run.decided(task.number)
    docs = np.arange(part.first, part.first + part.rows)
    taken = np.zeros(part.rows, np.int64)
    if repeats is not None:
        removals = Removals.of(repeats, run.stage.spans or "", run.corpus.position(task.number))
        np.add.at(taken, removals.docs - part.first, removals.lasts - removals.firsts)
        taken[~decision.kept] = 0
    names = run.store("names").read(task.number)
    scored = ~np.isnan(decision.score)
    heads = np.flatnonzero((decision.duplicate_of == docs) & (decision.members > 1))
    heads = heads[np.argsort(-decision.members[heads], kind="stable")][:LARGEST]
    words = {
        "source": names["source"].to_pylist(),
        "host": names["host"].to_pylist(),
        "reason": [REASONS[reason] for reason in decision.reason.tolist()],
        "similarity": [
            f"{np.floor(score * 20) / 20:.2f}" if has else None for score, has in zip(decision.score, scored)
        ],
    }
    numbers = {"rows": np.ones(part.rows, np.int64), "removed": ~decision.kept, "edited": taken > 0, "bytes": taken}
    numbers = {name: pa.array(values.astype(np.int64)) for name, values in numbers.items()}
    found = [
        pa.table(
            {
                "kind": pa.array([kind] * part.rows, pa.large_string()),
                "name": pa.array(each, pa.large_string()),
                **numbers,
            }
        )
        for kind, each in words.items()
    ]
    counted = _summed(pa.concat_tables(found).drop_null())
    none = pa.array(np.zeros(len(heads), np.int64))
    clusters = {"kind": ["cluster"] * len(heads), "name": [str(docs[row]) for row in heads]}
    largest = {name: pa.array(each, pa.large_string()) for name, each in clusters.items()}
    sizes = {"rows": pa.array(decision.members[heads]), "removed": none, "edited": none, "bytes": none}
    return task.put(pa.concat_tables([counted, pa.table({**largest, **sizes})]))


def _summed(table: pa.Table) -> pa.Table:
    """Counts by kind and name, sorted."""
    found = table.group_by(["kind", "name"], use_threads=False).aggregate([(name, "sum") for name in COUNTS])
    found = found.select(["kind", "name", *(f"{name}_sum" for name in COUNTS)]).rename_columns(
        ["kind", "name", *COUNTS]
    )
    return found.sort_by([("kind", "ascending"), ("name", "ascending")])


def counted(store: Store) -> dict[str, dict[str, dict[str, int]]]:
    """kind -> name -> counts, over all parts."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    shards = [store.read(number) for number in store.shards()]
    for row in _summed(pa.concat_tables(shards)).to_pylist() if shards else ():
        found.setdefault(row.pop("kind"), {})[row.pop("name")] = row
    return found


Counts = dict[str, dict[str, dict[str, int]]]
"""What `counted` gives."""


def losses(seen: Counts, kind: str) -> dict[str, tuple[int, int]]:
    """name -> (rows, rows that go) of the sources or hosts, over all parts."""
    return {name: (row["rows"], row["removed"]) for name, row in seen.get(kind, {}).items()}


def over(lost: dict[str, tuple[int, int]], limit: float) -> dict[str, tuple[int, int]]:
    """Sources that lose more than `limit` (0..1) of their rows, the largest loss first."""
    found = {
        name: (rows, removed) for name, (rows, removed) in lost.items() if rows >= FEWEST and removed > limit * rows
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1][1], item[0])))


def raise_alarm(seen: Counts, caps: float | None) -> None:
    """WorkError where a source loses more than `caps` allows; without caps, one line for those that lose over half."""
    loud = over(losses(seen, "source"), WARN if caps is None else caps)
    if not loud:
        return
    listed = ", ".join(f"{name} {removed:,} of {rows:,}" for name, (rows, removed) in list(loud.items())[:5])
    more = f" and {len(loud) - 5} more" if len(loud) > 5 else ""
    if caps is not None:
        fault = f"dedup: {len(loud)} sources lose more than {caps:.0%} of their rows: {listed}{more}"
        raise WorkError(fault, "look at `maetdol dedup A B --plan FILE`, then raise `caps` or change the threshold")
    log.warning(f"dedup: {len(loud)} sources lose over half of their rows: {listed}{more}")


def similarities(seen: Counts) -> dict[str, int]:
    """Rows that go by similarity: `0.80` covers .80 up to .85."""
    return {name: row["rows"] for name, row in seen.get("similarity", {}).items()}
