"""What the report says of preference pairs."""

from __future__ import annotations

from html import escape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inspection.charts import histogram, number, table
from pipeline.inspection.sections import Samples, receipts_of, with_rows
from pipeline.schema import words_of
from pipeline.storage.store import Store

TITLE = "Preference pairs"


def section(stores: list[Store], samples: Samples) -> str:
    """Pairs: methods, overlap with SFT, lengths of both sides, examples."""
    parts = []
    for store in with_rows(stores, "PAIR"):
        rows = store.table(["method", "chosen", "rejected", "prompt", "in_sft"])
        chosen, rejected = (_lengths(rows[side]) for side in ("chosen", "rejected"))
        if not len(chosen):
            parts.append(f"<h3>{escape(store.name)}</h3><p>No pairs.</p>")
            continue
        share = pc.mean(pc.fill_null(rows["in_sft"], False).cast(pa.float64())).as_py()
        facts = (
            f"{number(len(chosen))} pairs; {100 * share:.1f}% of the prompts stand in the SFT set; median length chosen "
            f"{np.median(chosen):.0f}, rejected {np.median(rejected):.0f} characters; the longer side is the chosen one in {100 * np.mean(chosen > rejected):.0f}%."
        )
        edges = np.linspace(0, max(chosen.max(), rejected.max(), 10), 25)
        hist = {
            "chosen": np.histogram(chosen, edges)[0].tolist(),
            "rejected": np.histogram(rejected, edges)[0].tolist(),
        }
        parts.append(
            f"<h3>{escape(store.name)}</h3><p>{facts}</p>{_bias(store)}{histogram([round(e) for e in edges.tolist()], hist, x='characters')}"
        )
        body = [
            samples.show(side[i].as_py()[-1]["content"] for side in (rows["prompt"], rows["chosen"], rows["rejected"]))
            for i in range(min(4, len(chosen)))
        ]
        parts.append(f"<details><summary>examples</summary>{table(['prompt', 'chosen', 'rejected'], body)}</details>")
    return "".join(parts)


def _bias(store: Store) -> str:
    """How the sides are told apart, the overlap as measured, and what is to be known of the judge; facts of the whole store."""
    notes = next((receipt.notes for receipt in receipts_of(store) if "sides" in receipt.notes), {})
    sentences = []
    if overlap := notes.get("sft_overlap"):
        near = overlap["share_with_near_copies"]
        sentences.append(
            f"asked for {overlap['asked']}, measured {overlap['share']:.3f} of {number(overlap['prompts'])} prompts in the SFT set"
            + (f", {near:.3f} with near-copies" if near is not None else "")
            if overlap["share"] is not None
            else "no prompts are left"
        )
    if sides := notes.get("sides"):
        sentences.append(
            f"a probe of fifty steps tells the sides apart in {100 * sides['probe_accuracy']:.0f}% of the cases, length alone in {100 * sides['length_accuracy']:.0f}%"
        )
        sentences += [f"<strong>{escape(sides['warning'])}</strong>"] if "warning" in sides else []
    if judge := notes.get("judge"):
        sentences.append(
            f"the judge compared {number(judge['judged'])} pairs: {number(judge['ties'])} ties, {number(judge['flips'])} decided by position "
            f"(flip rate {judge.get('flip_rate', '?')}), {number(judge['unparsed'])} unparsed; correlation of verdict and length {judge['length_correlation']}"
        )
    return f'<p class="soft">{"; ".join(sentences)}.</p>' if sentences else ""


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    return np.array([sum(len(text) for m in row or [] for text in words_of(m)) for row in column.to_pylist()])
