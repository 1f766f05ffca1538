"""Sections of the report about every run, each a function from stores to parts of a page, and what sections of stages share.

Numbers come from ledgers, receipts and artefacts alone. What is said of one stage is in its folder: `report.py` there has a `TITLE`
and `section(stores, samples)`, asked where the stage made one of the run's stores. Text of documents is shown only through
`Samples`, which masks personal data first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from pipeline.engine.stage import Inputs, numbered_as
from pipeline.inspection.charts import (
    Bars,
    Beside,
    Cell,
    Fold,
    Histogram,
    Listing,
    PageHeading,
    Paragraph,
    Part,
    Table,
    figure,
    number,
    parts_of,
    size,
)
from pipeline.inspection.limits import MetricLimit, limits_of, measured
from pipeline.inspection.masks import beginnings, masked
from pipeline.inspection.query import whole
from pipeline.inspection.what_if import spread_of
from pipeline.inspection.words import PageWords
from pipeline.schema import words_of
from pipeline.storage.ledger import dropped, held_out
from pipeline.storage.store import ARTEFACT, Store
from pipeline.urls import host_of

EXAMPLES = 3
CUT = 320


class Samples:
    """What a section is made with: texts fit to be shown (cut short, and with personal data masked by what the stages bring for it),
    and `t`, words in the language of the page."""

    def __init__(self, mask: Callable[[list[str]], list[str]], t: PageWords | None = None):
        self.mask, self.t = mask, t or PageWords("en")

    def show(self, texts: Iterable[str | None]) -> list[str]:
        """The first 320 characters of each, on one line."""
        return [" ".join(text.split()) for text in beginnings([text or "" for text in texts], CUT, self.mask)]


def section_of(module: Any, stores: list[Store], samples: Samples) -> list[Part]:
    """What a stage's `report.py` says of its stores. One of before, which returned HTML, is named: its text is no part of a page."""
    found = module.section(stores, samples)
    if isinstance(found, str):
        line = f"{module.__name__}: `section` returns text; parts of a page are asked for (pipeline.inspection.charts)"
        return [Paragraph(line, "strong")]
    return found


# -- what is read of a step ------------------------------------------------------------------------------------------------


def with_rows(stores: list[Store], shape: str) -> list[Store]:
    """Those of this shape whose rows are all on disk."""
    return [s for s in stores if s.shape == shape and whole(s)]


def receipts_of(store: Store) -> list[Any]:
    artefact = store.receipt(ARTEFACT)
    return [*store.receipts().values(), *([artefact] if artefact else [])]


def passes_of(store: Store) -> list[Any]:
    """The receipts of a barrier stage's passes: what they took is part of what the step took."""
    subs = [store.sub(f"passes/{name}") for name in store.fs.sub("passes").folders()]
    return [receipt for sub in subs for receipt in receipts_of(sub)]


def noted(store: Store, name: str) -> dict[str, int]:
    """Counts that the receipts of a store note under `name`, summed."""
    return dict(sum((Counter(receipt.notes.get(name) or {}) for receipt in receipts_of(store)), Counter()))


class StepTotals:
    """Sums over the receipts of a step, and of its passes."""

    def __init__(self, store: Store):
        own = receipts_of(store)
        self.store, self.manifest = store, store.require()
        self.rows_in = sum(receipt.rows_in for receipt in own)
        self.reasons = Counter[str]()
        for receipt in own:
            self.reasons.update(receipt.reasons)
        spent = [*own, *passes_of(store)]
        self.seconds, self.cpu = (sum(getattr(r, name) for r in spent) for name in ("seconds", "cpu_seconds"))
        self.finished = max((receipt.finished for receipt in spent), default="")
        self.versions = {each for receipt in spent for each in receipt.versions.items()}


LEDGERS = 64
"""Ledgers of a step that are read."""
LEDGER_BYTES, TEXT_BYTES = 256 << 20, 512 << 20
"""Bytes of ledgers, and of shards of rows, that are read of a step: one of either at least."""


def spread(names: Sequence[Any], sizes: Sequence[int], most_bytes: int) -> list[Any]:
    """Evenly spread ones, at most LEDGERS and (where they are alike) `most_bytes` altogether; the first always."""
    return list(names[:: max(1, -(-len(names) // LEDGERS), -(-sum(sizes) // most_bytes))])


def some_ledgers(store: Store, samples: Samples) -> tuple[list[str], Paragraph | None]:
    """The ledgers of a step that a page reads, and what it says where those are not all."""
    names, sizes = store.ledger_names(), store.fs.sizes("ledger")
    read = spread(names, [sizes.get(f"ledger/{name}.arrow", 0) for name in names], LEDGER_BYTES)
    return read, _some(samples.t("Read from {} of {} ledgers."), read, names)


def some_shards(store: Store, samples: Samples) -> tuple[list[int], Paragraph | None]:
    """Likewise of rows."""
    entries = store.require()["shards"]
    read = spread([entry["shard"] for entry in entries], [entry["bytes"] for entry in entries], TEXT_BYTES)
    return read, _some(samples.t("Read from {} of {} shards."), read, entries)


def _some(words: str, read: Sequence[Any], every: Sequence[Any]) -> Paragraph | None:
    return Paragraph(words.format(number(len(read)), number(len(every))), "soft") if len(read) < len(every) else None


class ReadRows:
    """What a page reads of a step: ledgers, and the rows before the step that some of them speak of. All of them where they are
    few, else evenly spread ones, so that a step of 100,000 shards is read like one of a hundred."""

    def __init__(self, store: Store, stores: list[Store], samples: Samples):
        read, ledgers_note = some_ledgers(store, samples)
        self.ledgers = {name: store.ledger(name) for name in read}
        inputs = _inputs(store, stores) or {shard: (store, shard) for shard in (store.shards() if whole(store) else ())}
        known = [name for name in read if name.isdigit() and int(name) in inputs]
        bytes_of = {
            one.path: {e["shard"]: e["bytes"] for e in one.require()["shards"]}
            for one in {s for s, _ in inputs.values()}
        }
        sizes_before = [bytes_of[(at := inputs[int(name)])[0].path][at[1]] for name in known]
        self.before = {name: inputs[int(name)] for name in spread(known, sizes_before, TEXT_BYTES)}
        self.notes = [ledgers_note, _some(samples.t("Texts of {} of these {} shards."), list(self.before), known)]

    def joined(self) -> Iterator[tuple[pa.Table, pa.Table, np.ndarray]]:
        """A ledger, rows before the step, and where each ledger row's input is among them (-1: not there)."""
        for name, (store, shard) in self.before.items():
            rows = store.read(shard)
            if "id" in rows.column_names:
                found = pc.fill_null(pc.index_in(self.ledgers[name]["id"], value_set=rows["id"].combine_chunks()), -1)
                yield self.ledgers[name], rows, found.to_numpy()


def _inputs(store: Store, stores: list[Store]) -> dict[int, tuple[Store, int]]:
    """By number of a step's shard the shard it was made of; where that one's rows are not on disk, the shard before it."""
    names = [entry["store"] for entry in (store.require().get("lineage") or {}).get("of", ())]
    before = [s for name in names for s in stores if s.name == name and s.name != store.name]
    further = {each.path: _inputs(each, stores) for each in before if not whole(each)}
    found: dict[int, tuple[Store, int]] = {}
    for made, source, shard, _ in numbered_as(store.shards(), Inputs({"of": before})):
        if source.path not in further:
            found[made] = source, shard
        elif shard in further[source.path]:
            found[made] = further[source.path][shard]
    return found


# -- funnel ----------------------------------------------------------------------------------------------------------------


def funnel(steps: list[StepTotals], samples: Samples) -> list[Part]:
    """Rows and bytes in and out of every step, and what it took."""
    t, rows = samples.t, []
    for step in steps:
        manifest = step.manifest
        lost, held = (count(step.reasons) for count in (dropped, held_out))
        made = manifest["bytes"] or (manifest["artefact"] or {}).get("bytes", 0)
        rows.append(
            [
                Cell(step.store.name, style="strong"),
                step.rows_in,
                manifest["rows"] if manifest["shards"] else Cell(t("artefact")),
                figure(lost, share=lost / step.rows_in if step.rows_in else 0),
                held or "",
                figure(made, size(made)),
                figure(step.seconds, f"{step.seconds:,.1f}"),
                figure(step.cpu, f"{step.cpu:,.1f}"),
                manifest["stage"],
                (manifest["shape"] or "").removeprefix("artefact:"),
            ]
        )
    names = ["step", "in", "out", "dropped", "held out", "bytes", "wall seconds", "CPU seconds", "stage", "makes"]
    spent = [sum(step.seconds for step in steps), sum(step.cpu for step in steps)]
    total = [t("total"), *[""] * 5, *(figure(seconds, f"{seconds:,.1f}") for seconds in spent), "", ""]
    note = t("Seconds of every task, added up; those of a barrier stage with its passes.")
    return [Table([t(name) for name in names], rows, total), Paragraph(note, "soft")]


# -- why rows were dropped ---------------------------------------------------------------------------------------------------


def reasons(step: StepTotals, stores: list[Store], samples: Samples) -> list[Part]:
    """Drops of a step by reason, with texts from before it (dropped text is never copied into a store), numbers and limits, by
    language, source and host."""
    counts = [(word, n) for word, n in step.reasons.most_common() if not held_out({word: n})]
    limits = limits_of(step.store)
    if not (counts or limits) or not step.store.ledger_names():
        return []
    t, read = samples.t, ReadRows(step.store, stores, samples)
    return parts_of(
        PageHeading(step.store.name),
        Bars(counts) if counts else Paragraph(t("Nothing was dropped."), "soft"),
        read.notes,
        _examples(read, limits, [word for word, _ in counts], samples),
        _shares(read, limits, samples) if counts else None,
        _limits(step, limits, samples),
        _histograms(read, limits, step.reasons, samples),
    )


REASONS = 8
"""Reasons of a step that examples are shown of."""


def _examples(read: ReadRows, limits: list[MetricLimit], words: list[str], samples: Samples) -> Fold | None:
    """Texts of the commonest reasons, and kept ones beside them, evenly spread over a shard."""
    t, found = samples.t, {}
    for ledger, rows, at in read.joined():
        if not {"text", "messages", "prompt"} & set(rows.column_names):
            continue
        why = np.array(ledger["reason"].to_pylist(), object)
        for word in (*words[:REASONS], None):
            some, there = found.setdefault(word, []), np.flatnonzero((why == word) & (at >= 0))
            for i in (
                dict.fromkeys(there[np.linspace(0, len(there) - 1, EXAMPLES - len(some)).astype(int)])
                if len(there)
                else ()
            ):
                some.append((ledger.slice(i, 1).to_pylist()[0], rows.slice(at[i], 1).to_pylist()[0]))
    shown = [pair for some in found.values() for pair in some]
    texts = samples.show(as_text(row) for _, row in shown)
    cells = [
        [
            Cell(entry["reason"], style="code") if entry["reason"] else Cell(t("kept"), style="good"),
            Cell(text, lang=row.get("lang")),
            Cell("; ".join(map(str, measured(entry, limits)))),
            Cell(entry["id"], style="id"),
        ]
        for (entry, row), text in zip(shown, texts)
    ]
    if not cells:
        return None
    title = t("examples") if len(words) <= REASONS else t("examples of {} of {} reasons", REASONS, len(words))
    return Fold(title, [Table([t("reason"), t("text (personal data masked)"), t("measured"), "id"], cells)])


WORDS = 10
"""Languages, sources and hosts that are listed of a step: those that lost most."""


def _shares(read: ReadRows, limits: list[MetricLimit], samples: Samples) -> Fold | None:
    """What was kept and dropped by language, source and host."""
    t, pattern = samples.t, next((limit.language for limit in limits if limit.language), None)
    counted: dict[str, dict[str, Counter[str | None]]] = {"language": {}, "source": {}, "host": {}}
    rows_read = rows_found = 0
    for ledger, rows, at in read.joined():
        columns = {
            name: rows[name].to_pylist() if name in rows.column_names else None for name in ("lang", "source", "url")
        }
        sources = ledger["source"].to_pylist() if "source" in ledger.column_names else [None] * len(ledger)
        seen: set[str] = set()
        for i, row_id, reason, note, source in zip(
            at, *(ledger[n].to_pylist() for n in ("id", "reason", "note")), sources
        ):
            if row_id in seen:
                continue
            seen.add(row_id)
            rows_read, rows_found = rows_read + 1, rows_found + (i >= 0 or source is not None)
            lang, own, url = (values[i] if values and i >= 0 else None for values in columns.values())
            if pattern and (given := re.search(pattern, note or "")):
                lang = given[1]
            for kind, word in (("language", lang), ("source", own or source), ("host", host_of(url))):
                if word:
                    counted[kind].setdefault(word, Counter())[reason] += 1
    groups = []
    for kind, by_word in counted.items():
        worst = sorted(by_word.items(), key=lambda item: (-_lost(item[1]), item[0]))
        worst = [(word, counts) for word, counts in worst if _lost(counts)]
        body = [
            [
                name or "", counts[None], figure(lost := _lost(counts), share=lost / counts.total()),
                Cell(next(word for word, _ in counts.most_common() if word), style="code"),
            ]
            for name, (_, counts) in zip(masked([word for word, _ in worst[:WORDS]]), worst)
        ]  # fmt: skip
        if body:
            rest = (
                [Paragraph(t("{} of {}, those that lost most", WORDS, number(len(worst))), "soft")]
                if len(worst) > WORDS
                else []
            )
            groups.append([Table([t(kind), t("kept"), t("dropped"), t("mostly")], body), *rest])
    rest = (
        [Paragraph(t("Counted over {} of {} rows.", number(rows_found), number(rows_read)), "soft")]
        if rows_found < rows_read
        else []
    )
    return Fold(t("by language, source and host"), [Beside(groups), *rest]) if groups else None


def _lost(counts: Counter[str | None]) -> int:
    return counts.total() - counts[None]


LANGUAGES = 6
"""Languages of a limit that are listed."""


def _limits(step: StepTotals, limits: list[MetricLimit], samples: Samples) -> Fold | None:
    """Every limit of a step, and what went for it."""
    t, rows = samples.t, []
    for limit in limits:
        values = [
            f"{lang} {value:.6g}" if value is not None else f"{lang} –" for lang, value in limit.languages.items()
        ]
        more = f" + {len(values) - LANGUAGES}" if len(values) > LANGUAGES else ""
        sign = "≥" if limit.end == "low" else "<" if limit.closed else "≤"
        against = figure(limit.value, f"{sign} {limit.value:.6g}") if limit.value is not None else Cell("–")
        rows.append([Cell(limit.option, style="code"), Cell(limit.metric, style="code"), against, ", ".join(values[:LANGUAGES]) + more,
                     Cell(limit.reason, style="code"), step.reasons.get(limit.reason, 0)])  # fmt: skip
    head = ["option", "metric", "kept where", "by language", "reason", "dropped"]
    return Fold(t("limits"), [Table([t(name) for name in head], rows)]) if rows else None


METRICS = 12
"""Histograms of a step: of the metrics whose limits took most."""


def _histograms(read: ReadRows, limits: list[MetricLimit], lost: Counter[str], samples: Samples) -> Fold | None:
    """How the numbers behind the limits are spread."""
    import polars as pl

    t, drawn = samples.t, []
    metrics = list(dict.fromkeys(limit.metric for limit in sorted(limits, key=lambda limit: -lost[limit.reason])))
    ledgers = list(read.ledgers.values())
    for metric in metrics:
        columns: list[Any] = [
            pl.from_arrow(table.select(["reason", metric])) for table in ledgers if metric in table.column_names
        ]
        if not columns or len(drawn) == METRICS:
            continue
        edges, kept, gone = spread_of(pl.concat(columns).lazy(), metric)
        if edges:
            own = [limit.value for limit in limits if limit.metric == metric and limit.value is not None]
            drawn.append([Histogram(edges, {t("kept"): kept, t("dropped"): gone}, metric, own[0] if own else None)])
    if not drawn:
        return None
    title = (
        t("histograms") if len(drawn) == len(metrics) else t("histograms of {} of {} metrics", len(drawn), len(metrics))
    )
    return Fold(title, [Beside(drawn)])


# -- corpus ----------------------------------------------------------------------------------------------------------------


def corpus(stores: list[Store], samples: Samples) -> list[Part]:
    """Languages, licences and lengths of the last document store."""
    documents = with_rows(stores, "DOCUMENT")
    if not documents:
        return []
    t, last = samples.t, documents[-1]
    manifest = last.require()
    counts = manifest["counts"]
    read, note = some_shards(last, samples)
    lengths, langs = [], []
    for batch in (batch for shard in read for batch in last.batches(shard)):
        lengths.append(pc.utf8_length(pc.fill_null(batch.column("text"), "")).to_numpy(zero_copy_only=False))
        langs += [lang or "none" for lang in batch.column("lang").to_pylist()]
    chars, lang = np.concatenate([np.zeros(0, int), *lengths]), np.array(langs, object)
    edges = np.unique(np.geomspace(50, max(chars.max(initial=100), 100) + 1, 25).astype(int))
    top = list(counts.get("lang", {}))[:5]
    groups = {name: np.histogram(chars[lang == word], edges)[0].tolist() for name, word in zip(samples.show(top), top)}
    summary = t(
        "{} documents in {}, {} characters in what was read.",
        number(manifest["rows"]),
        last.name,
        number(int(chars.sum())),
    )
    return parts_of(
        Paragraph(summary),
        note,
        Beside([[PageHeading(t(title)), named_bars(counts.get(name, {}), samples)] for title, name in (("languages", "lang"), ("licences", "licence"))]),
        PageHeading(t("lengths")),
        Histogram(edges.tolist(), groups, t("characters")),
    )  # fmt: skip


def named_bars(counts: dict[str, int], samples: Samples, most: int = 10) -> Bars:
    """Bars of names that documents brought: personal data among them is masked."""
    names = samples.show(list(counts)[:most])
    return Bars([*zip(names, counts.values()), *list(counts.items())[most:]], most=most)


def as_text(row: dict[str, Any] | None) -> str:
    """What a person would look at of a row of any shape."""
    if row is None:
        return ""
    if "text" in row:
        return f"{row['title']} | {row['text']}" if row.get("title") else row["text"] or ""
    return " → ".join("\n".join(words_of(m)) for m in row.get("messages") or row.get("prompt") or [])


def row_in(stores: list[Store], row_id: str) -> dict[str, Any] | None:
    """The row of this id in the first of the stores that has it."""
    for store in stores:
        if found := store.find(row_id):
            return store.row(*found)
    return None


def artefact_json(store: Store, name: str) -> dict[str, Any]:
    """A JSON file of an artefact; empty where it has none."""
    path = store.artefact() / name
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


# -- how it was made -------------------------------------------------------------------------------------------------------


def recipe(steps: list[StepTotals], samples: Samples) -> list[Part]:
    """The recipe, as the manifests of the finished steps have it, and the versions of the libraries that decide bytes."""
    t, last = samples.t, steps[-1].manifest
    page = {name: last[name] for name in ("recipe", "seed") if last.get(name) is not None}
    page = {"name": page.pop("recipe"), **page} if "recipe" in page else page
    page["steps"] = [_entry(step) for step in steps]
    text = yaml.safe_dump(page, allow_unicode=True, sort_keys=False, width=110)
    text = "\n".join(line or "" for line in masked(text.splitlines()))
    libraries: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        for each in step.versions:
            libraries.setdefault(each, []).append(step.store.name)
    rows = [
        [Cell(name, style="code"), version, ", ".join(names)] for (name, version), names in sorted(libraries.items())
    ]
    return parts_of(Listing(text), Table([t("library"), t("version"), t("steps")], rows) if rows else None)


def _entry(step: StepTotals) -> dict[str, Any]:
    """A step as a recipe has it, every port named."""
    lineage = {
        port: [entry["store"] for entry in entries] for port, entries in (step.manifest.get("lineage") or {}).items()
    }
    ports = {port: names if len(names) > 1 else names[0] for port, names in lineage.items() if names}
    return {step.manifest["stage"]: {"name": step.store.name, **ports, **(step.manifest.get("options") or {})}}
