"""Walk a recipe: what is done, what is stale, what is to do.

A step is done when its manifest stands under its current key and all its proofs are there. Keys chain through content
hashes, so a change of one option redoes exactly the steps (and, for shard stages, the shards) that depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.deletion import forgotten
from pipeline.engine import nodes, progress
from pipeline.engine.pool import Inline, OnRay, Pool
from pipeline.engine.recipe import Recipe, Step, is_path
from pipeline.engine.stage import Inputs, Link, ShardStage, run_chain, versions
from pipeline.errors import DamagedStore, NewerStore, SourceError, WorkError
from pipeline.options import identity
from pipeline.storage import sinks, verify
from pipeline.storage.files import filesystem, inside
from pipeline.storage.ledger import COLUMNS, Receipt, dropped, left_out
from pipeline.storage.lock import RootLock
from pipeline.storage.proof import committed_sizes, one_of_each, wrong_sizes
from pipeline.storage.shards import clock
from pipeline.storage.store import ARTEFACT, Store


@dataclass(frozen=True)
class Status:
    """Of one step: `done`, `stale`, `new`, or `follows` (its inputs will change), and why."""

    step: str
    state: str
    why: str = ""
    shards: str = ""


@dataclass(frozen=True)
class StepOutcome:
    """What a run did with one step."""

    step: str
    did: bool
    rows: int
    dropped: int
    why: str
    """Of a trained model: the reasons of the rows it was made without."""
    seconds: float
    store: str


def inputs_of(recipe: Recipe, step: Step, known: dict[str, list[str]] | None = None) -> Inputs:
    """The stores behind a step's ports."""
    names = {s.name for s in recipe.steps}
    stores = {
        port: [recipe.store(ref) if ref in names else _outside(ref, port, step) for ref in refs]
        for port, refs in step.ports.items()
    }
    hardware, home = recipe.hardware(step.name), recipe.store(step.name).path
    return Inputs(stores, recipe.seed, hardware.workers or 1, hardware.gpus, dict(known or {}), home)


def _outside(ref: str, port: str, step: Step) -> Store:
    store = type(step.stage).ports[port].store(ref)
    if not is_path(ref) or store.manifest() is None:
        raise SourceError(
            f"step {step.name!r}: `{port}: {ref}` is not a finished store",
            "give the folder of a store (it holds manifest.json)",
        )
    return store


def complete(recipe: Recipe, step: Step) -> tuple[bool, str]:
    """Is the step done under its current key? And why not."""
    sink = recipe.store(step.name)
    try:
        manifest = sink.manifest()
    except NewerStore:
        raise
    except DamagedStore:  # its proofs stand, and it follows from them
        return False, "its manifest is damaged"
    if manifest is None:
        partial = sum(name[:-5].isdigit() for name in sink.fs.names("receipts"))
        return False, f"not finished ({partial} shards proven)" if partial else "not made yet"
    inputs = inputs_of(recipe, step)
    key = step.stage.key(inputs)
    if manifest["key"] != key:
        return False, _difference(manifest.get("identity", {}), describe(step, inputs))
    wrong = wrong_sizes(committed_sizes(manifest), sink.sizes())
    if not wrong:
        return True, ""
    name, what = next(iter(sorted(wrong.items())))
    return False, f"{name} {what}" + (f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else "")


def describe(step: Step, inputs: Inputs) -> dict[str, Any]:
    """What the key is made of, kept in the manifest so that a later run can say what changed."""
    return {
        "options": identity(step.stage),
        "seed": inputs.seed if step.stage.uses_rng else None,
        "libraries": versions(step.stage.needs()),
        "inputs": inputs.content(),
    }


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    before, after = old.get("options", {}).get("keyed", {}), new["options"]["keyed"]
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        return "option changed: " + ", ".join(sorted(changed))
    if old.get("options", {}).get("version") != new["options"]["version"]:
        return "the stage's version changed"
    if old.get("libraries") != new["libraries"]:
        return "library changed: " + ", ".join(
            n for n in new["libraries"] if new["libraries"][n] != old.get("libraries", {}).get(n)
        )
    if old.get("seed") != new["seed"]:
        return "seed changed"
    ports = [p for p in new["inputs"] if new["inputs"][p] != old.get("inputs", {}).get(p)]
    return "input changed: " + ", ".join(ports) if ports else "the recorded key is of another kind"


def plan(recipe: Recipe, start: str | None = None) -> list[Status]:
    """What a run would do, and why, without doing it."""
    found: list[Status] = []
    redo: set[str] = set()
    forced = False
    for step in recipe.steps:
        forced = forced or step.name == start
        upstream = sorted(ref for refs in step.ports.values() for ref in refs if ref in redo)
        if upstream:
            found.append(Status(step.name, "follows", "its input will change: " + ", ".join(upstream)))
        else:
            done, why = complete(recipe, step)
            if done and not (forced and step.name == start):
                found.append(Status(step.name, "done"))
                continue
            state = "stale" if recipe.store(step.name).fs.exists("manifest.json") else "new"
            found.append(Status(step.name, state, why or "asked for by --from", _shards_to_do(recipe, step)))
        redo.add(step.name)
    return found


def _shards_to_do(recipe: Recipe, step: Step) -> str:
    if not isinstance(step.stage, ShardStage):
        return ""
    from pipeline.engine.stage import input_shards, lean_link, valid_receipts
    from pipeline.engine.tasks import Proofs

    sink = recipe.store(step.name)
    link = lean_link(Link(step.stage, inputs_of(recipe, step), sink, True))
    total = todo = 0
    there = [Proofs(sink)]
    for number, _, _, content in input_shards(link.inputs):
        total += 1
        key = step.stage.shard_key(link.inputs, content)
        todo += valid_receipts([link], number, key, there) is None
    return f"{todo} of {total} shards"


def make_pool(recipe: Recipe) -> Pool:
    """The pool a recipe asks for."""
    if recipe.run.pool == "inline":
        return Inline()
    run = recipe.run
    pool = OnRay(run.workers, run.address, run.window, run.memory, run.wait)
    if run.address is not None:
        try:
            nodes.check(pool.ray, recipe.root, sorted({name for step in recipe.steps for name in step.stage.needs()}))
        except BaseException:
            pool.close()
            raise
    return pool


class LazyPool:
    """Starts the real pool at the first task: a run with nothing to do never starts Ray."""

    def __init__(self, make: Callable[[], Pool], workers: int):
        self._make, self._pool, self.workers = make, None, workers

    def each(self, fn: Any, tasks: Any, **resources: Any) -> Iterator[Any]:
        tasks = list(tasks) if not isinstance(tasks, list) else tasks
        if not tasks:
            return iter(())
        if self._pool is None:
            self._pool = self._make()
        return self._pool.each(fn, tasks, **resources)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()


class _Sized:
    """A pool with one step's hardware filled in, that stops where the lock is lost."""

    def __init__(self, pool: Any, hardware: Any, lock: RootLock):
        self.pool, self.hardware, self.workers, self.lock = pool, hardware, hardware.workers or pool.workers, lock

    def each(
        self, fn: Any, tasks: Any, *, memory: int | None = None, gpus: float = 0, workers: int | None = None
    ) -> Iterator[Any]:
        hardware = self.hardware
        given = {
            "memory": memory or hardware.memory,
            "gpus": gpus or hardware.gpus,
            "workers": workers or hardware.workers,
        }
        for result in self.pool.each(fn, tasks, **given):
            self.lock.still()
            yield result

    def close(self) -> None: ...


def run(
    recipe: Recipe,
    start: str | None = None,
    pool: Pool | None = None,
    lock_at: str | None = None,
    overwrite: bool = False,
) -> list[StepOutcome]:
    """Bring every step of the recipe up to date. `start` redoes that step and what depends on it; `lock_at` locks that
    folder instead of the root (a single stage locks its sink alone); `overwrite` empties stores that another stage or step
    made and that stand where a step of this recipe writes.

    Raises RootLocked, WorkError (a stage failed; the other shards are kept), UsageError. Returns one Outcome per step.
    """
    root = filesystem(lock_at or recipe.root)
    if start is not None:
        recipe.step(start)
    forgotten.no_takedown(root)
    sinks.check(recipe, overwrite)
    with RootLock(root) as lock:
        forgotten.no_takedown(root)
        sinks.check(recipe, overwrite)
        if overwrite:
            sinks.sweep(recipe)
        mine = pool or LazyPool(lambda: make_pool(recipe), recipe.run.workers or 1)
        try:
            return list(_walk(recipe, start, mine, lock))
        finally:
            if pool is None:
                mine.close()


def _walk(recipe: Recipe, start: str | None, pool: Any, lock: RootLock) -> Iterator[StepOutcome]:
    chains = fused(recipe) if recipe.run.fuse else [[step] for step in recipe.steps]
    for step in recipe.steps:
        if step.stage.reads():
            step.stage.prepare(inputs_of(recipe, step), pool)
    _text_for_all(recipe, start)
    ready: set[str] = set()
    for chain in chains:
        if start in {step.name for step in chain}:
            _invalidate(recipe.store(start))  # type: ignore[arg-type]
        todo = [step for step in chain if not (complete(recipe, step)[0] and _on_disk(recipe, step, step is chain[-1]))]
        began = time.monotonic()
        if todo:
            lock.check()
            _make(recipe, chain, pool, lock)
        for step in chain:
            yield _outcome(recipe, step, bool(todo), (time.monotonic() - began) / len(chain))
        ready |= {step.name for step in chain}
        if recipe.run.drop_raw:
            for step in recipe.steps:
                if step.stage.redacts and step.name in ready:
                    drop_raw(recipe, step, ready)


def _text_for_all(recipe: Recipe, start: str | None) -> None:
    """WorkError, before anything is made, where a step must be made from text that is deleted and that no step makes again."""
    if not any(_dropped(recipe.store(step.name)) for step in recipe.steps):
        return
    redo: set[str] = set()
    for step in recipe.steps:
        refs = inputs_names(step)
        if step.name == start or redo & set(refs) or not complete(recipe, step)[0]:
            redo.add(step.name)
            ports = inputs_of(recipe, step).stores.items()
            kept = [
                [store for ref, store in zip(step.ports[port], stores) if ref not in redo] for port, stores in ports
            ]
            _check_text_is_there(Inputs({str(at): stores for at, stores in enumerate(kept)}), step)


def _dropped(store: Store) -> bool:
    try:
        return bool((store.manifest() or {}).get("dropped_text"))
    except DamagedStore:
        return False


def _on_disk(recipe: Recipe, step: Step, needed: bool) -> bool:
    """A step that was fused away must be made for real once its rows are needed."""
    manifest = recipe.store(step.name).require()
    return not needed or bool(manifest.get("dropped_text")) or all(entry["written"] for entry in manifest["shards"])


def _invalidate(store: Store) -> None:
    """--from: the step's proofs go, so that it is done again."""
    store.invalidate_manifest()
    store.unlist_receipts()
    for name in store.fs.names("receipts"):
        if (stem := name.removesuffix(".json")).isdigit() or stem == ARTEFACT:
            store.fs.delete(f"receipts/{name}")
    store.fs.delete("passes")


def fused(recipe: Recipe) -> list[list[Step]]:
    """Chains of shard stages where each is read by the next alone; every other step alone."""
    chains: list[list[Step]] = []
    for step in recipe.steps:
        last = chains[-1][-1] if chains else None
        if last and _joins(recipe, last, step):
            chains[-1].append(step)
        else:
            chains.append([step])
    return chains


def _joins(recipe: Recipe, last: Step, step: Step) -> bool:
    readers = [s.name for s in recipe.steps for refs in s.ports.values() for ref in refs if ref == last.name]
    both = isinstance(last.stage, ShardStage) and isinstance(step.stage, ShardStage)
    return both and step.ports.get("of") == (last.name,) and readers == [step.name] and len(inputs_names(step)) == 1


def inputs_names(step: Step) -> list[str]:
    return [ref for refs in step.ports.values() for ref in refs]


def _make(recipe: Recipe, chain: list[Step], pool: Any, lock: RootLock) -> None:
    label, began = "+".join(step.name for step in chain), time.monotonic()
    clock.restart()
    progress.current.begin(label)
    links = []
    for step in chain:
        inputs = inputs_of(recipe, step)
        _check_text_is_there(inputs, step)
        for store in (store for stores in inputs.stores.values() for store in stores):
            forgotten.no_takedown(store.fs)
        step.stage.validate_inputs(inputs)
        sink = recipe.store(step.name)
        sink.invalidate_manifest()
        sink.fs.delete(forgotten.HASHED)
        verify.clear(sink)
        links.append(Link(step.stage, inputs, sink, step is chain[-1]))  # type: ignore[arg-type]
    first = chain[0]
    sized = _Sized(pool, recipe.hardware(first.name), lock)
    alone = len(chain) == 1
    made = [first.stage.run(links[0].inputs, links[0].sink, sized)] if alone else run_chain(links, sized)
    for step, link, receipts in zip(chain, links, made):
        lock.check()
        ordered = sorted(receipts, key=lambda each: each.shard)
        commit(recipe, step, link, {receipt.shard: receipt for receipt in ordered if receipt.shard >= 0})
    manifest = links[-1].sink.require()
    rows = f"{manifest['rows']:,} rows" if manifest["shards"] else _made(links[-1].sink)
    lost, why = _lost(links[-1].sink)
    progress.current.end(f"{label}: {rows}, {lost:,} dropped{why}, {time.monotonic() - began:.1f} s")


def _made(sink: Store) -> str:
    if sink.shape == "artefact:evaluation":
        return "measured"
    found = sink.receipt(ARTEFACT)
    rows = found.notes.get("rows") if found else None
    return f"trained in {rows}" if isinstance(rows, str) else "trained"


def _lost(sink: Store) -> tuple[int, str]:
    """Rows that a step dropped; of a trained model those it was made without, and by which reasons: no shard says so."""
    manifest, found = sink.require(), sink.receipt(ARTEFACT)
    without = found.notes.get("left_out") if found and not manifest["shards"] else None
    if not isinstance(without, dict) or not without:
        return dropped(manifest["reasons"]), ""
    return dropped(without), f" ({left_out(without)})"


def _check_text_is_there(inputs: Inputs, step: Step) -> None:
    for stores in inputs.stores.values():
        for store in stores:
            if (store.manifest() or {}).get("dropped_text"):
                raise WorkError(
                    f"step {step.name!r} must be redone, but the text of {store.name!r} was deleted (run.drop_raw)",
                    f"run with --from {store.name} to make it again, or undo the change",
                )


def commit(recipe: Recipe, step: Step, link: Link, receipts: dict[int, Receipt]) -> None:
    """The manifest of a finished step: what it is, what made it, from what. `receipts`: of its shards, by number."""
    inputs = inputs_of(recipe, step)
    lineage = {
        port: [
            {"store": _relative(store.path, recipe.root), "content_hash": h}
            for store, h in zip(stores, inputs.content()[port])
        ]
        for port, stores in inputs.stores.items()
    }
    columns = link.sink.columns(one_of_each(receipts.values())) if link.written and receipts else ()
    link.sink.commit_manifest(
        {
            "recipe": recipe.name,
            "step": step.name,
            "stage": step.stage_name,
            "shape": step.shape,
            "key": step.stage.key(inputs),
            "seed": recipe.seed,
            "options": step.given,
            "identity": describe(step, inputs),
            "lineage": lineage,
            "schema": [{"name": field.name, "type": str(field.type)} for field in columns],
            **_noted([link.sink.receipt(ARTEFACT), *receipts.values()], step.stage.manifest_notes),
        },
        list(receipts),
        receipts,
    )


def _noted(receipts: Iterable[Receipt | None], names: Sequence[str]) -> dict[str, Any]:
    """The notes of these names, which receipts say for the whole store."""
    facts: dict[str, Any] = {}
    for receipt in receipts:
        for name, value in (receipt.notes if receipt else {}).items():
            if name in names:
                facts.setdefault(name, value)
    return facts


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/") + "/")


def _outcome(recipe: Recipe, step: Step, did: bool, seconds: float) -> StepOutcome:
    manifest = recipe.store(step.name).require()
    rows = manifest["rows"]
    return StepOutcome(
        step.name, did, rows, *_lost(recipe.store(step.name)), round(seconds, 1), recipe.store(step.name).path
    )


def ancestors(recipe: Recipe, step: Step) -> list[Step]:
    """Every step whose rows reach `step`, in recipe order."""
    wanted, frontier = set(), [step.name]
    while frontier:
        for ref in inputs_names(recipe.step(frontier.pop())):
            if ref in {s.name for s in recipe.steps} and ref not in wanted:
                wanted.add(ref)
                frontier.append(ref)
    return [s for s in recipe.steps if s.name in wanted]


def drop_raw(recipe: Recipe, redacted: Step, ready: set[str] | None = None) -> None:
    """Delete the rows of every text store `redacted` was made from whose readers are all in `ready` (default: all are); receipts,
    ledgers and manifests stay and stay valid. A store that lies outside of the root, by a link, is not touched. Of stores that
    brought documents in, keyed hashes of the addresses stay, so that a takedown finds them."""
    names = {step.name for step in recipe.steps}
    for step in ancestors(recipe, redacted):
        store = recipe.store(step.name)
        readers = {each.name for each in recipe.steps if step.name in inputs_names(each)}
        if (ready is not None and not readers <= ready) or not inside(store.path, recipe.root):
            continue
        manifest = store.require()
        if (step.shape or "").startswith("artefact"):
            continue
        if not manifest.get("dropped_text"):
            if names.isdisjoint(inputs_names(step)):
                _keep_addresses(store, forgotten.key_of(filesystem(recipe.root), make=True))
            store.write_manifest({**manifest, "dropped_text": True})
        kept = forgotten.HASHED.partition("/")[2]
        for folder in (
            "shards",
            "index",
            *(f"passes/{name}" for name in store.fs.sub("passes").folders() if name != kept),
        ):
            store.fs.delete(folder)


def _keep_addresses(store: Store, key: bytes) -> None:
    store.fs.delete(forgotten.HASHED)
    for number, receipt in store.receipts().items():
        if receipt.written and receipt.rows:
            hashes = (forgotten.hashed(batch, key) for batch in store.batches(number))
            store.sub(forgotten.HASHED).put(
                number, hashes, COLUMNS.empty_table(), key=forgotten.keyed("", key).hex(), stage=receipt.stage
            )
