"""What-if as a person reads it: a table per setting, a line per sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.deletion.forgotten import Reading
from pipeline.errors import UsageError
from pipeline.storage.store import Store
from stages.quality.whatif import KeptCounts, Ledgers, changed
from stages.text.words.token_rates import bytes_per_token, usual

if TYPE_CHECKING:
    from stages.quality.commands import WhatIf

MOST = 200
"""Settings of one sweep."""


def answer(options: WhatIf) -> int:
    """Print what the settings keep; write the page where one is asked for."""
    reading = Reading(options.store)
    ledgers = Ledgers(Store(options.store))
    rates = bytes_per_token(options.tokenizer) if options.tokenizer else {}
    base = changed(ledgers.stage, options.set, options.without)
    before, after = ledgers.tally(ledgers.decided(ledgers.stage)), ledgers.tally(ledgers.decided(base))
    print(f"{'':<28}{'documents':>12}{'words':>14}{'bytes':>16}{'tokens' if rates else '':>16}")
    _line("as it ran", before, rates)
    if options.set or options.without:
        _line("with these settings", after, rates)
        _reasons(before, after)
    for metric, lang, percent in map(_top, options.top):
        of = f" in {lang}" if lang else ""
        print(f"{percent:g} % of the documents{of} have {metric} >= {ledgers.threshold(metric, percent, lang):.6g}")
    curves: dict[str, list[tuple[float, KeptCounts]]] = {}
    for sweep in options.sweep:
        limit, values = sweep_of(sweep)
        curves[limit] = [
            (value, ledgers.tally(ledgers.decided(changed(base, [f"{limit}={value!r}"])))) for value in values
        ]
        for value, tally in curves[limit]:
            _line(f"{limit} = {value:g}", tally, rates)
    reading.check()
    if options.out:
        Path(options.out).write_text(page(options.store, curves, rates), "utf-8")
        print(f"page      {options.out}")
    return 0


def _line(label: str, tally: KeptCounts, rates: dict[str, float]) -> None:
    tokens = f"{reckoned(tally, rates):>16,.0f}" if rates else ""
    print(f"{label:<28}{tally.documents:>12,}{tally.words:>14,}{tally.bytes:>16,}{tokens}")


def _reasons(before: KeptCounts, after: KeptCounts) -> None:
    for why in sorted(set(before.reasons) | set(after.reasons)):
        old, new = before.reasons.get(why, 0), after.reasons.get(why, 0)
        if old != new:
            print(f"  {why:<40}{old:>10,} -> {new:>10,}")


def _top(word: str) -> tuple[str, str | None, float]:
    metric, _, percent = word.partition("=")
    metric, _, lang = metric.partition("@")
    try:
        value = float(percent)
    except ValueError:
        value = -1.0
    if not 0 < value <= 100:
        raise UsageError(
            f"--top {word!r}", "write a metric and a percentage: quality_model.score=10, perplexity.perplexity@ko=70"
        )
    return metric, lang or None, value


def sweep_of(word: str) -> tuple[str, list[float]]:
    """`word_count.min=10:100:10` as the limit and its values, the last included. UsageError for anything else."""
    limit, _, span = word.partition("=")
    try:
        first, last, step = (float(part) for part in span.split(":"))
    except ValueError:
        raise UsageError(f"--sweep {word!r}", "write LIMIT=FROM:TO:STEP, e.g. word_count.min=10:100:10") from None
    if step <= 0 or last < first or (last - first) / step > MOST:
        raise UsageError(
            f"--sweep {word!r} has no values, or more than {MOST}", "give FROM below TO and a STEP above 0"
        )
    values = [round(float(v), 10) for v in np.arange(first, last + step / 2, step)]
    return limit, [int(v) if v.is_integer() else v for v in values]


def reckoned(tally: KeptCounts, rates: dict[str, float]) -> float:
    """Tokens from bytes per language."""
    rest = usual(rates)
    return sum(size / rates.get(lang, rest) for lang, (_, size) in tally.by_lang.items())


def page(store: str, curves: dict[str, list[tuple[float, KeptCounts]]], rates: dict[str, float]) -> str:
    """One self-contained page: kept documents and words (tokens) over each limit."""
    from pipeline.inspection.charts import Curves, Table, figure
    from pipeline.inspection.page import whole_page
    from pipeline.inspection.words import PageWords

    sections = []
    for limit, points in curves.items():
        name, amount = (
            ("tokens", [(v, reckoned(t, rates)) for v, t in points])
            if rates
            else ("words", [(v, t.words) for v, t in points])
        )
        rows = [[figure(v, f"{v:g}"), t.documents, t.words, t.bytes] for v, t in points]
        documents = {"documents": [(v, t.documents) for v, t in points]}
        parts = (
            Curves(documents, limit, "documents kept"),
            Curves({name: amount}, limit, f"{name} kept"),
            Table([limit, "documents", "words", "bytes"], rows),
        )
        sections.append((limit, parts))
    return whole_page(f"What if: {Path(store).name}", "", sections, PageWords("en"))
