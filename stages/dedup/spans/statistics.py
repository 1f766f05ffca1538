"""Pass `trims`: what the cutting of repeated spans would take from each source, for a plan to show.

Columns: `name` (a source), `rows` (rows that lose text), `bytes` (of text, UTF-8; int64 both). Rows that would lose a turn or
everything count as cut, though they go, or are left as they are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.apply import KEPT, Applying, fate_of
from stages.dedup.passes import Task
from stages.dedup.spans.removal import Marks


def run(task: Task) -> Receipt:
    """Count one part."""
    from stages.dedup.spans.keys import cut

    given: Applying = task.given
    part = given.corpus.parts[task.number]
    stays = fate_of(given, part.first, part.rows).why == KEPT
    marks = Marks.of(given.repeats, given.level, part.first, part.rows)
    docs, starts = np.unique(marks.docs, return_index=True)
    sources = part.store.read(part.shard)["source"].to_pylist()
    counts: dict[str, list[int]] = {}
    for doc, low, high in zip((docs - part.first).tolist(), starts.tolist(), [*starts[1:].tolist(), len(marks.docs)]):
        here = slice(low, high)
        size = (
            sum(last - first for first, last in cut(marks.firsts[here], marks.lasts[here], marks.stays[here]))
            if stays[doc]
            else 0
        )
        if size:
            count = counts.setdefault(sources[doc] or "none", [0, 0])
            count[0], count[1] = count[0] + 1, count[1] + size
    columns = [pa.array(sorted(counts), pa.large_string())]
    columns += [pa.array([counts[name][place] for name in sorted(counts)], pa.int64()) for place in (0, 1)]
    return task.put(pa.table(columns, names=["name", "rows", "bytes"]))


def summary(store: Store) -> dict[str, list[int]]:
    """source -> [documents that lose text, bytes cut], the largest loss first."""
    found: dict[str, list[int]] = {}
    for number in store.shards():
        for row in store.read(number).to_pylist():
            count = found.setdefault(row["name"], [0, 0])
            count[0], count[1] = count[0] + row["rows"], count[1] + row["bytes"]
    return dict(sorted(found.items(), key=lambda item: (-item[1][1], item[0])))
