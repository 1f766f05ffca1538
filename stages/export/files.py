"""Which rows go into which file, and how an export is gone on with: a receipt per file, written last.

Files end at rows and are cut by what the manifest says of the shards, so that they are known before a row is read and each is
a task of its own: the same store and options give the same files with any number of workers, killed or not.

    OUT/_export/NNNNN.json    receipts of finished files, while the export is under way
    OUT/export.json           all of them, when it is done: names, bytes, SHA-256 and rows of every file
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import DamagedStore, UsageError
from pipeline.storage.files import Local, Remote, filesystem
from pipeline.storage.store import Store

RECEIPTS, DONE = "_export", "export.json"
FORMAT = 2
Part = tuple[int, int, int]
"""(shard, first row, row behind the last)."""
_NAME = re.compile(r"[^/\\\x00]+(/[^/\\\x00]+)*")


def cut(manifest: dict[str, Any], size: int | None, whole: bool = False) -> list[list[Part]]:
    """The rows of every file: about `size` bytes of the store each (before compression), all in one where it is None. `whole`:
    the rows of a shard stay together.

    >>> shards = [{"shard": 0, "rows": 4, "bytes": 40}, {"shard": 1, "rows": 2, "bytes": 20}, {"shard": 2, "rows": 1, "bytes": 5}]
    >>> cut({"shards": shards}, 25)
    [[(0, 0, 2)], [(0, 2, 4)], [(1, 0, 2), (2, 0, 1)]]
    """
    files: list[list[Part]] = [[]]
    held = 0
    for entry in manifest["shards"]:
        pieces = max(1, min(-(-entry["bytes"] // size), entry["rows"])) if size and not whole else 1
        for number in range(pieces):
            amount = entry["bytes"] // pieces
            if files[-1] and size and held + amount > size:
                files.append([])
                held = 0
            files[-1].append((entry["shard"], entry["rows"] * number // pieces, entry["rows"] * (number + 1) // pieces))
            held += amount
    return files


def batches(store: Store, parts: list[Part]) -> Iterator[pa.RecordBatch]:
    """The rows of a file, batch by batch."""
    for shard, first, last in parts:
        at = 0
        for batch in store.batches(shard):
            begin, end = max(first - at, 0), min(last - at, len(batch))
            if begin < end:
                yield batch.slice(begin, end - begin)
            at += len(batch)
            if at >= last:
                break


def held_rows(batch: pa.RecordBatch, shape: str | None, share: float) -> np.ndarray:
    """bool per row: held out of training, as `train`, `pack` and `evaluate` hold it. UsageError where rows cannot say so."""
    from stages.models.holdout import document_keys, held_out, prompt_key

    if "heldout" in batch.schema.names:
        return batch.column("heldout").fill_null(False).to_numpy(zero_copy_only=False)
    if shape == "DOCUMENT":
        return held_out(document_keys(batch), share)
    if shape in ("CHAT", "PAIR"):
        prompts = batch.column("messages" if shape == "CHAT" else "prompt").to_pylist()
        return held_out([prompt_key(messages) for messages in prompts], share)
    raise UsageError("these rows do not say what is held out of training", "leave --part out, or pack them again")


class FileTask(NamedTuple):
    """One file of an export (some formats: with files beside it)."""

    write: Callable[[Any], dict[str, Any]]
    """What writes it: rows of `parts` into files `name...` of `out`; returns its receipt but for the key."""
    order: Any
    """The options (`StoreExport`)."""
    plan: Any
    """What was found out about the whole store beforehand."""
    number: int
    files: int
    key: str
    name: str
    parts: list[Part]

    def store(self) -> Store:
        return Store(self.order.store)


def run_task(task: FileTask) -> dict[str, Any]:
    """Write a file, then its receipt."""
    receipt = {"key": task.key, **task.write(task)}
    filesystem(task.order.out).write(f"{RECEIPTS}/{task.number:05d}.json", dumps(receipt))
    return receipt


def dumps(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


class ExportedFile:
    """A file under way whose bytes are counted and hashed: what writes to it need not know."""

    def __init__(self, sink: BinaryIO):
        self.sink, self.size, self.sha, self.closed = sink, 0, hashlib.sha256(), False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.sha.update(view)
        self.sink.write(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None: ...

    def close(self) -> None:
        """The file is closed by who opened it."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def proof(self) -> dict[str, Any]:
        return {"bytes": self.size, "sha256": self.sha.hexdigest()}


@contextmanager
def create(out: str, name: str, proofs: dict[str, Any]) -> Iterator[Any]:
    """A new file of `out`, whole or absent; its proof goes to `proofs` under its name."""
    with filesystem(out).create(name) as sink:
        made = ExportedFile(sink)
        yield made
    proofs[name] = made.proof()


class Earlier:
    """What an export into this folder finished before: receipts by number, of whatever key."""

    def __init__(self, out: str):
        self.fs: Local | Remote = filesystem(out)
        self.receipts: dict[int, dict[str, Any]] = {}
        self.more: dict[str, Any] = {}
        page = self._page(DONE)
        if page is not None and "parts" in page:
            self.receipts.update(enumerate(page["parts"]))
            self.more = dict(page.get("beside") or {})
        for name in self.fs.names(RECEIPTS):
            receipt = self._page(f"{RECEIPTS}/{name}")
            if receipt is not None and name[:-5].isdigit():
                self.receipts[int(name[:-5])] = receipt
        self.there = self.fs.sizes("") if self.receipts else {}

    def _page(self, name: str) -> dict[str, Any] | None:
        try:
            page = json.loads(self.fs.read(name))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise DamagedStore(
                f"{self.fs.path(name)} cannot be read", "delete it: the export is then made anew"
            ) from None
        return page if isinstance(page, dict) else None

    def valid(self, number: int, key: str) -> dict[str, Any] | None:
        """The receipt of a file if it was made under this key and is there in its full length."""
        receipt = self.receipts.get(number)
        if receipt is None or receipt.get("key") != key:
            return None
        whole = all(self.there.get(name) == proof["bytes"] for name, proof in receipt["files"].items())
        return receipt if whole else None

    def reopen(self, valid: dict[int, dict[str, Any]]) -> None:
        """Take back the receipt of the whole, and every file an earlier export made here but those of the `valid` receipts."""
        for number, receipt in valid.items():
            self.fs.write(f"{RECEIPTS}/{number:05d}.json", dumps(receipt))
        self.fs.delete(DONE)
        self._drop({name for receipt in valid.values() for name in receipt["files"]})

    def _drop(self, keep: set[str]) -> None:
        made = {name for receipt in self.receipts.values() for name in receipt.get("files", {})} | set(self.more)
        for name in sorted(made - keep):
            if _NAME.fullmatch(name) and ".." not in name.split("/"):
                self.fs.delete(name)

    def forget(self) -> None:
        """Delete everything an export made here, its receipts first."""
        self.fs.delete(DONE)
        self.fs.delete(RECEIPTS)
        self._drop(set())


def finish(out: str, page: dict[str, Any], beside: dict[str, bytes]) -> None:
    """Write what stands beside the rows, then the receipt of all, and take the single ones away."""
    where = filesystem(out)
    for name, data in beside.items():
        where.write(name, data)
    proofs = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in beside.items()}
    where.write(DONE, dumps({"format": FORMAT, **page, "beside": proofs}))
    where.delete(RECEIPTS)
