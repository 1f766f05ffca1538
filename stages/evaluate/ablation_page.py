"""An ablation as it is shown: a Markdown table, a plot, and the numbers behind them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.inspection.charts import number
from pipeline.inspection.page import environment
from pipeline.options import digest
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import Receipt
from stages.evaluate.proxies import MeasuredDocuments, VariantMeasure

FORMAT = 2
WIDE, LEFT, RIGHT, ROW = 680, 130, 70, 24


RECEIPT = "ablation.receipt.json"


def write(
    folder: str, report: dict[str, Any], found: dict[str, dict[str, VariantMeasure]], held: MeasuredDocuments, key: str
) -> str:
    """`ablation.json`, `ablation.md`, `ablation.svg` and `ablation-documents.csv` into `folder`, and last their receipt; returns the table."""
    into = filesystem(folder)
    text = page(report)
    files = {
        "ablation.json": (
            json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"
        ).encode(),
        "ablation.md": (text + "\n").encode(),
        "ablation.svg": plot(report).encode(),
        "ablation-documents.csv": documents(found["bits per byte"], held).encode(),
    }
    into.delete(RECEIPT)
    for name, data in files.items():
        into.write(name, data)
    hashes = {name: _hash(data) for name, data in files.items()}
    receipt = Receipt(
        stage="ablate",
        shard=-1,
        key=key,
        content_hash=digest(hashes),
        ledger_hash="",
        rows=report["documents"],
        files=hashes,
    )
    into.write(RECEIPT, receipt.dumps())
    return text


def valid_page(folder: str, key: str) -> str | None:
    """The table, where it and all beside it were made of this key and are whole."""
    at = filesystem(folder)
    if not at.exists(RECEIPT):
        return None
    receipt = Receipt.loads(at.read(RECEIPT), f"{folder}/{RECEIPT}")
    if receipt.key != key or any(
        not at.exists(name) or _hash(at.read(name)) != one for name, one in receipt.files.items()
    ):
        return None
    return at.read("ablation.md").decode()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def page(report: dict[str, Any]) -> str:
    """The texts, then a table per measure: mean, interval, and the change from the first text."""
    lines = [
        f"# {report['recipe']}: {len(report['variants'])} texts, {report['seeds']} proxies of {report['variants'][0]['parameters']:,} parameters on each",
        "",
        f"Measured on {report['documents']} documents of {', '.join(report['on'])}, which no proxy saw, nor near-copies of them (`excluded`).",
        "In brackets 95% intervals over documents (bootstrap) and seeds (Student's t), both drawn alike for every text.",
        "",
        "| text | steps | documents | MB | excluded | tokens trained on | times over the text |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in report["variants"]:
        excluded = sum(one["excluded"].values())
        lines.append(
            f"| {one['name']} | {' + '.join(one['steps'])} | {one['documents']:,} | {one['bytes'] / 1e6:.1f} | {excluded:,} | {one['tokens']:,} | {one['epochs']:.2f} |"
        )
    first = report["variants"][0]["name"]
    for name, variants in report["measures"].items():
        rows = next(iter(variants.values()))["rows"]
        unit = "lower is better" if name.startswith("bits") else "higher is better"
        lines += ["", f"**{name}** ({unit}; {rows} {'documents' if name.startswith('bits') else 'questions'})", ""]
        lines += [f"| text | mean | by seed | change from {first} | |", "| --- | --- | --- | --- | --- |"]
        lines += [compared_line(text, one, text == first) for text, one in variants.items()]
    return "\n".join(lines)


def compared_line(name: str, one: dict[str, Any], first: bool) -> str:
    """A row of a table: mean, seeds, the change from the `first` text and what it shows."""
    low, high = one["interval"]
    change = (
        "" if first else f"{one['change']:+.4f} [{one['change_interval'][0]:+.4f}, {one['change_interval'][1]:+.4f}]"
    )
    verdict = "better" if one["better"] else "worse" if one["worse"] else "" if first else "not told apart"
    return f"| {name} | {one['mean']:.4f} [{low:.4f}, {high:.4f}] | {', '.join(f'{x:.4f}' for x in one['seeds'])} | {change} | {verdict} |"


def plot(report: dict[str, Any]) -> str:
    """A panel per measure: per text the mean (dot), each seed (ring) and the 95% interval (bar)."""
    top, panels = 8, []
    for name, variants in report["measures"].items():
        panels.append(_panel(name, variants, top))
        top = panels[-1]["bottom"] + 30
    template = environment(Path(__file__).parent).get_template("ablation.jinja")
    return template.render(panels=panels, wide=WIDE, tall=top) + "\n"


def _panel(name: str, variants: dict[str, dict[str, Any]], top: int) -> dict[str, Any]:
    """Where everything of a measure is drawn, in the picture's units."""
    values = [x for one in variants.values() for x in (*one["interval"], *one["seeds"])]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def at(value: float) -> str:
        return f"{LEFT + (value - low) / span * (WIDE - LEFT - RIGHT):.1f}"

    rows = [
        {
            "name": text, "y": top + 26 + ROW * row + ROW // 2, "colour": row % 6 + 1, "mean": f"{one['mean']:.4f}", "at": at(one["mean"]),
            "start": at(one["interval"][0]), "end": at(one["interval"][1]), "seeds": [at(x) for x in one["seeds"]],
        }
        for row, (text, one) in enumerate(variants.items())
    ]  # fmt: skip
    ticks = [(at(tick), number(tick)) for tick in (low, low + span / 2, high)]
    return {"name": name, "top": top, "bottom": top + 26 + ROW * len(variants), "ticks": ticks, "rows": rows}


def documents(found: dict[str, VariantMeasure], held: MeasuredDocuments) -> str:
    """Every document's bits under every proxy, as CSV, so that other intervals can be taken of them. No text of the corpus."""
    names: Sequence[str] = [f"{text}-{seed + 1}" for text, one in found.items() for seed in range(len(one.numerator))]
    size = next(iter(found.values())).denominator
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "lang", "kept", "bytes", *names])
    for document, (row, kept) in enumerate(zip(held.rows, held.kept)):
        bits = [f"{value:.3f}" for one in found.values() for value in one.numerator[:, document]]
        writer.writerow([row["id"], row["lang"] or "und", int(kept), int(size[document]), *bits])
    return out.getvalue()
