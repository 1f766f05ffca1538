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
from pipeline.storage.proof import held
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
        self._sizes: dict[str, int] | None = None

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
        self.receipts()
        return [str(path) for path in self._local("ledger", ".arrow", "ledger_bytes_hash", names)]

    def ledger(self, shard: int | str) -> pa.Table:
        if not self._keeps():
            return super().ledger(shard)
        (path,) = self._local("ledger", ".arrow", "ledger_bytes_hash", [number_of(shard)])
        return Ledger.current(pa.ipc.open_file(pa.memory_map(str(path))).read_all())

    def index(self, shard: int) -> np.ndarray:
        if not self.require_receipt(shard).index_hash or not self._keeps():
            return super().index(shard)
        (path,) = self._local("index", ".ids", "index_hash", [number_of(shard)])
        return np.memmap(path, INDEX, "r") if path.stat().st_size else np.zeros(0, INDEX)

    def _keeps(self) -> bool:
        """Are ledgers and indexes of this store fetched?"""
        if isinstance(self.fs, Local) or self.folder is None:
            return False
        if self._sizes is None:
            self._sizes = self.fs.sizes("ledger") | self.fs.sizes("index")
        return sum(self._sizes.values()) <= KEPT_BYTES

    def _local(self, folder: str, ending: str, proof: str, shards: list[str]) -> list[Path]:
        """Local copies of files of object storage, each held against its receipt as it came; several are fetched at once."""
        assert self.folder is not None
        names = {shard: f"{folder}/{shard}{ending}" for shard in shards}
        paths = {shard: self.folder / name.replace("/", "-") for shard, name in names.items()}

        def fetch(shard: str) -> None:
            path = paths[shard]
            with self._damage_of(names[shard]):
                data = held(self.fs, names[shard], getattr(self.require_receipt(shard), proof), self.path)
            path.with_suffix(".part").write_bytes(data or b"")
            path.with_suffix(".part").rename(path)

        with self._one, ThreadPoolExecutor(FETCHES) as fetches:
            self.folder.mkdir(parents=True, exist_ok=True)
            list(fetches.map(fetch, [shard for shard, path in paths.items() if not path.exists()]))
        return list(paths.values())
