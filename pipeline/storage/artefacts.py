"""Artefacts of stores on object storage: fetched once to a local cache, and held against the hashes of their receipt."""

from __future__ import annotations

import posixpath
import shutil
from functools import partial
from pathlib import Path

from pipeline.errors import DamagedStore
from pipeline.options import content_hash
from pipeline.storage.files import Remote, tried
from pipeline.storage.ledger import Receipt
from pipeline.storage.local_copies import cached
from pipeline.storage.proof import ARTEFACT


def fetch(fs: Remote, path: str, receipt: Receipt) -> Path:
    """The artefact in the local cache: fetched once, whoever else wants it meanwhile, and held against its hashes."""
    for name in (receipt.content_hash, *receipt.files):
        if not name or name != posixpath.normpath(name) or name.startswith(("/", "..")) or name == "." or "\\" in name:
            raise DamagedStore(
                f"{path}: its receipt names the file {name!r}, which lies outside of the artefact",
                "run the stage that made it again",
            )
    return cached(receipt.content_hash, partial(_fill, fs, path, receipt))


def _copy(fs: Remote, name: str, target: Path) -> None:
    with fs.open(name) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)


def _fill(fs: Remote, path: str, receipt: Receipt, folder: Path) -> None:
    for name, known in receipt.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            tried(partial(_copy, fs, f"{ARTEFACT}/{name}", target), path)
        except FileNotFoundError:
            raise DamagedStore(f"{path}/{ARTEFACT}/{name} is missing", "run the stage that made it again") from None
        if content_hash(target) != known:
            raise DamagedStore(
                f"{path}/{ARTEFACT}/{name} is not what its receipt says",
                "run the stage that made it again",
            )
