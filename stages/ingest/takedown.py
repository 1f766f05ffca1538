"""What ingest gives up in a takedown: records of its own crawls, and every line that names their addresses.

A crawl's frontier refers to the archives by bytes. So a record makes room for an empty gzip member of the same size: no
offset moves, and no other byte of an archive changes.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.deletion.forgotten import Forgotten
from pipeline.deletion.lineage import Lost
from pipeline.schema import doc_id
from pipeline.storage import input_hashes, recordings
from pipeline.storage.files import TEMPORARY, Local
from pipeline.storage.store import Store
from stages.ingest.crawl.frontier import FRONTIER, forget_addresses

REASON = "ingest.forgotten"
LEAST = 21
"""Bytes of the smallest empty gzip member with a comment."""
_URL = re.compile(r"https?://[^\s\"'<>]+")


def tombstone(store: Store) -> str | None:
    """Where the input lies outside the store, a later run meets it again: its id stays in the ledger, with this reason."""
    given = (store.manifest() or {}).get("options", {})
    return None if given.get("crawl") and not given.get("from") else REASON


def forget(store: Store, lost: Lost) -> list[str]:
    """Take the lost pages out of the store's recordings; returns the files that changed. Names of input files are not kept either."""
    store.fs.delete(input_hashes.NAME)
    if not isinstance(store.fs, Local) or not store.fs.exists("passes/crawl"):
        return []
    return clean(Path(store.fs.path("passes/crawl")), lost.forgotten, lost.ids)


def clean(folder: Path, forgotten: Forgotten, ids: frozenset[str] = frozenset()) -> list[str]:
    """Every recording below `folder` without what is forgotten. Archives come last: what they name is looked up first."""
    with recordings.rewritten(sorted(path.parent for path in folder.rglob(recordings.FINISHED))):
        return _cleaned(folder, forgotten, ids)


def _cleaned(folder: Path, forgotten: Forgotten, ids: frozenset[str]) -> list[str]:
    for left in folder.rglob(f"*{TEMPORARY}*"):
        left.unlink()
    archives = sorted(folder.rglob("*.warc.gz"))
    addresses = {url for path in archives for url, _, _ in _lost(path, forgotten, ids)}

    def hides(url: str) -> bool:
        return url in addresses or forgotten.at(url)

    changed = []
    for path in sorted(folder.rglob("*.jsonl")):
        changed += _lines(path, hides)
    for path in sorted(folder.rglob(FRONTIER)):
        changed += [str(path)] if forget_addresses(path, hides) else []
    for path in sorted(folder.rglob("*.log")):
        changed += _log(path, hides)
    return changed + [str(path) for path in archives if _blank(path, forgotten, ids)]


def _lost(path: Path, forgotten: Forgotten, ids: frozenset[str]) -> Iterator[tuple[str, int, int]]:
    """(address, begin, end) of every record that goes."""
    for head, begin, end in members(path):
        fields = dict(re.findall(rb"^([A-Za-z-]+):[ \t]*(.*?)\r?$", head.partition(b"\r\n\r\n")[0], re.M))
        url = fields.get(b"WARC-Target-URI", b"").decode("utf-8", "replace").strip("<> ")
        name = fields.get(b"WARC-Record-ID", b"").decode("utf-8", "replace").strip("<> ")
        if url and (forgotten.at(url) or doc_id(url, name) in ids):
            yield url, begin, end


def members(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """(the first 64 KiB, begin, end) of every gzip member of a file."""
    packed, at = path.read_bytes(), 0
    while at < len(packed):
        decoder = zlib.decompressobj(wbits=31)
        head, begin = b"", at
        while not decoder.eof and at < len(packed):
            piece = packed[at : at + (1 << 16)]
            head = (head + decoder.decompress(piece))[: 1 << 16]
            at += len(piece)
        if not decoder.eof:
            return  # cut off by a kill: the crawl's own business
        at -= len(decoder.unused_data)
        yield head, begin, at


def filler(size: int) -> bytes:
    """An empty gzip member of `size` bytes: the room is its comment."""
    comment = b" " * (size - LEAST)
    return b"\x1f\x8b\x08\x10\0\0\0\0\0\xff" + comment + b"\0" + b"\x03\0" + struct.pack("<II", 0, 0)


def _blank(path: Path, forgotten: Forgotten, ids: frozenset[str]) -> bool:
    spans = [(begin, end) for _, begin, end in _lost(path, forgotten, ids)]
    if spans:
        packed = bytearray(path.read_bytes())
        for begin, end in spans:
            packed[begin:end] = filler(end - begin)
        Local(path.parent).write(path.name, bytes(packed))
    return bool(spans)


def _lines(path: Path, hides: Callable[[str], bool]) -> list[str]:
    """JSON lines without the addresses: a line about one goes, a list or mapping that names one loses that entry."""
    kept, changed = [], False
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            kept.append(line)  # torn by a kill
            continue
        own = entry.get("url") or (f"http://{entry['host']}{entry['path']}" if {"host", "path"} <= set(entry) else None)
        left = {} if own and hides(own) else _without(entry, hides)
        if left == entry:
            kept.append(line)
            continue
        changed = True
        if left:
            kept.append(json.dumps(left, ensure_ascii=False).encode() + b"\n")
    if changed:
        Local(path.parent).write(path.name, b"".join(kept))
    return [str(path)] if changed else []


def _without(value: Any, hides: Callable[[str], bool]) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(item, hides)
            for key, item in value.items()
            if not hides(key) and not (isinstance(item, str) and hides(item))
        }
    if isinstance(value, list):
        return [_without(item, hides) for item in value if not _names(item, hides)]
    return value


def _names(item: Any, hides: Callable[[str], bool]) -> bool:
    """An address, or an entry that begins with one (the crawl journals of version 0.1 write `[address, depth, ...]`)."""
    first = item[0] if isinstance(item, list) and item else item
    return isinstance(first, str) and hides(first)


def _log(path: Path, hides: Callable[[str], bool]) -> list[str]:
    lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
    kept = [line for line in lines if not any(hides(url) for url in _URL.findall(line))]
    if len(kept) < len(lines):
        Local(path.parent).write(path.name, "".join(kept).encode())
    return [str(path)] if len(kept) < len(lines) else []
