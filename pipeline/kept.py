"""A finished store that many questions are put to: what does not change once it is committed is read once.

Reports and pages over a root ask for a manifest and its receipts again and again, and of object storage for ledgers and indexes:
these are fetched into a local folder of the process. Rows are not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.storage.files import Local
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.proof import committed_sizes, held
from pipeline.storage.shards import INDEX, number_of
from pipeline.storage.store import Store

KEPT_RECEIPTS = 4_096
"""Receipts held of a store: some 3 KB each. Of larger stores they are read at every question."""
KEPT_BYTES = 4 << 30
"""Bytes of ledgers and indexes that are fetched of a store; of larger ones, parts are read at every question."""

FETCHES = 8
"""Files that are fetched, and held whole, at once."""


class KeptStore(Store):
    """A store as it stood when its manifest was first read. `folder`: where files of object storage are kept while the process lasts;
    who makes it takes it away."""

    def __init__(self, path: str, folder: Path | None = None):
        super().__init__(path)
        self.folder = folder
        self._one = threading.RLock()
        self._manifest: dict[str, Any] | None = None
        self._receipts: dict[str, Receipt | None] = {}
        self._names: list[str] | None = None
        self._paths: dict[str | int, str] = {}
        self._size: int | None = None
        self._fetched: dict[str, dict[str, Path]] = {}

    def __reduce__(self):
        return (Store, (self.path, self.codec))

    def manifest(self) -> dict[str, Any] | None:
        if self._manifest is None:
            self._manifest = super().manifest()
        return self._manifest

    def receipt(self, shard: int | str) -> Receipt | None:
        name = number_of(shard)
        if name in self._receipts:
            return self._receipts[name]
        found = super().receipt(shard)
        if len(self._receipts) <= KEPT_RECEIPTS:
            self._receipts[name] = found
        return found

    def receipts(self) -> dict[int, Receipt]:
        with self._one:
            shards = self.shards()
            if not all(number_of(shard) in self._receipts for shard in shards):
                found = super().receipts()
                if len(found) > KEPT_RECEIPTS:
                    return found
                self._receipts |= {number_of(shard): receipt for shard, receipt in found.items()}
        return {shard: receipt for shard in shards if (receipt := self._receipts.get(number_of(shard))) is not None}

    def ledger_names(self) -> list[str]:
        if self._names is None:
            self._names = super().ledger_names()
        return self._names

    def files(self, of: Sequence[int] | None = None) -> list[str]:
        shards = self.shards() if of is None else of
        fresh = [shard for shard in shards if shard not in self._paths]
        self._paths |= zip(fresh, super().files(fresh) if fresh else ())
        return [self._paths[shard] for shard in shards]

    # -- files of object storage ---------------------------------------------------------------------------------------

    def ledger_files(self) -> list[str]:
        names = self.ledger_names()
        if not self._keeps():
            if not all(name in self._paths for name in names):
                self._paths |= zip(names, super().ledger_files())
            return [self._paths[name] for name in names]
        copies = self._copies("ledger")
        return [str(copies[name]) for name in names]

    def ledger(self, shard: int | str) -> pa.Table:
        copy = self._copies("ledger").get(number_of(shard)) if self._keeps() else None
        if copy is None:
            return super().ledger(shard)
        return Ledger.current(pa.ipc.open_file(pa.memory_map(str(copy))).read_all())

    def index(self, shard: int) -> np.ndarray:
        copy = self._copies("index").get(number_of(shard)) if self._keeps() else None
        if copy is None:
            return super().index(shard)
        return np.memmap(copy, INDEX, "r") if copy.stat().st_size else np.zeros(0, INDEX)

    def _keeps(self) -> bool:
        """Are ledgers and indexes of this store fetched?"""
        if isinstance(self.fs, Local) or self.folder is None:
            return False
        if self._size is None:
            sizes = committed_sizes(self.require())
            if None in sizes.values():  # of before manifests told them
                sizes = self.fs.sizes("ledger") | self.fs.sizes("index")
            self._size = sum(size or 0 for name, size in sizes.items() if name.startswith(("ledger/", "index/")))
        return self._size <= KEPT_BYTES

    def _copies(self, folder: str) -> dict[str, Path]:
        """Local copies of the ledgers or the indexes, by name, each held against its receipt as it came. Whatever asks for one asks for
        the others: all are fetched, several at once."""
        with self._one:
            if folder not in self._fetched:
                self._fetched[folder] = self._fetch(folder)
            return self._fetched[folder]

    def _fetch(self, folder: str) -> dict[str, Path]:
        assert self.folder is not None
        ending, proof = {"ledger": (".arrow", "ledger_bytes_hash"), "index": (".ids", "index_hash")}[folder]
        receipts = {number_of(shard): receipt for shard, receipt in self.receipts().items()}
        if folder == "ledger":
            receipts = {name: receipts.get(name) or self.require_receipt(name) for name in self.ledger_names()}
        proofs = {name: getattr(receipt, proof) for name, receipt in receipts.items()}
        self.folder.mkdir(parents=True, exist_ok=True)

        def fetch(shard: str) -> Path:
            name = f"{folder}/{shard}{ending}"
            path = Path(f"{self.folder}/{name.replace('/', '-')}")
            with self._damage_of(name):
                path.write_bytes(held(self.fs, name, proofs[shard], self.path) or b"")
            return path

        wanted = [name for name, expected in proofs.items() if expected]  # older indexes are not proven
        with ThreadPoolExecutor(FETCHES) as fetches:
            return dict(zip(wanted, fetches.map(fetch, wanted)))
