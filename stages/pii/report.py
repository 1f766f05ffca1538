"""What the report says of personal data, and how it masks samples of any stage."""

from __future__ import annotations

import pyarrow as pa

from pipeline.inspection.charts import Bars, PageHeading, Paragraph, Part
from pipeline.inspection.sections import Samples, noted
from pipeline.schema import DOCUMENT
from pipeline.storage.store import Store

TITLE = "Personal data"
KOREAN = {
    "Nothing found.": "찾은 것이 없습니다.", "Personal data": "개인정보",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Counts per entity; never a value."""
    parts: list[Part] = []
    for store in stores:
        shown = sorted(noted(store, "entities").items(), key=lambda item: -item[1])
        parts += [PageHeading(store.name), Bars(shown) if shown else Paragraph(samples.t("Nothing found."))]
    return parts


def card(stores: list[Store]) -> list[str]:
    """What the card of an exported data set says: counts per entity, never a value."""
    lines = []
    for store in stores:
        found = sorted(noted(store, "entities").items(), key=lambda item: -item[1])
        options = store.require().get("identity", {}).get("options", {}).get("keyed", {})
        counts = ", ".join(f"{entity} {count:,}" for entity, count in found) or "nothing found"
        action = f" (action: {options['action']})" if "action" in options else ""
        lines.append(f"{store.name}{action}: {counts}.")
    return lines


def mask(texts: list[str]) -> list[str]:
    """Texts with every entity replaced by its tag."""
    from stages.pii import Pii

    batch = _documents(texts)
    work = Pii().work(batch)
    kept = dict(zip(work.kept.column("id").to_pylist(), work.kept.column("text").to_pylist()))
    return [kept.get(i, "(dropped for personal data)") for i in batch.column("id").to_pylist()]


def _documents(texts: list[str]) -> pa.RecordBatch:
    """A DOCUMENT batch that holds only texts."""
    columns = {f.name: pa.nulls(len(texts), f.type) for f in DOCUMENT}
    columns["id"] = pa.array([f"{i:032x}" for i in range(len(texts))], pa.large_string())
    columns["text"] = pa.array(texts, pa.large_string())
    return pa.RecordBatch.from_arrays([columns[f.name] for f in DOCUMENT], schema=DOCUMENT)
