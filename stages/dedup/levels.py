"""The levels in their order, then spans, statistics and the output; each pass once, however often a run was stopped.

A level is a folder with `level.py`: `decide(run, pool)` appends its rows to the decisions table; SCRATCH names passes that nothing
reads once the output is written, NOTED those whose notes the report shows under the level's name.

    minhash      signatures and other measures of each text     one task a part
    measures     what levels compare and prefer by               made beside it
    exact, near, url, semantic, spans                           see their folders
    decided      what became of the rows of each part           one task some parts
    statistics   what each source would lose                    one task a part
    apply        kept rows and ledger                           one task a part
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pipeline.engine.pool import Pool
from pipeline.engine.stage import merge_notes
from pipeline.engine.tasks import drop_others
from pipeline.storage.ledger import Receipt
from stages.dedup import apply, identity, statistics
from stages.dedup.decisions import consolidate
from stages.dedup.exact import level as exact
from stages.dedup.exchange.ranges import Exchange, notes_of
from stages.dedup.near import level as near
from stages.dedup.passes import make, proven
from stages.dedup.run import Run
from stages.dedup.semantic import level as semantic
from stages.dedup.signatures.measures import measure
from stages.dedup.signatures.minhash import compute_signatures
from stages.dedup.spans import level as spans
from stages.dedup.url import level as url

log = logging.getLogger("maetdol.dedup")

LEVELS = {"exact": exact, "near": near, "url": url, "semantic": semantic}


def decide(run: Run, pool: Pool) -> Exchange | None:
    """Every pass up to `statistics`: everything is decided then, and nothing written. Returns the repeated spans by part, where they
    are asked for."""
    compute_signatures(run, pool)
    measure(run, pool)
    for name in run.levels:
        LEVELS[name].decide(run, pool)
    consolidate(run, pool)
    repeats = spans.decide(run, pool) if run.stage.spans else None
    counting = statistics.Counting(run, repeats)
    run.make("statistics", statistics.count, run.of_parts(counting, new=True), pool)
    return repeats


def write(run: Run, pool: Pool, check: Callable[[], None] = lambda: None) -> list[Receipt]:
    """Every pass that is not proven; returns the receipts of the output's shards.

    `check` is called when everything is decided and nothing is written. WorkError where the caps stop the run.
    """
    keys = run.keys("apply", run.new_parts)
    if (made := proven(run.sink, keys)) is not None:
        drop_others(run.sink, keys)
        _require_ids(run, keys)
        return made
    repeats = decide(run, pool)
    check()
    seen = statistics.counted(run.store("statistics"))
    notes = _notes(run, seen)
    statistics.raise_alarm(seen, run.stage.caps)
    if limited := notes.get("not_all_compared"):
        fault = f"dedup: {limited:,} documents were not compared with all their candidates: too many are nearly as similar as the threshold"
        log.warning(f"{fault}; their ledger rows say so, the receipts count what was left out by similarity")
    given = {number: apply.Applying(run, {} if at else notes, repeats) for at, number in enumerate(keys)}
    receipts = make(run.sink, apply.write, keys, given.__getitem__, pool)
    _require_ids(run, keys)
    for name in ("decided", *(name for level in (*LEVELS.values(), spans) for name in level.SCRATCH)):
        run.store(name).fs.delete("")
    return receipts


def _require_ids(run: Run, keys: dict[int, str]) -> None:
    """Within one store ids are unique; several may have met here for the first time."""
    if len({part.store.path for part in run.corpus.parts.values() if not part.old}) > 1:
        identity.require_unique(run.sink, list(keys))


def _notes(run: Run, seen: statistics.Counts) -> dict[str, Any]:
    """What the report should know: banding, candidates by bin of estimated similarity, similarities removed, counts of levels."""
    found: dict[str, Any] = {"similarity": statistics.similarities(seen)}
    if "near" in run.levels:
        found |= {"bands": run.banding.bands, "rows": run.banding.rows}
        for receipt in run.store("near").receipts().values():
            merge_notes(found, notes_of(receipt))
    for level in (url, semantic):
        name = level.__name__.split(".")[-2]
        for store in (run.store(noted) for noted in level.NOTED if name in run.levels):
            for receipt in store.receipts().values():
                merge_notes(found.setdefault(name, {}), notes_of(receipt))
    return found
