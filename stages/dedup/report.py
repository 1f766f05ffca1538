"""What the report says of duplicates."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Any

import pyarrow.compute as pc

from pipeline.inspection.charts import Bars, Cell, PageHeading, Paragraph, Part, Table, number, parts_of
from pipeline.inspection.limits import MetricLimit
from pipeline.inspection.sections import Samples, as_text, row_in, some_ledgers
from pipeline.storage.ledger import dropped
from pipeline.storage.store import Store
from stages.dedup import Dedup

TITLE = "Duplicates"
KOREAN = {
    " clusters": "묶음", "Duplicates": "중복", "No duplicates among {} rows.": "행 {}개 가운데 중복이 없습니다.", "{} alike": "서로 같은 글 {}개",
    "{} removed in favour of {} kept.": "글 {1}개를 남기고 {0}개를 버렸습니다.",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Clusters of removed and kept documents, the largest with a sample."""
    t, parts = samples.t, list[Part]()
    for store in stores:
        manifest = store.require()
        parts.append(PageHeading(store.name))
        if not (gone := dropped(manifest["reasons"])):
            parts.append(Paragraph(t("No duplicates among {} rows.", number(manifest["rows"]))))
            continue
        read, note = some_ledgers(store, samples)
        sizes, largest = Counter[int](), list[tuple[int, str]]()
        for name in read:
            kept = store.ledger(name)
            kept = kept.filter(pc.and_(pc.is_null(kept["reason"]), pc.greater(kept["dedup.cluster_size"], 1)))
            alike = kept["dedup.cluster_size"].cast("int64").to_pylist()
            sizes.update(alike)
            largest = heapq.nsmallest(LARGEST, [*largest, *zip((-n for n in alike), kept["id"].to_pylist())])
        texts = samples.show(as_text(row_in([store], kept)) for _, kept in largest)
        body = [[Cell(kept, style="id"), -count, text] for (count, kept), text in zip(largest, texts)]
        parts += parts_of(
            Paragraph(t("{} removed in favour of {} kept.", number(gone), number(sizes.total()))),
            note,
            Bars([(t("{} alike", count), n) for count, n in sorted(sizes.items())], t(" clusters")),
            Table([t("representative"), t("alike"), t("sample")], body),
        )
    return parts


LARGEST = 5
"""Clusters that are shown with a text."""


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
