"""The sections of the report, each a function from stores to HTML: numbers from ledgers, receipts and artefacts alone.

A section whose stage is not in the run is an empty string. Text of documents is shown only through `Samples`, which
masks personal data first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inspection.charts import bars, histogram, lines, number, size, table
from pipeline.schema import DOCUMENT, words_of
from pipeline.storage.ledger import dropped, held_out, left_out
from pipeline.storage.store import ARTEFACT, Store

TRAINED = ("artefact:model", "artefact:adapter", "artefact:encoder", "artefact:reward")
"""Shapes that bring a history.jsonl."""
EXAMPLES = 3
CUT = 320


class Samples:
    """Texts fit to be shown: cut short, and with personal data masked by the `pii` stage."""

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
                escape(manifest["shape"] or ""),
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
        found = [_row(upstream, i) for i in ids]
        found = [row for row in found if row]
        for row, text in zip(found, samples.show(_shown(row) for row in found)):
            rows.append([f"<code>{escape(word)}</code>", text, f'<span class="id">{row["id"][:12]}</span>'])
    return (
        f"<details><summary>examples</summary>{table(['reason', 'text (personal data masked)', 'id'], rows)}</details>"
        if rows
        else ""
    )


def _upstream(store: Store, stores: list[Store]) -> list[Store]:
    names = [entry["store"] for entries in store.require()["lineage"].values() for entry in entries]
    return [s for s in stores if s.name in names]


def _row(stores: list[Store], row_id: str) -> dict[str, Any] | None:
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


def duplicates(stores: list[Store], samples: Samples) -> str:
    """Clusters of removed and kept documents, the largest with a sample."""
    parts = []
    for store in stores:
        if store.require()["stage"] != "dedup":
            continue
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
        rows = [(k, n, _row([store], k)) for k, n in largest]
        shown = samples.show(_shown(row) for _, _, row in rows)
        body = [[f'<span class="id">{k[:12]}</span>', number(n + 1), text] for (k, n, _), text in zip(rows, shown)]
        parts.append(table(["kept", "alike", "sample"], body, (1,)))
    return "".join(parts)


def _shown(row: dict[str, Any] | None) -> str:
    """What a person would look at of a row of any shape."""
    if row is None:
        return ""
    if "text" in row:
        return f"{row['title']} | {row['text']}" if row.get("title") else row["text"] or ""
    return " → ".join("\n".join(words_of(m)) for m in row.get("messages") or row.get("prompt") or [])


def personal(stores: list[Store]) -> str:
    """Counts per entity; never a value."""
    parts = []
    for store in stores:
        if store.require()["stage"] == "pii":
            counts = _noted(store, "entities")
            shown = sorted(counts.items(), key=lambda item: -item[1])
            parts.append(f"<h3>{escape(store.name)}</h3>" + (bars(shown) if shown else "<p>Nothing found.</p>"))
    return "".join(parts)


def _noted(store: Store, name: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for receipt in receipts_of(store):
        for word, n in (receipt.notes.get(name) or {}).items():
            total[word] = total.get(word, 0) + n
    return total


def tokenizers(stores: list[Store]) -> str:
    """Fertility and bytes per token by language, from the card."""
    parts = []
    for store in stores:
        if store.shape == "artefact:tokenizer":
            card = _json(store, "card.json")
            by_lang = card.get("measured", {}).get("by_language", {})
            rows = [
                [escape(lang), *(number(v.get(k) or 0) for k in ("fertility", "bytes_per_token", "documents"))]
                for lang, v in by_lang.items()
            ]
            facts = ", ".join(
                f"{escape(str(k))} {escape(str(v))}"
                for k, v in card.items()
                if isinstance(v, (int, float, str)) and len(str(v)) < 40
            )
            measured = table(["language", "tokens per word", "bytes per token", "documents"], rows, (1, 2, 3))
            parts.append(f"<h3>{escape(store.name)}</h3><p>{facts}</p>{measured}")
    return "".join(parts)


def _json(store: Store, name: str) -> dict[str, Any]:
    path = store.artefact() / name
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


# -- instructions and preferences ----------------------------------------------------------------------------------------


def instructions(stores: list[Store], samples: Samples) -> str:
    """Mined rows per rule and language, an example of each rule."""
    parts = []
    for store in with_rows(stores, "CHAT"):
        if store.require()["stage"] != "sft":
            continue
        rows = store.table(["rule", "lang", "messages"])
        rules = rows["rule"].to_pylist()
        langs = rows["lang"].to_pylist()
        counts: dict[str, int] = {}
        for rule, lang in zip(rules, langs):
            counts[f"{rule} · {lang or 'none'}"] = counts.get(f"{rule} · {lang or 'none'}", 0) + 1
        parts.append(
            f"<h3>{escape(store.name)}: {number(len(rules))} rows</h3>{bars(sorted(counts.items(), key=lambda i: -i[1]), most=40)}"
        )
        body = []
        for rule in sorted({r for r in rules if r}):
            messages = rows["messages"][rules.index(rule)].as_py()
            user = next((m["content"] for m in messages if m["role"] == "user"), "")
            answer = next((m["content"] for m in messages if m["role"] == "assistant"), "")
            body.append([f"<code>{escape(rule)}</code>", *samples.show([user, answer])])
        parts.append(
            f"<details><summary>an example of each rule</summary>{table(['rule', 'instruction', 'answer'], body)}</details>"
        )
    return "".join(parts)


def preferences(stores: list[Store], samples: Samples) -> str:
    """Pairs: methods, overlap with SFT, lengths of both sides, examples."""
    parts = []
    for store in with_rows(stores, "PAIR"):
        if store.require()["stage"] != "dpo":
            continue
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
    told = []
    if overlap := notes.get("sft_overlap"):
        near = overlap["share_with_near_copies"]
        told.append(
            f"asked for {overlap['asked']}, measured {overlap['share']:.3f} of {number(overlap['prompts'])} prompts in the SFT set"
            + (f", {near:.3f} with near-copies" if near is not None else "")
            if overlap["share"] is not None
            else "no prompts are left"
        )
    if sides := notes.get("sides"):
        told.append(
            f"a probe of fifty steps tells the sides apart in {100 * sides['probe_accuracy']:.0f}% of the cases, length alone in {100 * sides['length_accuracy']:.0f}%"
        )
        told += [f"<strong>{escape(sides['warning'])}</strong>"] if "warning" in sides else []
    if judge := notes.get("judge"):
        told.append(
            f"the judge settled {number(judge['judged'])} pairs: {number(judge['ties'])} ties, {number(judge['flips'])} decided by position "
            f"(flip rate {judge.get('flip_rate', '?')}), {number(judge['unparsed'])} unparsed; correlation of verdict and length {judge['length_correlation']}"
        )
    return f'<p class="soft">{"; ".join(told)}.</p>' if told else ""


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    return np.array([sum(len(text) for m in row or [] for text in words_of(m)) for row in column.to_pylist()])


# -- training --------------------------------------------------------------------------------------------------------------


def training(stores: list[Store]) -> str:
    """Curves out of each model's history.jsonl: every numeric field over the steps, losses first."""
    parts = []
    for store in stores:
        if store.shape not in TRAINED:
            continue
        path = store.artefact() / "history.jsonl"
        history = (
            [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()] if path.exists() else []
        )
        curves: dict[str, list[tuple[float, float]]] = {}
        for entry in history:
            for name in _numeric(entry):
                label = name if entry.get("kind", "train") == "train" else f"{name} (held out)"
                curves.setdefault(label, []).append((entry["step"], entry[name]))
        per = "per pair" if store.shape == "artefact:reward" else "nats per token"
        kinds = {
            "loss": f"loss ({per})",
            "logp": "log-probability",
            "accuracy": "preference accuracy",
            "margin": "margin",
            "reward": "reward",
            "kl": "divergence from the base",
        }
        groups = {word: {n: p for n, p in curves.items() if word in n} for word in kinds}
        groups["reward"] = {n: p for n, p in groups["reward"].items() if "accuracy" not in n}
        drawn = "".join(lines(groups[word], x="step", y=label) for word, label in kinds.items())
        parts.append(f'<h3>{escape(store.name)}</h3>{_left_out(store)}<div class="two">{drawn}</div>')
    return "".join(parts)


def _left_out(store: Store) -> str:
    """Rows a model was trained without, by reason, and those it was trained on without their reasoning."""
    found = store.receipt(ARTEFACT)
    unseen = found.notes.get("doctor", {}).get("rows whose reasoning the template leaves out") if found else 0
    told = left_out(found.notes.get("left_out") or {}) if found else ""
    lines = [
        f"Rows left out: {told}." if told else "",
        f"Reasoning left out by the template: {number(unseen)} rows." if unseen else "",
    ]
    return f"<p>{escape(' '.join(line for line in lines if line))}</p>" if any(lines) else ""


def _numeric(entry: dict[str, Any]) -> list[str]:
    return (
        [k for k, v in entry.items() if k != "step" and isinstance(v, (int, float)) and not isinstance(v, bool)]
        if "step" in entry
        else []
    )


def evaluations(stores: list[Store], samples: Samples) -> str:
    """Each model against the one before, and what it writes."""
    parts = []
    for store in stores:
        if store.shape == "artefact:evaluation":
            report = _json(store, "report.json")
            parts.append(
                f"<h3>{escape(store.name)}</h3>{_metrics(report)}{_comparisons(report)}{_generations(report, samples)}"
            )
    return "".join(parts)


def _metrics(report: dict[str, Any]) -> str:
    models = report.get("models", [])
    names = list(dict.fromkeys(name for model in models for name in model.get("metrics", {})))
    rows = [[escape(name), *(_measured(model, name) for model in models)] for name in names]
    return table(["measure", *(escape(str(model.get("name"))) for model in models)], rows, range(1, len(models) + 1))


def _measured(model: dict[str, Any], name: str) -> str:
    shown = _value(model.get("metrics", {}).get(name))
    interval = model.get("intervals", {}).get(name)
    return (
        f'{shown} <span class="soft">[{_value(interval[0])}, {_value(interval[1])}]</span>'
        if shown and interval
        else shown
    )


def _comparisons(report: dict[str, Any]) -> str:
    """Each model against the one before, with the interval of the change."""
    rows = [
        [
            escape(c["measure"]),
            f"{escape(c['before'])} → {escape(c['after'])}",
            _value(c["change"]),
            f"[{_value(c['low'])}, {_value(c['high'])}]",
            "better" if c["better"] else "",
        ]
        for c in report.get("comparisons", [])
    ]
    return table(["measure", "models", "change", "95% interval", ""], rows, (2, 3)) if rows else ""


def _value(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) else "" if value is None else escape(str(value))


def _generations(report: dict[str, Any], samples: Samples) -> str:
    body = []
    models = report.get("models", [])
    prompts = list(dict.fromkeys(g["prompt"] for model in models for g in model.get("generations", [])))
    for prompt in prompts:
        said = [
            next((g["text"] for g in model.get("generations", []) if g["prompt"] == prompt), "") for model in models
        ]
        body.append(samples.show([prompt, *said]))
    head = ["prompt", *(escape(str(model.get("name"))) for model in models)]
    return f"<details open><summary>what each model writes</summary>{table(head, body)}</details>" if body else ""


def empty_documents(texts: list[str]) -> pa.RecordBatch:
    """A DOCUMENT batch that holds only texts, for masking samples."""
    columns = {f.name: pa.nulls(len(texts), f.type) for f in DOCUMENT}
    columns["id"] = pa.array([f"{i:032x}" for i in range(len(texts))], pa.large_string())
    columns["text"] = pa.array(texts, pa.large_string())
    return pa.RecordBatch.from_arrays([columns[f.name] for f in DOCUMENT], schema=DOCUMENT)
