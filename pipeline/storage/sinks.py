"""What a command may write over: its own earlier output, and nothing else.

Looked at before anything is touched, the lock included. Paths are compared as the disk or the object storage knows them.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pipeline.engine import catalog
from pipeline.engine.recipe import Recipe, Step
from pipeline.errors import DamagedStore, NewerStore, SourceError, UsageError
from pipeline.options import CONTENT
from pipeline.storage import input_hashes
from pipeline.storage.files import Local, Remote, canonical, filesystem, inside, is_remote, parents
from pipeline.storage.proof import LIST
from pipeline.storage.store import ARTEFACT, Store

PARTS = ("manifest.json", LIST, "receipts", "shards", "index", "ledger", "passes", ARTEFACT, "takedown")
"""What a store is made of; the manifest and the proofs first, so that a sweep that is killed leaves nothing that counts."""
BESIDE = ("lock.json", "lock.taking", input_hashes.NAME)
"""What may lie in a store and is none of it."""


def check(recipe: Recipe, overwrite: bool = False) -> None:
    """Raise UsageError where a step would write into what it, or another step, reads; into a file; into a folder that is no
    store; into the store of another stage or step (unless `overwrite`)."""
    apart(recipe)
    for step in recipe.steps:
        sink = recipe.store(step.name)
        _is_folder(sink)
        _not_in_a_store(sink)
        occupied = foreign(step, sink)
        if occupied and not overwrite:
            raise UsageError(
                f"{sink.path} {occupied}",
                "write to another path, or give --overwrite: what stands there is then deleted",
            )


def outside(folder: str, *sources: str) -> None:
    """UsageError where a folder that a verb fills with files is a store or lies in one, or holds what is read, or is a file."""
    sink = Store(folder)
    _is_folder(sink)
    _not_in_a_store(sink)
    if _is_store(sink.fs):
        raise UsageError(f"{folder} is a store", "give another folder: files of another kind have no part in it")
    for source in sources:
        _apart(source, [sink], "this command")


def apart(recipe: Recipe) -> None:
    """Raise UsageError where a step would write into what it, or a step after it, reads. Nothing but names is looked at."""
    names = {step.name for step in recipe.steps}
    for at, step in enumerate(recipe.steps):
        later = {each.name for each in recipe.steps[at:]}
        for port, refs in step.ports.items():
            for ref in refs:
                if ref in later or ref not in names:
                    _apart(
                        recipe.store(ref).path if ref in later else ref,
                        [recipe.store(name) for name in later],
                        f"step {step.name!r}: `{port}`",
                    )
        for path in (*_expanded(step.stage.reads()), *_content_files(step.stage)):
            _apart(path, [recipe.store(step.name)], f"step {step.name!r}")
    _check_distinct_paths(recipe)


def sweep(recipe: Recipe) -> None:
    """Empty every store that another stage or step made: its rows, ledgers, passes and artefact go, proofs first. Files that
    belong to no store stay."""
    for step in recipe.steps:
        sink = recipe.store(step.name)
        if foreign(step, sink):
            for part in PARTS:
                sink.fs.delete(part)


def foreign(step: Step, sink: Store) -> str:
    """What stands at a step's sink and is not its own earlier output, in words; empty where all is well."""
    made = maker(sink)
    if made is not None:
        stage, name = made
        if catalog.current_stage(stage) != step.stage_name:
            return f"holds a store that {stage!r} made, not {step.stage_name!r}"
        return f"holds the store of step {name!r}, not {step.name!r}" if name and name != step.name else ""
    others = sorted(set(_entries(sink.fs)) - {*PARTS, *BESIDE})
    return f"is not empty and no store (it holds {others[0]})" if others else ""


def maker(store: Store) -> tuple[str, str] | None:
    """(stage, step) of what made the store, by its manifest or, unfinished, by any receipt (the step is then unknown)."""
    try:
        manifest = store.manifest()
    except NewerStore:
        raise
    except DamagedStore:  # its receipts say who made it
        manifest = None
    if manifest is not None and manifest.get("stage"):
        return str(manifest["stage"]), str(manifest.get("step") or "")
    parts = [store.fs, *(store.fs.sub(f"passes/{name}") for name in store.fs.sub("passes").folders())]
    for part in parts:
        for name in part.names("receipts"):
            try:
                stage = json.loads(part.read(f"receipts/{name}")).get("stage")
            except (ValueError, AttributeError, RecursionError):
                continue  # a damaged receipt proves nothing
            if stage:
                return str(stage), ""
    return None


def _entries(where: Local | Remote) -> list[str]:
    return [*where.folders(), *where.names("")] if isinstance(where, Remote) or where.root.is_dir() else []


def _is_folder(sink: Store) -> None:
    """Nothing on the way to the sink is a file."""
    if isinstance(sink.fs, Local):
        for part in (sink.fs.root, *sink.fs.root.parents):
            if part.is_file():
                raise UsageError(f"{part} is a file, and a store is a folder", "give a folder that does not exist yet")


def _not_in_a_store(sink: Store) -> None:
    for above in parents(sink.path):
        if _is_store(filesystem(above)):
            raise UsageError(f"{sink.path} lies inside the store {above}", "write beside it, not into it")


def _is_store(where: Local | Remote) -> bool:
    """A folder with proofs, or with a manifest that lists shards."""
    try:
        if any(name.removesuffix(".json").isdigit() or name == f"{ARTEFACT}.json" for name in where.names("receipts")):
            return True
        return where.exists("manifest.json") and "shards" in json.loads(where.read("manifest.json"))
    except (ValueError, TypeError, RecursionError, PermissionError, SourceError):
        return False


def _apart(source: str, sinks: list[Store], who: str) -> None:
    for sink in sorted(sinks, key=lambda store: store.path):
        if inside(source, sink.path) and inside(sink.path, source):
            raise UsageError(
                f"{who} reads {source}, which is where {sink.path} would be written",
                "give another sink: a command never writes over what it reads",
            )
        if inside(source, sink.path):
            raise UsageError(
                f"{who} reads {source}, which lies inside {sink.path}, where would be written",
                "give a sink that does not hold the source",
            )
        if inside(sink.path, source):
            raise UsageError(
                f"{who} reads {source}, and {sink.path} would be written inside it", "give a sink outside of the source"
            )


def _expanded(entries: Any) -> Iterator[str]:
    """Paths, with local globs resolved to what they name now."""
    for entry in entries:
        path = entry if is_remote(entry) else os.path.expanduser(entry)
        if not is_remote(path) and glob.has_magic(path) and not os.path.exists(path):
            yield from glob.iglob(path, recursive=True)
        elif not glob.has_magic(path) or not is_remote(path):
            yield path


def _content_files(options: BaseModel) -> Iterator[str]:
    """Files and folders that options name, those of nested options too."""
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        items = (
            list(value)
            if isinstance(value, (list, tuple))
            else list(value.values())
            if isinstance(value, dict)
            else [value]
        )
        for item in items:
            if isinstance(item, BaseModel):
                yield from _content_files(item)
            elif CONTENT in field.metadata and isinstance(item, str):
                yield item


def _check_distinct_paths(recipe: Recipe) -> None:
    """No two steps write to one folder, by a link or on a disk that does not tell capitals."""
    seen: dict[str, str] = {}
    for step in recipe.steps:
        path = canonical(recipe.store(step.name).path)
        if path in seen:
            raise UsageError(
                f"steps {seen[path]!r} and {step.name!r} both write to {path}", "remove the link, or rename a step"
            )
        seen[path] = step.name
