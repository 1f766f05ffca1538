"""What is proven is checked: manifests, sizes and hashes are held against what lies on disk.

Sizes are compared at every run, by one listing a folder. A file that is read for work is held against its hash, once in a
process. `pipeline.storage.verify` holds everything.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import DamagedStore, NewerStore, repair_hint
from pipeline.options import content_hash
from pipeline.storage.files import Local, Remote
from pipeline.storage.ledger import Receipt, checked_page, inside
from pipeline.storage.shards import COUNTED, hash_of, number_of

log = logging.getLogger("maetdol.store")

FORMAT = 1
ARTEFACT = "artefact"
PAGE = f"{ARTEFACT}/README.md"
"""What a report writes about an artefact, beside its files: no part of it, made anew by every report."""
FOLDERS = ("receipts", "shards", "ledger", "index", ARTEFACT)
"""Folders of a store whose files are proven by receipts."""
MANIFEST: dict[str, type | tuple[type, ...]] = {
    "format": int, "rows": int, "bytes": int, "reasons": dict, "counts": dict, "shards": list, "stage": str, "shape": (str, type(None)),
    "key": str, "lineage": dict, "schema": list,
}  # fmt: skip
MAY: dict[str, type | tuple[type, ...]] = {
    "options": dict,
    "identity": dict,
    "rows_in": int,
    "artefact": (dict, type(None)),
    "takedowns": list,
    "receipts": str,
    "columns_in": list,
}
ENTRY: dict[str, type] = {
    "shard": int,
    "rows": int,
    "bytes": int,
    "content_hash": str,
    "ledger_hash": str,
    "key": str,
    "written": bool,
}
"""What every manifest and each of its entries holds, and of what type; `MAY`: where it is there."""


def manifest_of(data: bytes, path: str) -> dict[str, Any]:
    """The manifest of the store at `path`; DamagedStore where the bytes are none, or not those that were written."""
    try:
        page = checked_page(json.loads(data), lambda _: b'"sizes": {' in data)
        if isinstance(page.get("format"), int) and page["format"] > FORMAT:
            raise NewerStore(f"{path} is of format {page['format']}, this reader knows {FORMAT}", "upgrade maetdol")
        _typed(page, MANIFEST, "it")
        _typed(page, {name: kind for name, kind in MAY.items() if name in page}, "it")
        for entry in [*page["shards"], *([page["artefact"]] if page.get("artefact") else [])]:
            _typed(entry, ENTRY, "an entry")
            if not all(inside(name) for name in entry.get("sizes", {})):
                raise ValueError("it names a file outside the store")
        for entries in page["lineage"].values():
            for entry in entries:
                _typed(entry, {"store": str}, "its lineage")
        return page
    except (ValueError, TypeError, RecursionError) as fault:
        raise DamagedStore(f"{path}/manifest.json is damaged: {fault}", repair_hint(path)) from None


def name_of(receipt: Receipt) -> str:
    """Of its file in `receipts/`, without `.json`: the shard's number, or that of the artefact."""
    return number_of(receipt.shard) if receipt.shard >= 0 else ARTEFACT


def entry_of(receipt: Receipt) -> dict[str, Any]:
    """What a manifest says of a shard or of the artefact."""
    return {
        "shard": receipt.shard, "rows": receipt.rows, "bytes": receipt.bytes, "content_hash": receipt.content_hash,
        "ledger_hash": receipt.ledger_hash, "key": receipt.key, "written": receipt.written,
        "sizes": {**receipt.sizes, f"receipts/{name_of(receipt)}.json": len(receipt.dumps())} if receipt.sizes else {},
    }  # fmt: skip


def summed(receipts: Sequence[Receipt], artefact: Receipt | None) -> dict[str, Any]:
    """What a manifest says of all its shards (ascending) and of the artefact: an entry of each, and sums."""
    return {
        "rows": sum(receipt.rows for receipt in receipts),
        "bytes": sum(receipt.bytes for receipt in receipts),
        "rows_in": sum(receipt.rows_in for receipt in receipts),
        "reasons": added(receipt.reasons for receipt in receipts),
        "counts": {name: added(receipt.counts.get(name, {}) for receipt in receipts) for name in COUNTED},
        "shards": [entry_of(receipt) for receipt in receipts],
        "artefact": entry_of(artefact) if artefact else None,
        "columns_in": one_of_each(receipts),
    }


def one_of_each(receipts: Iterable[Receipt]) -> list[int]:
    """Shards that have all columns between them, ascending: the first of each `columns_hash`, and all of before, which have none."""
    found: dict[str, int] = {}
    for receipt in sorted(receipts, key=lambda each: each.shard):
        found.setdefault(receipt.columns_hash or number_of(receipt.shard), receipt.shard)
    return sorted(found.values())


def added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sums by word, the largest first."""
    total: dict[str, int] = {}
    for count in counts:
        for word, number in count.items():
            total[word] = total.get(word, 0) + number
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _typed(page: Any, kinds: Mapping[str, type | tuple[type, ...]], what: str) -> None:
    if not isinstance(page, dict):
        raise ValueError(f"{what} is {type(page).__name__}, not a mapping")
    for name, kind in kinds.items():
        if name not in page:
            raise ValueError(f"{what} has no {name!r}")
        if not isinstance(page[name], kind) or (kind is int and isinstance(page[name], bool)):
            raise ValueError(f"{name!r} is {type(page[name]).__name__}")


# -- sizes -------------------------------------------------------------------------------------------------------------


def sizes_of(receipt: Receipt, shard: int | str) -> dict[str, int | None]:
    """Bytes of each file that a receipt proves; None where an older one says only that the file must be there."""
    if receipt.sizes:
        return dict(receipt.sizes)
    number = number_of(shard)
    rows = {f"shards/{number}.arrow": receipt.bytes} if number.isdigit() and receipt.written else {}
    return {**rows, f"ledger/{number}.arrow": None, **{f"{ARTEFACT}/{name}": None for name in receipt.files}}


def committed_sizes(manifest: dict[str, Any]) -> dict[str, int | None]:
    """Bytes of each file that a manifest speaks of, receipts included; rows that were deleted on purpose (drop_raw) left out."""
    expected: dict[str, int | None] = {}
    for entry in manifest["shards"]:
        number = number_of(entry["shard"])
        rows = {f"shards/{number}.arrow": entry["bytes"]} if entry["written"] else {}
        expected |= entry.get("sizes") or {**rows, f"ledger/{number}.arrow": None, f"receipts/{number}.json": None}
    if manifest.get("artefact"):
        expected |= manifest["artefact"].get("sizes") or {f"receipts/{ARTEFACT}.json": None}
    gone = ("shards/", "index/") if manifest.get("dropped_text") else ()
    return {name: size for name, size in expected.items() if not name.startswith(gone)} if gone else expected


def wrong_sizes(expected: Mapping[str, int | None], there: Mapping[str, int]) -> dict[str, str]:
    """What is wrong with each file whose length in `there` is not the one expected; empty where all are whole."""
    found = {}
    for name, size in expected.items():
        if name not in there:
            found[name] = "is missing"
        elif size is not None and there[name] != size:
            found[name] = f"has {there[name]:,} bytes instead of {size:,}"
    return found


# -- the list of receipts ----------------------------------------------------------------------------------------------

LIST = "receipts.all"
"""All receipts of a finished step, or of a pass, in one file: the XXH3-128 of what follows, then their files as they are, one behind
the other. Reading them is one request, however many shards there are.

It is a copy: a shard is proven by its own file in `receipts/`. The list is deleted before one of these changes and written after
the last one, so that a list that is there is right wherever a run was killed. Of a store with a manifest it counts only where the
manifest names it: versions of before change receipts and know of no list. Where none counts, receipts are read one by one."""
END = b"\n}\n"
"""Of a receipt's file; within one no line begins so."""


class Listed(NamedTuple):
    """A receipt, and the bytes of its own file."""

    receipt: Receipt
    size: int


def write_list(where: Local | Remote, receipts: Sequence[Receipt]) -> str:
    """Write the list; returns its hash, by which a manifest names it. One receipt alone needs none: ""."""
    if len(receipts) < 2:
        where.delete(LIST)
        return ""
    body = b"".join(receipt.dumps() for receipt in receipts)
    named = hash_of(body)
    where.write(LIST, f"{named}\n".encode() + body)
    return named


def read_list(where: Local | Remote, manifest: dict[str, Any] | None) -> dict[str, Listed]:
    """What is listed, by name; empty where no list counts: there is none, it is damaged, or the `manifest` names another or none."""
    named = None if manifest is None else manifest.get("receipts", "")
    if named == "":
        return {}
    try:
        data = where.read(LIST)
        return parsed_list(data) if named in (None, data[:32].decode("ascii", "replace")) else {}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, RecursionError) as fault:
        log.warning(f"{where.path(LIST)} is damaged ({fault}): receipts are read one by one")
        return {}


def parsed_list(data: bytes) -> dict[str, Listed]:
    """What is listed, by name; ValueError or TypeError where the bytes are not those that were written."""
    named, _, body = data.partition(b"\n")
    if hash_of(body).encode() != named:
        raise ValueError("its bytes are not those that were written")
    pages = (page + END for page in body.removesuffix(END).split(END) if page)
    found = (Listed(Receipt.of(json.loads(page)), len(page)) for page in pages)
    return {name_of(each.receipt): each for each in found}


# -- hashes ------------------------------------------------------------------------------------------------------------

_held: set[tuple[Any, ...]] = set()
"""Files whose bytes this process has held against their hash: path, device, inode, time, length, hash."""


def held(where: Local | Remote, name: str, expected: str, store: str) -> bytes | None:
    """The bytes of a remote file, None of a local one (map it), held against their XXH3-128. DamagedStore where they differ."""
    if isinstance(where, Remote):
        data = where.read(name)
        if hash_of(data) != expected:
            raise _differs(where.path(name), store)
        return data
    _hold(where.root / name, expected, store, _xxh3)
    return None


def held_artefact(folder: Path, files: Mapping[str, str], store: str) -> None:
    """Hold every file of a local artefact against its hash, once in a process. DamagedStore names the one that differs."""
    for name, expected in files.items():
        _hold(folder / name, expected, store, content_hash)


def _hold(path: Path, expected: str, store: str, how: Any) -> None:
    try:
        stat = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedStore(f"{path} is missing", repair_hint(store)) from None
    mark = (str(path), stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size, expected)
    if mark not in _held:
        if how(path) != expected:
            raise _differs(str(path), store)
        _held.add(mark)


def _xxh3(path: Path) -> str:
    with open(path, "rb", buffering=0) as handle:
        return hash_of(handle)


def _differs(path: str, store: str) -> DamagedStore:
    return DamagedStore(f"{path} is damaged: its bytes are not those that were written", repair_hint(store))
