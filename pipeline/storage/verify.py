"""`maetdol verify`: every file of a root held against its hash, what is damaged named, and on request made ready to be redone.

    damaged   the bytes are not those that were written
    missing   a receipt or the manifest speaks of a file that is not there
    extra     a file that nothing speaks of, left by a run that was stopped; no damage

A repair takes the proof of what is damaged away, and its files with it: the next run redoes exactly that, because what has
no receipt does not exist.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.deletion.forgotten import writing
from pipeline.engine import progress
from pipeline.engine.pool import Inline, OnRay, Pool
from pipeline.engine.tasks import Proofs, collect
from pipeline.errors import DamagedStore, NewerStore, SourceError, repair_hint
from pipeline.inspection.terminal import escaped
from pipeline.storage import input_hashes, recordings
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import Receipt
from pipeline.storage.proof import ARTEFACT, LIST, PAGE, parsed_list, sizes_of, wrong_sizes
from pipeline.storage.shards import hash_of, number_of
from pipeline.storage.store import Store

log = logging.getLogger("maetdol.verify")

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Fault:
    """One file, and what is wrong with it."""

    store: str
    file: str
    kind: Literal["damaged", "missing", "extra"]
    what: str
    proof: str
    """Whose word it breaks: the receipt's name without `.json`, or `manifest.json`."""
    hint: str
    repairable: bool = True
    """Does a repair help?"""

    @property
    def path(self) -> str:
        return f"{self.store}/{self.file}"


@dataclass
class Verification:
    """What a verification held, and what it found."""

    files: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        return any(fault.kind != "extra" for fault in self.faults)

    def summary(self) -> dict[str, Any]:
        """Plain JSON."""
        faults = [
            {"path": fault.path, **{k: v for k, v in asdict(fault).items() if k not in ("proof", "repairable")}}
            for fault in self.faults
        ]
        return {"files": self.files, "bytes": self.bytes, "damaged": self.damaged, "faults": faults}


@dataclass(frozen=True)
class Check:
    """One receipt of a store (or of a pass) and the files it proves."""

    store: Store
    proof: str
    entry: dict[str, Any] | None
    """What the manifest says of it, if it does."""
    rows: bool
    """False where the rows were deleted on purpose (drop_raw)."""
    listed: Receipt | None = None
    """What the list of receipts says of it, if it does."""

    @property
    def name(self) -> str:
        return f"{self.store.name} {self.proof}"


@dataclass
class Checked:
    """Of one receipt: the files it proves, and those that are not as it says (name, kind, what)."""

    store: str
    proof: str
    names: list[str] = field(default_factory=list)
    bytes: int = 0
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    known: bool = True
    """False where the receipt cannot be read: what it proves is not known."""


def stores_at(path: str) -> list[Store]:
    """The store at `path`, or those directly below it. SourceError where there are none."""
    base = filesystem(path)
    if _is_store(base):
        return [Store(path)]
    found = [Store(base.path(name)) for name in base.folders() if _is_store(base.sub(name))]
    if not found:
        raise SourceError(f"{path} holds no stores", "give the root of a run, e.g. runs/quickstart, or one store of it")
    return found


def _is_store(where: Any) -> bool:
    return where.exists(MANIFEST) or bool(where.names("receipts"))


def parts_of(store: Store) -> Iterator[Store]:
    """The store and its passes."""
    yield store
    for name in store.fs.sub("passes").folders():
        sub = store.sub(f"passes/{name}")
        if sub.fs.names("receipts"):
            yield sub


# -- looking -----------------------------------------------------------------------------------------------------------


def verify(path: str, workers: int = 1) -> Verification:
    """Hold every file of the stores at `path` against its hash, in `workers` tasks at once (more than one starts Ray).
    Nothing is written. SourceError where there are no stores."""
    found, stores = Verification(), stores_at(path)
    pool: Pool = OnRay(workers) if workers > 1 else Inline()
    try:
        for store in stores:
            progress.current.begin(store.name)
            whole = True
            for part in parts_of(store):
                whole = _verify_part(part, found, pool, whole)
            _verify_recordings(store, found)
            _verify_inputs(store, found, pool)
            progress.current.end()
    finally:
        pool.close()
    return found


def report_text(path: str, found: Verification, repaired: bool, as_json: bool) -> str:
    """What was found, for a person or as JSON."""
    if as_json:
        return json.dumps({"path": path, **found.summary(), "repaired": repaired}, ensure_ascii=False, indent=1)
    lines = [escaped(f"{fault.kind:<8} {fault.path}: {fault.what}") for fault in found.faults]
    damaged = sum(fault.kind != "extra" for fault in found.faults)
    lines.append(
        f"{found.files:,} files, {found.bytes:,} bytes hold; {damaged:,} damaged or missing, {len(found.faults) - damaged:,} extra"
    )
    if repaired:
        again = "; now run again what made it: only that is redone" if damaged else ""
        lines += [f"taken away{again}"] if found.faults else []
        return "\n".join(lines + sorted({f"  hint: {fault.hint}" for fault in found.faults if not fault.repairable}))
    return "\n".join(lines + sorted({f"  hint: {fault.hint}" for fault in found.faults}))


def _verify_part(store: Store, found: Verification, pool: Pool, whole: bool) -> bool:
    """Returns False for a store whose text was deleted, and for its passes (`whole` says so): a repair helps neither."""
    there = store.sizes()
    proofs = {name[9:-5] for name in there if name.startswith("receipts/") and name.endswith(".json")}
    listed = _listed(store, found)
    manifest: dict[str, Any] | None = None
    try:
        manifest = store.manifest()
        found.files += manifest is not None
    except NewerStore:
        raise
    except DamagedStore as fault:
        found.faults.append(_fault(store, MANIFEST, "damaged", fault.message, MANIFEST))
    entries, rows = _entries(manifest), not (manifest or {}).get("dropped_text")
    checks = [
        Check(store, proof, entries.get(proof), rows, listed.get(proof)) for proof in sorted(proofs | set(entries))
    ]
    known, unknown = set(), set()
    for checked in collect(pool, check, checks, f"verify {store.name}"):
        loose = manifest is not None and checked.proof.isdigit() and checked.proof not in entries
        if loose:  # a shard that the manifest does not speak of
            continue
        found.files += len(checked.names) - len(checked.wrong)
        found.bytes += checked.bytes
        known |= {*checked.names, *(name for name, _, _ in checked.wrong)}
        unknown |= set() if checked.known else {checked.proof}
        for name, kind, what in checked.wrong:
            own = name == LIST
            found.faults.append(
                _fault(store, name, kind, what, name if own else checked.proof, own or (rows and whole))
            )
    for name in sorted(set(there) - known - {PAGE}):
        if not _may_belong(name, unknown):
            found.faults.append(_fault(store, name, "extra", "nothing speaks of it", ""))
    return rows and whole


def _listed(store: Store, found: Verification) -> dict[str, Receipt]:
    """The receipts that the store's list of them holds; a fault where it is damaged."""
    try:
        data = store.fs.read(LIST)
        listed = {name: each.receipt for name, each in parsed_list(data).items()}
        found.files, found.bytes = found.files + 1, found.bytes + len(data)
        return listed
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, RecursionError) as fault:
        found.faults.append(_fault(store, LIST, "damaged", str(fault), LIST))
        return {}


def _verify_recordings(store: Store, found: Verification) -> None:
    """What a step recorded below its passes."""
    for folder in recordings.below(store.path):
        whole, faults = recordings.wrong(folder)
        found.files += whole
        below = folder.relative_to(store.path).as_posix()
        for name, (kind, what) in sorted(faults.items()):
            found.faults.append(
                Fault(store.path, f"{below}/{name}", kind, what, recordings.FINISHED, recordings.hint(folder))
            )


def _verify_inputs(store: Store, found: Verification, pool: Pool) -> None:
    """The hashes that a step remembers of its input files, each held against the file where that is still what it was."""
    try:
        known = input_hashes.marked(input_hashes.parsed(store.fs.read(input_hashes.NAME)))
    except FileNotFoundError:
        return
    except ValueError as fault:
        found.faults.append(_fault(store, input_hashes.NAME, "damaged", str(fault), input_hashes.NAME))
        return
    found.files += 1
    tasks = input_hashes.tasks(known)
    for made in (
        each for some in collect(pool, input_hashes.hash_all, tasks, f"inputs of {store.name}") for each in some
    ):
        found.bytes += made.mark.size
        if known.get(made.mark, made.digest) != made.digest:
            what = f"{made.mark.path} has other bytes than when it was hashed, yet the same length, times and inode"
            found.faults.append(_fault(store, input_hashes.NAME, "damaged", what, input_hashes.NAME))


def _entries(manifest: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    if manifest is None:
        return {}
    entries = {number_of(entry["shard"]): entry for entry in manifest["shards"]}
    return {**entries, ARTEFACT: manifest["artefact"]} if manifest.get("artefact") else entries


def _may_belong(name: str, unknown: set[str]) -> bool:
    """Could a receipt that cannot be read have spoken of this file?"""
    return name.split("/")[1].partition(".")[0] in unknown or (name.startswith(f"{ARTEFACT}/") and ARTEFACT in unknown)


def _fault(store: Store, name: str, kind: Any, what: str, proof: str, rows: bool = True) -> Fault:
    if not rows and kind != "extra":
        return Fault(
            store.path,
            name,
            kind,
            what,
            proof,
            f"its text was deleted (run.drop_raw): run the recipe with --from {Store(store.path.partition('/passes/')[0]).name}",
            False,
        )
    hint = repair_hint(store.path)
    return Fault(store.path, name, kind, what, proof, hint.partition(" and run")[0] if kind == "extra" else hint)


def check(task: Check) -> Checked:
    """Hold one receipt and its files against their hashes."""
    store, name = task.store, f"receipts/{task.proof}.json"
    done = Checked(store.path, task.proof)
    try:
        receipt = store.receipt(task.proof)
    except DamagedStore as fault:
        return Checked(store.path, task.proof, wrong=[(name, "damaged", fault.message)], known=False)
    if receipt is None:
        return Checked(store.path, task.proof, wrong=[(name, "missing", "the manifest speaks of it")], known=False)
    done.names.append(name)
    if task.listed not in (None, receipt):
        done.wrong.append((LIST, "damaged", f"what it says of {name} is not what stands there"))
    if task.entry is not None and (differs := _disagree(receipt, task.entry)):
        done.wrong.append((name, "damaged", f"its {differs} is not what the manifest says"))
    for file, size in sizes_of(receipt, task.proof).items():
        if task.rows or not file.startswith(("shards/", "index/")):
            done.names.append(file)
            done.bytes += size or 0
            if wrong := _wrong(store, receipt, task.proof, file, size):
                done.wrong.append((file, *wrong))
    return done


def _disagree(receipt: Receipt, entry: dict[str, Any]) -> str:
    same = ("shard", "rows", "bytes", "content_hash", "ledger_hash", "key", "written")
    return next((word for word in same if getattr(receipt, word) != entry[word]), "")


def _wrong(store: Store, receipt: Receipt, proof: str, file: str, size: int | None) -> tuple[str, str] | None:
    """(kind, what) of a file that is not as its receipt says."""
    folder, _, rest = file.partition("/")
    expected = {
        "shards": receipt.bytes_hash,
        "ledger": receipt.ledger_bytes_hash,
        "index": receipt.index_hash,
        ARTEFACT: receipt.files.get(rest),
    }[folder]
    try:
        if size is not None and (length := store.fs.size(file)) != size:
            return "damaged", f"has {length:,} bytes instead of {size:,}"
        with store.fs.open(file) as handle:
            found = hash_of(handle, hashlib.blake2b(digest_size=16) if folder == ARTEFACT else None)
    except FileNotFoundError:
        return "missing", f"receipts/{proof}.json speaks of it"
    return None if found == expected else ("damaged", "its bytes are not those that were written")


# -- repair -----------------------------------------------------------------------------------------------------------


def repair(path: str, found: Verification) -> None:
    """Take away the proofs of what is damaged, with their files, and what is extra.

    Stores whose rows were deleted on purpose are left: they can only be made again from the start.
    """
    if not found.faults:
        return
    with writing(path):
        for fault in found.faults:
            if fault.repairable:
                strike(Store(fault.store), fault)


def strike(store: Store, fault: Fault) -> None:
    """Take one proof away. A pass takes the manifest of its store along, so that the next run looks at its passes again."""
    if fault.kind == "extra":
        store.fs.delete(fault.file)
    elif fault.proof == recordings.FINISHED:
        recordings.give_up(Path(fault.path).parent)
    elif fault.proof in (input_hashes.NAME, LIST):
        store.fs.delete(fault.proof)
    elif fault.proof == MANIFEST:
        store.invalidate_manifest()
    else:
        take_away(store, fault.proof)
        owner = store.path.partition("/passes/")[0]
        if owner != store.path:
            Store(owner).invalidate_manifest()


def take_away(store: Store, proof: str) -> None:
    """The receipt first, then what it proved."""
    store.drop(proof)
    if proof == ARTEFACT:
        store.fs.delete(ARTEFACT)


def clear(store: Store) -> None:
    """Before a stage works on a store again: proofs that cannot be read, or of files that are missing or cut, go, in the store
    and in its passes, each named. By sizes alone: what is damaged within is seen where it is read."""
    for part in parts_of(store):
        proofs = Proofs(part)
        for proof in proofs.names:
            if proofs.whole(proof) is None:
                log.warning(f"{part.path}: {_why(part, proof, proofs.sizes)}; made again")
                take_away(part, proof)


def _why(store: Store, proof: str, there: dict[str, int]) -> str:
    try:
        wrong = wrong_sizes(sizes_of(store.receipt(proof), proof), there)  # type: ignore[arg-type]
        return "; ".join(f"{name} {what}" for name, what in sorted(wrong.items())[:3])
    except DamagedStore:
        return f"receipts/{proof}.json is damaged"
