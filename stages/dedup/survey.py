"""Pass `survey`: what each source would lose, before anything is written.

Columns: `kind` (source or host), `name`, `rows`, `removed` (int64). The receipt holds a histogram of the similarities at
which documents go, and the largest clusters as [documents, number of the keeper].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from pipeline.engine import progress
from pipeline.errors import WorkError
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.apply import KEPT, REASONS, Applying, fate_of
from stages.dedup.passes import Task

LARGEST = 20
"""Clusters a plan shows."""
WARN = 0.5
"""Share of a source's rows whose loss is worth a warning."""
FEWEST = 10
"""Sources of fewer rows raise no alarm: two copies of one page are half of it."""


def run(task: Task) -> Receipt:
    """Count one part."""
    given: Applying = task.given
    part = given.corpus.parts[task.number]
    fate = fate_of(given, part.first, part.rows)
    gone = fate.why != KEPT
    rows = part.store.read(part.shard)
    counts = [("source", *count) for count in _counted(rows["source"].to_pylist(), gone)]
    counts += [("host", *count) for count in _counted(map(_host, rows["url"].to_pylist()), gone)]
    bins, sizes = np.unique(np.floor(fate.score[~np.isnan(fate.score)] * 20) / 20, return_counts=True)
    heads = np.flatnonzero((fate.keeper == np.arange(part.first, part.first + part.rows)) & (fate.members > 1))
    heads = heads[np.argsort(-fate.members[heads], kind="stable")][:LARGEST]
    notes = {
        "rules": {REASONS[why]: int((fate.why == why).sum()) for why in np.unique(fate.why[gone]).tolist()},
        "similarity": {f"{low:.2f}": int(n) for low, n in zip(bins, sizes)},
        "largest": [[int(fate.members[row]), part.first + int(row)] for row in heads],
    }
    kinds, names, totals, removed = ([count[place] for count in counts] for place in range(4))
    columns = {
        "kind": kinds,
        "name": names,
        "rows": pa.array(totals, pa.int64()),
        "removed": pa.array(removed, pa.int64()),
    }
    table = pa.table(
        {
            name: values if isinstance(values, pa.Array) else pa.array(values, pa.large_string())
            for name, values in columns.items()
        }
    )
    return task.put(table, notes)


def _counted(names: Iterable[str | None], gone: np.ndarray) -> list[tuple[str, int, int]]:
    """(name, rows, rows that go) per name, by name."""
    totals: dict[str, list[int]] = {}
    for name, lost in zip(names, gone.tolist()):
        count = totals.setdefault(name or "none", [0, 0])
        count[0] += 1
        count[1] += lost
    return [(name, *totals[name]) for name in sorted(totals)]


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url).hostname if url else None
    except ValueError:
        return None


def losses(store: Store) -> dict[str, dict[str, tuple[int, int]]]:
    """kind -> name -> (rows, rows that go), over all parts."""
    found: dict[str, dict[str, tuple[int, int]]] = {"source": {}, "host": {}}
    for number in store.shards():
        for row in store.read(number).to_pylist():
            rows, removed = found[row["kind"]].get(row["name"], (0, 0))
            found[row["kind"]][row["name"]] = (rows + row["rows"], removed + row["removed"])
    return found


def over(lost: dict[str, tuple[int, int]], limit: float) -> dict[str, tuple[int, int]]:
    """Sources that lose more than `limit` (0..1) of their rows, the largest loss first."""
    found = {
        name: (rows, removed) for name, (rows, removed) in lost.items() if rows >= FEWEST and removed > limit * rows
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1][1], item[0])))


def raise_alarm(store: Store, caps: float | None) -> None:
    """WorkError where a source loses more than `caps` allows; without caps, one line for those that lose over half."""
    loud = over(losses(store)["source"], WARN if caps is None else caps)
    if not loud:
        return
    shown = ", ".join(f"{name} {removed:,} of {rows:,}" for name, (rows, removed) in list(loud.items())[:5])
    more = f" and {len(loud) - 5} more" if len(loud) > 5 else ""
    if caps is not None:
        fault = f"dedup: {len(loud)} sources lose more than {caps:.0%} of their rows: {shown}{more}"
        raise WorkError(fault, "look at `maetdol dedup A B --plan FILE`, then raise `caps` or change the threshold")
    progress.current.say(f"dedup: {len(loud)} sources lose over half of their rows: {shown}{more}")


def summary(receipts: list[Receipt]) -> dict[str, Any]:
    """Rows that go by rule, similarity histogram and the largest clusters over all parts."""
    counts: dict[str, dict[str, int]] = {"rules": {}, "similarity": {}}
    for receipt in receipts:
        for kind, held in counts.items():
            for name, count in receipt.notes[kind].items():
                held[name] = held.get(name, 0) + count
    largest = sorted(
        (entry for receipt in receipts for entry in receipt.notes["largest"]), key=lambda entry: (-entry[0], entry[1])
    )
    return {**{kind: dict(sorted(held.items())) for kind, held in counts.items()}, "largest": largest[:LARGEST]}
