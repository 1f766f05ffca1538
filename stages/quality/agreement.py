"""How a step's limits agree with what people said of its rows: precision, recall, F1 and kappa of "drop", and limits that would agree better.

Numbers come from the ledger of a finished step, labels from a store as `maetdol view` writes it (columns `id` and `label`). A limit is moved
beside all others as they are, so that what is said of it holds for the step as a whole. Intervals are of 1,000 bootstrap resamples of the
labelled rows; the gain of another limit is measured on the rows that a resample left out, as the limit was chosen on the others. It is
chosen by kappa: by F1, where most labels are drop, a limit that drops everything would do well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.deletion.forgotten import Reading
from pipeline.errors import UsageError, WorkError
from pipeline.inspection import query
from pipeline.inspection.limits import MetricLimit, limits_of
from pipeline.storage.store import Store
from stages.quality.report import changed
from stages.quality.sources import path_of, samples

if TYPE_CHECKING:
    from stages.quality.commands import Calibrate

FEWEST = 10
"""Labels of either kind below which nothing is measured."""
RESAMPLES = 1_000
CANDIDATES = 200
"""Values of a metric that are tried as its limit: evenly spread over those of the labelled rows."""
SEED = 17


@dataclass(frozen=True)
class Agreement:
    """How a limit (`option` of a recipe; "" for the step as a whole) and the labels agree on what to drop."""

    option: str
    metric: str
    value: float | None
    rows: int
    precision: float
    """Of the rows it drops, the share labelled drop; nan where it drops none."""
    recall: float
    """Of the rows labelled drop, the share it drops."""
    f1: float
    kappa: float
    """Cohen's: agreement beyond chance, 1 at most."""
    kappa_interval: tuple[float, float]
    suggested: float | None = None
    """The limit under which the step agrees best (kappa), beside all others as they are."""
    suggested_interval: tuple[float, float] | None = None
    gain: tuple[float, float, float] | None = None
    """How much the step's kappa grows by it, on rows it was not chosen on: median and interval."""

    @property
    def proven(self) -> bool:
        """Does the step gain by the suggested limit, surely?"""
        return self.gain is not None and self.gain[1] > 0


@dataclass(frozen=True)
class LabelledRows:
    """The ledger rows that labels are of."""

    rows: list[dict[str, Any]]
    dropped: np.ndarray
    """Labelled drop, per row."""
    draws: np.ndarray
    """(rows, RESAMPLES): how often each resample drew each row."""


def agreements(order: Calibrate) -> list[Agreement]:
    """The step as a whole, then each of its limits (by language where they differ); writes the recipe and the report."""
    assert order.labels
    if len(order.source) != 1:
        raise UsageError("labels are held against one step", "give the store of a quality step as the source, alone")
    reading = Reading(order.source[0], path_of(order.labels))
    store = Store(order.source[0])
    labelled = labelled_rows(store, order.labels)
    found = [of_step(labelled), *(each for limit in limits_of(store) for each in of_limit(limit, labelled))]
    settings = [f"{each.option}={each.suggested!r}" for each in found if each.proven]
    reading.check()
    Path(order.out).write_text(_recipe(store, settings), "utf-8")
    if order.report:
        Path(order.report).write_text(page(store, found), "utf-8")
    return found


def labelled_rows(store: Store, source: str) -> LabelledRows:
    """The ledger rows of `store` that labels `keep` and `drop` of `source` are of. WorkError where they are too few."""
    import polars as pl

    labels = {each.id: each.group for each in samples(source, group="label") if each.group in ("keep", "drop")}
    frame = query.ledger(store).filter(pl.col("id").is_in(list(labels))).filter(pl.col("id").is_unique())
    rows = frame.sort("id").collect().to_dicts()
    dropped = np.array([labels[row["id"]] == "drop" for row in rows], bool)
    if min(int(dropped.sum()), int((~dropped).sum())) < FEWEST:
        raise WorkError(
            f"{len(labels):,} labels, of rows of {store.name} {int((~dropped).sum())} keep and {int(dropped.sum())} drop",
            f"label {FEWEST} of each at least: maetdol view, then 1 and 2 on the rows of the step, kept and dropped",
        )
    draws = np.random.default_rng(SEED).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLES).T
    return LabelledRows(rows, dropped, draws.astype(np.float32))


def of_step(labelled: LabelledRows) -> Agreement:
    drops = np.array([row["reason"] is not None for row in labelled.rows], bool)
    return _agreement("", "", None, drops, labelled)


def of_limit(limit: MetricLimit, labelled: LabelledRows) -> list[Agreement]:
    """One limit: of each language that has its own, and of all the others."""
    langs = [_lang(limit, row) for row in labelled.rows]
    word, _, name = limit.option.partition(".")
    found = []
    for lang, value in [*limit.languages.items(), (None, limit.value)]:
        here = np.array([own == lang if lang else own not in limit.languages for own in langs], bool)
        values = np.array([np.nan if (v := row.get(limit.metric)) is None else v for row in labelled.rows], float)
        if value is None or not np.isfinite(values[here]).any():
            continue
        option = f"{word}.languages.{lang}.{name}" if lang else limit.option
        drops = _fails(limit, values, np.array([value]))[0]
        own = _agreement(option, limit.metric, value, drops[here], _some(labelled, here))
        found.append(_suggested(own, limit, values, here, labelled))
    return found


def _lang(limit: MetricLimit, row: dict[str, Any]) -> str | None:
    found = re.search(limit.language, row["note"] or "") if limit.language and limit.languages else None
    return found[1] if found else None


def _some(labelled: LabelledRows, here: np.ndarray) -> LabelledRows:
    rows = [row for row, own in zip(labelled.rows, here) if own]
    return LabelledRows(rows, labelled.dropped[here], labelled.draws[here])


def _fails(limit: MetricLimit, values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(limits, rows): which rows each limit drops. What was not measured (nan) is not dropped."""
    with np.errstate(invalid="ignore"):
        if limit.end == "low":
            return values[None, :] < limits[:, None]
        return (values[None, :] >= limits[:, None]) if limit.closed else (values[None, :] > limits[:, None])


# -- measures --------------------------------------------------------------------------------------------------------------


def counted(drops: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows dropped rightly, rows dropped, rows labelled drop: of decisions (..., rows) under weights (rows, resamples)."""
    return drops @ (labels[:, None] * weights), drops @ weights, labels @ weights


def f1_of(drops: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1 of decisions (..., rows) under weights (rows, resamples); 0 where nothing is or should be dropped."""
    right, dropped, wanted = counted(drops.astype(np.float32), labels.astype(np.float32), weights)
    return 2 * right / np.maximum(dropped + wanted, 1)


def kappa_of(drops: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cohen's kappa of decisions (..., rows) under weights (rows, resamples); nan where both say one thing of every row."""
    right, dropped, wanted = counted(drops.astype(np.float64), labels.astype(np.float64), weights.astype(np.float64))
    n = np.maximum(weights.sum(axis=0, dtype=np.float64), 1)
    alike = (n - dropped - wanted + 2 * right) / n
    chance = (dropped * wanted + (n - dropped) * (n - wanted)) / n**2
    return np.where(chance < 1, (alike - chance) / np.where(chance < 1, 1 - chance, 1), np.nan)


def _agreement(option: str, metric: str, value: float | None, drops: np.ndarray, labelled: LabelledRows) -> Agreement:
    labels, all_rows = labelled.dropped, np.ones((len(drops), 1), np.float32)
    right, dropped, wanted = (int(each.sum()) for each in (drops & labels, drops, labels))
    kappas = kappa_of(drops, labels, labelled.draws)
    return Agreement(
        option, metric, value, len(drops), right / dropped if dropped else float("nan"),
        right / wanted if wanted else float("nan"), float(f1_of(drops, labels, all_rows)[0]),
        float(kappa_of(drops, labels, all_rows)[0]), _interval(kappas),
    )  # fmt: skip


def _suggested(
    own: Agreement, limit: MetricLimit, values: np.ndarray, here: np.ndarray, labelled: LabelledRows
) -> Agreement:
    """`own`, with the limit under which the step would agree best, where labels enough are of its rows."""
    if min((labelled.dropped & here).sum(), (~labelled.dropped & here).sum()) < FEWEST:
        return own
    known = np.unique(values[here & np.isfinite(values)])
    tried = np.unique(known[np.linspace(0, len(known) - 1, CANDIDATES).astype(int)])
    others = np.array([any(word != limit.reason for word in row["reasons"] or ()) for row in labelled.rows], bool)
    now = np.array([row["reason"] is not None for row in labelled.rows], bool)
    steps = np.where(here, others | _fails(limit, values, tried), now)
    steps, limits = (
        np.vstack([now[None], steps]),
        np.concatenate([np.array([own.value], float), tried]),
    )  # as it is stands first: ties stay
    drawn, left_out = (
        np.nan_to_num(kappa_of(steps, labelled.dropped, draws)) for draws in (labelled.draws, labelled.draws == 0)
    )
    best = int(np.nan_to_num(kappa_of(steps, labelled.dropped, np.ones((len(now), 1))))[:, 0].argmax())
    chosen = drawn.argmax(axis=0)
    gains = left_out[chosen, np.arange(RESAMPLES)] - left_out[0]
    low, high = _interval(limits[chosen])
    gain = (float(np.median(gains)), *_interval(gains))
    return replace(own, suggested=float(limits[best]), suggested_interval=(low, high), gain=gain)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of them; nan where there are none."""
    values = values[np.isfinite(values)]
    return (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))) if len(values) else (np.nan, np.nan)


# -- what is written -------------------------------------------------------------------------------------------------------


def _recipe(store: Store, settings: Sequence[str]) -> str:
    """The step as YAML, with the limits that labels prove better."""
    import yaml

    options = store.require().get("options") or {}
    step = {"quality": changed(options, list(settings)) if settings else options}
    head = "# limits that labels prove better: " + (", ".join(settings) or "none")
    return head + "\n" + yaml.safe_dump([step], allow_unicode=True, sort_keys=False, width=120)


def lines(found: Sequence[Agreement]) -> list[list[str]]:
    """A table of them: a head, then a row each."""
    head = [
        "limit",
        "value",
        "labelled",
        "precision",
        "recall",
        "F1",
        "kappa",
        "95 %",
        "suggested",
        "95 %",
        "step's F1",
        "95 %",
    ]
    return [head, *([
        each.option or "the step", _number(each.value), f"{each.rows:,}", *(f"{share:.3f}" for share in (each.precision, each.recall, each.f1, each.kappa)),
        _range(each.kappa_interval, ".3f"), _number(each.suggested), _range(each.suggested_interval, ".6g"),
        f"{each.gain[0]:+.3f}" if each.gain else "", _range(each.gain[1:], "+.3f") if each.gain else "",
    ] for each in found)]  # fmt: skip


def page(store: Store, found: Sequence[Agreement]) -> str:
    """The table as Markdown."""
    head, *rows = ["| " + " | ".join(row) + " |" for row in lines(found)]
    return "\n".join([f"# {store.name} and its labels\n", head, "|---" * len(lines(found)[0]) + "|", *rows]) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _range(bounds: tuple[float, ...] | None, form: str) -> str:
    return "" if bounds is None else " to ".join(format(bound, form) for bound in bounds)
