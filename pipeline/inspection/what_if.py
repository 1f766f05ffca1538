"""What other limits would change in a finished step, and how its numbers are spread: from ledgers alone, by polars scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.engine import catalog
from pipeline.errors import UsageError, did_you_mean
from pipeline.inspection.conditions import questions
from pipeline.inspection.limits import MetricLimit, limits_of
from pipeline.inspection.query import ledger, metrics_of
from pipeline.storage.store import Store

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class WhatIfChange(dict[str, Any]):
    """`kept` and `dropped`: reasons of rows that would come back (by the reason they were dropped for) and go (by the new one), with
    counts; `before` and `after`: rows dropped; `options`: the step's options as a recipe would have them; `ids`: some of each."""


SHOWN = 20
"""Ids of rows that would change their decision."""


def what_if(store: Store, settings: Sequence[str]) -> WhatIfChange:
    """What other limits (`word_count.min=30`) would change, from the ledger alone; exactly as a rerun of the step would decide.

    Only rows whose number lies between the old and the new limit are decided again, batch by batch. UsageError where the stage cannot
    say, or the setting changes what is measured.
    """
    manifest = store.require()
    module = catalog.hook(manifest.get("stage"), "report")
    if module is None or not hasattr(module, "decide"):
        raise UsageError(f"{manifest.get('stage')} cannot be decided again from its ledger", "run the step again")
    options = dict(manifest.get("options") or {})
    options_after = module.changed(options, list(settings))
    frame = ledger(store)
    named = {setting.partition("=")[0] for setting in settings}
    undecided = _may_change(limits_of(store), module.limits(options_after), named, frame)
    if undecided is not None:
        frame = frame.filter(undecided)
    back: dict[str, int] = {}
    gone: dict[str, int] = {}
    ids: dict[str, list[str]] = {"kept": [], "dropped": []}
    with questions():
        for batch in frame.collect_batches(chunk_size=65_536, lazy=True, engine="streaming"):
            table: pa.Table = batch.to_arrow()
            for row_id, old, new in zip(
                table["id"].to_pylist(), table["reason"].to_pylist(), module.decide(options_after, table)
            ):
                if (old is None) != (new is None):
                    counts, name, word = (back, "kept", old) if new is None else (gone, "dropped", new)
                    counts[word] = counts.get(word, 0) + 1
                    if len(ids[name]) < SHOWN:
                        ids[name].append(row_id)
    before = sum(manifest["reasons"].values())
    ordered = [dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))) for counts in (back, gone)]
    return WhatIfChange(
        kept=ordered[0], dropped=ordered[1], before=before, after=before - sum(back.values()) + sum(gone.values()),
        options=options_after, ids=ids,
    )  # fmt: skip


def _may_change(
    before: list[MetricLimit], after: list[MetricLimit], named: set[str], frame: pl.LazyFrame
) -> pl.Expr | None:
    """Rows whose decision may differ; None where any may: something other than a limit's value was changed."""
    import polars as pl

    old = {(limit.metric, limit.end): limit for limit in before}
    new = {(limit.metric, limit.end): limit for limit in after}
    known = frame.collect_schema()
    parts, moved = [], set()
    for key in old.keys() | new.keys():
        pair = [limit for limit in (old.get(key), new.get(key)) if limit is not None]
        if len(pair) == 2 and (pair[0].value, dict(pair[0].languages)) == (pair[1].value, dict(pair[1].languages)):
            continue
        values = [value for limit in pair for value in (limit.value, *limit.languages.values())]
        if len(pair) < 2 or None in values or key[0] not in known:
            return None
        moved.add(pair[0].option)
        low, high = min(values), max(values)  # type: ignore[type-var]
        parts.append(pl.col(key[0]).is_between(low, high))
    return pl.any_horizontal(parts) if parts and moved == named else None


def histogram(store: Store, metric: str, bins: int = 40) -> tuple[list[float], list[int], list[int]]:
    """Edges (`bins` + 1) and counts of kept and of dropped rows of a ledger metric; the ends are the 0.5th and 99.5th percentile,
    and what lies beyond counts into the first and last bin. Empty where nothing was measured."""
    frame = ledger(store)
    if metric not in frame.collect_schema():
        raise UsageError(
            f"the ledger has no metric {metric!r}", did_you_mean(metric, metrics_of(frame.collect_schema()))
        )
    return spread_of(frame, metric, bins)


def spread_of(frame: pl.LazyFrame, metric: str, bins: int = 40) -> tuple[list[float], list[int], list[int]]:
    """`histogram` of ledger rows."""
    import polars as pl

    values = frame.select(value=pl.col(metric), kept=pl.col("reason").is_null()).drop_nulls("value")
    with questions():
        ends = values.select(
            low=pl.col("value").quantile(0.005), high=pl.col("value").quantile(0.995)
        ).collect(engine="streaming").to_dicts()[0]  # fmt: skip
        if ends["low"] is None:
            return [], [], []
        low, high = float(ends["low"]), float(ends["high"])
        width = (high - low) / bins or 1.0
        counted = (
            values.with_columns(bin=((pl.col("value") - low) / width).floor().clip(0, bins - 1).cast(pl.Int32))
            .group_by("bin", "kept")
            .agg(pl.len().alias("rows"))
            .collect(engine="streaming")
        )
    counts = {True: [0] * bins, False: [0] * bins}
    for each in counted.to_dicts():
        counts[each["kept"]][each["bin"]] = each["rows"]
    return [low + width * n for n in range(bins + 1)], counts[True], counts[False]
