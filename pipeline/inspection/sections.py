"""Sections of the report about every run, each a function from stores to HTML, and what the sections of stages share.

Numbers come from ledgers, receipts and artefacts alone. What is said of one stage stands in its folder: `report.py` there
has a `TITLE` and `section(stores, samples)`, asked where the stage made one of the run's stores. Text of documents is shown
only through `Samples`, which masks personal data first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.inspection.charts import bars, histogram, number, size, table
from pipeline.schema import words_of
from pipeline.storage.ledger import dropped, held_out
from pipeline.storage.store import ARTEFACT, Store

EXAMPLES = 3
CUT = 320


class Samples:
    """Texts fit to be shown: cut short, and with personal data masked by what the stages bring for it."""

    def __init__(self, mask: Callable[[list[str]], list[str]]):
        self.mask = mask

    def show(self, texts: Iterable[str | None]) -> list[str]:
        """HTML of each text, cut to 320 characters after masking."""
        whole = [(text or "")[: 4 * CUT] for text in texts]
        return [_cut(text) for text in self.mask(whole)] if whole else []


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return escape(text if len(text) <= CUT else text[:CUT].rstrip() + " …")


def with_rows(stores: list[Store], shape: str) -> list[Store]:
    """Those of this shape whose rows are all on disk."""
    return [
        s
        for s in stores
        if s.shape == shape and not s.require().get("dropped_text") and all(e["written"] for e in s.require()["shards"])
    ]


def receipts_of(store: Store) -> list[Any]:
    artefact = store.receipt(ARTEFACT)
    return [*store.receipts().values(), *([artefact] if artefact else [])]


def passes_of(store: Store) -> list[Any]:
    """The receipts of a barrier stage's passes: what they took is part of what the step took."""
    subs = [store.sub(f"passes/{name}") for name in store.fs.sub("passes").folders()]
    return [receipt for sub in subs for receipt in receipts_of(sub)]


# -- funnel ----------------------------------------------------------------------------------------------------------------


def funnel(stores: list[Store]) -> str:
    """Rows and bytes in and out of every step."""
    rows = []
    for store in stores:
        manifest, receipts = store.require(), receipts_of(store)
        into = sum(r.rows_in for r in receipts)
        lost, held = (sum(count(r.reasons) for r in receipts) for count in (dropped, held_out))
        spent = [*receipts, *passes_of(store)]
        made = number(manifest["rows"]) if manifest["shards"] else "artefact"
        share = 100 * lost / into if into else 0
        meter = f'<span class="track small"><span class="fill drop" style="width:{share:.1f}%"></span></span>'
        rows.append(
            [
                f"<b>{escape(store.name)}</b>",
                escape(manifest["stage"]),
                escape((manifest["shape"] or "").removeprefix("artefact:")),
                number(into),
                made,
                f"{number(lost)} {meter}",
                number(held) if held else "",
                size(manifest["bytes"] or (manifest["artefact"] or {}).get("bytes", 0)),
                f"{sum(r.seconds for r in spent):.1f}",
                f"{sum(r.cpu_seconds for r in spent):.1f}",
            ]
        )
    names = ["step", "stage", "makes", "in", "out", "dropped", "held out", "bytes", "wall seconds", "CPU seconds"]
    return (
        table(names, rows, range(3, 10))
        + '<p class="soft">Seconds of every task, added up; those of a barrier stage with its passes.</p>'
    )


def reasons(stores: list[Store], samples: Samples) -> str:
    """Per step, drops by reason, with examples fetched from upstream (dropped text is never copied into a store)."""
    parts = []
    for store in stores:
        counts: dict[str, int] = {}
        for receipt in receipts_of(store):
            for word, n in receipt.reasons.items():
                if not held_out({word: n}):
                    counts[word] = counts.get(word, 0) + n
        if counts:
            ordered = sorted(counts.items(), key=lambda item: -item[1])
            parts.append(
                f"<h3>{escape(store.name)}</h3>{bars(ordered)}{_examples(store, stores, [w for w, _ in ordered[:6]], samples)}"
            )
    return "".join(parts)


def _examples(store: Store, stores: list[Store], words: list[str], samples: Samples) -> str:
    ledger = store.ledgers().select(["id", "reason", "duplicate_of"])
    upstream = [s for s in _upstream(store, stores) if s in with_rows(stores, "DOCUMENT")]
    rows = []
    for word in words:
        ids = ledger.filter(pc.equal(ledger["reason"], word))["id"].slice(0, EXAMPLES).to_pylist()
        found = [row_in(upstream, i) for i in ids]
        found = [row for row in found if row]
        for row, text in zip(found, samples.show(as_text(row) for row in found)):
            rows.append([f"<code>{escape(word)}</code>", text, f'<span class="id">{row["id"][:12]}</span>'])
    return (
        f"<details><summary>examples</summary>{table(['reason', 'text (personal data masked)', 'id'], rows)}</details>"
        if rows
        else ""
    )


def _upstream(store: Store, stores: list[Store]) -> list[Store]:
    names = [entry["store"] for entries in store.require()["lineage"].values() for entry in entries]
    return [s for s in stores if s.name in names]


def row_in(stores: list[Store], row_id: str) -> dict[str, Any] | None:
    """The row of this id in the first of the stores that has it."""
    for store in stores:
        if found := store.find(row_id):
            return store.row(*found)
    return None


# -- corpus ----------------------------------------------------------------------------------------------------------------


def corpus(stores: list[Store]) -> str:
    """Languages and lengths of the last document store."""
    documents = with_rows(stores, "DOCUMENT")
    if not documents:
        return ""
    last = documents[-1]
    counts = last.require()["counts"]
    lengths = last.table(["text", "lang"])
    chars = pc.utf8_length(pc.fill_null(lengths["text"], "")).to_numpy()
    langs = np.array([lang or "none" for lang in lengths["lang"].to_pylist()])
    edges = np.unique(np.geomspace(50, max(chars.max(initial=100), 100) + 1, 25).astype(int))
    top = list(counts.get("lang", {}))[:5]
    groups = {word: np.histogram(chars[langs == word], edges)[0].tolist() for word in top}
    parts = [
        f"<p>{number(len(chars))} documents, {number(int(chars.sum()))} characters in <b>{escape(last.name)}</b>.</p>"
    ]
    parts.append(f'<div class="two"><div><h3>languages</h3>{bars(list(counts.get("lang", {}).items()), most=10)}</div>')
    parts.append(f"<div><h3>licences</h3>{bars(list(counts.get('licence', {}).items()), most=10)}</div></div>")
    parts.append(f"<h3>lengths</h3>{histogram(edges.tolist(), groups, x='characters')}")
    return "".join(parts)


def as_text(row: dict[str, Any] | None) -> str:
    """What a person would look at of a row of any shape."""
    if row is None:
        return ""
    if "text" in row:
        return f"{row['title']} | {row['text']}" if row.get("title") else row["text"] or ""
    return " → ".join("\n".join(words_of(m)) for m in row.get("messages") or row.get("prompt") or [])


def noted(store: Store, name: str) -> dict[str, int]:
    """Counts that the receipts of a store note under `name`, summed."""
    total: dict[str, int] = {}
    for receipt in receipts_of(store):
        for word, n in (receipt.notes.get(name) or {}).items():
            total[word] = total.get(word, 0) + n
    return total


def artefact_json(store: Store, name: str) -> dict[str, Any]:
    """A JSON file of an artefact; empty where it has none."""
    path = store.artefact() / name
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
