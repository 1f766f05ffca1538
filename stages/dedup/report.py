"""What the report says of duplicates."""

from __future__ import annotations

from html import escape
from typing import Any

import pyarrow.compute as pc

from pipeline.inspection.charts import bars, number, table
from pipeline.inspection.limits import MetricLimit
from pipeline.inspection.sections import Samples, as_text, row_in
from pipeline.storage.store import Store
from stages.dedup import Dedup

TITLE = "Duplicates"


def section(stores: list[Store], samples: Samples) -> str:
    """Clusters of removed and kept documents, the largest with a sample."""
    parts = []
    for store in stores:
        ledger = store.ledgers()
        gone = ledger.filter(pc.is_valid(ledger["duplicate_of"]))
        kept_for: dict[str, int] = {}
        for kept in gone["duplicate_of"].to_pylist():
            kept_for[kept] = kept_for.get(kept, 0) + 1
        sizes: dict[int, int] = {}
        for count in kept_for.values():
            sizes[count + 1] = sizes.get(count + 1, 0) + 1
        if not sizes:
            parts.append(f"<h3>{escape(store.name)}</h3><p>No duplicates among {number(len(ledger))} rows.</p>")
            continue
        parts.append(
            f"<h3>{escape(store.name)}</h3><p>{number(len(gone))} removed in favour of {number(len(kept_for))} kept.</p>"
        )
        parts.append(bars([(f"{s} alike", n) for s, n in sorted(sizes.items())], unit=" clusters"))
        largest = sorted(kept_for.items(), key=lambda item: (-item[1], item[0]))[:5]
        rows = [(k, n, row_in([store], k)) for k, n in largest]
        masked = samples.show(as_text(row) for _, _, row in rows)
        body = [[f'<span class="id">{k[:12]}</span>', number(n + 1), text] for (k, n, _), text in zip(rows, masked)]
        parts.append(table(["kept", "alike", "sample"], body, (1,)))
    return "".join(parts)


def limits(options: dict[str, Any]) -> list[MetricLimit]:
    """The least similarity at which a row is a near duplicate."""
    stage: Dedup = Dedup.build(options, "dedup")  # type: ignore[assignment]
    return [MetricLimit("dedup.near", "dedup.score", "high", "threshold", stage.threshold, closed=True)]


def card(stores: list[Store]) -> list[str]:
    """What the card of an exported data set says."""
    lines = []
    for store in stores:
        manifest = store.require()
        options = manifest.get("identity", {}).get("options", {}).get("keyed", {})
        gone = manifest["reasons"]
        reasons = ", ".join(f"`{reason}` {count:,}" for reason, count in gone.items()) or "none"
        limit = (
            f" (threshold {options['threshold']}, kept: {options['keep']})"
            if {"threshold", "keep"} <= set(options)
            else ""
        )
        lines.append(f"{store.name}{limit}: {sum(gone.values()):,} rows removed; {reasons}.")
    return lines
