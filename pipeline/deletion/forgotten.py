"""What a root has forgotten: `forgotten.jsonl`, read by what brings documents in, so that no later run brings it back.

An address, a domain or a licence stands there as a hash: the list itself must not be a list in which the forgotten can be
read. An id is a hash already. A domain takes the hosts below it; addresses are compared without scheme, fragment, default
port and closing slash, and with one spelling of what may stand percent-encoded.

Where text with personal data is deleted (run.drop_raw), addresses that held personal data stand nowhere any more. What a row can
be forgotten by is kept there as keyed hashes: without `forgotten.key` nobody can try out whom they speak of.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DamagedStore, WorkError
from pipeline.options import digest
from pipeline.storage.files import Local, Remote, filesystem, parents, seen
from pipeline.storage.lock import RootLock

NAME = "forgotten.jsonl"
PENDING = "takedown.json"
"""Stands in a root while a takedown is under way: nothing else may run there until it is finished."""
KEY = "forgotten.key"
"""32 random bytes in a root, for its owner's eyes alone: the key of the hashes in `HASHED`."""
HASHED = "passes/addresses"
"""In a store whose text was deleted: of each row its id and the keyed hashes (16 bytes) of every mark that hides it."""
KEPT = pa.schema([("doc_id", pa.large_string()), ("marks", pa.list_(pa.binary(16)))])
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$'()*,:@")
"""Characters that mean the same percent-encoded or not: unreserved ones (RFC 3986, 2.3), and those that separate nothing
within a path or a query."""
Kind = Literal["url", "domain", "licence", "id"]


def mark(kind: Kind, value: str) -> str:
    """The hash (32 hex) under which a value is kept; an id stands for itself.

    >>> mark("url", "https://Example.org:443/a/#b") == mark("url", "http://example.org/a")
    True
    """
    if kind == "id":
        return value
    plain = {"url": address, "domain": domain, "licence": lambda word: " ".join(word.casefold().split())}
    return _mark(kind, plain[kind](value))


def _mark(kind: str, plain: str) -> str:
    return digest(["forgotten", kind, plain])


def domain(word: str) -> str:
    """A host name as it is compared: lower case, names in other scripts as they stand in addresses (xn--...).

    >>> domain("맷돌.한국") == domain("https://xn--pq1bz0j.xn--3e0b707e/a"), domain(".Example.org")
    (True, 'example.org')
    """
    try:
        host = urlsplit(word.strip()).hostname if "://" in word else word
    except ValueError:
        host = word
    return _ascii((host or "").strip().strip(".").lower())


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return host


def address(url: str) -> str:
    """An address as it is compared: host, path and query. What is no address stays as it is.

    >>> address("https://a.example/%7Ekim/%eb%a7%b7/") == address("http://a.example:80/~kim/맷")
    True
    """
    return _address(url, _escaped)


def _address(url: str, escaped: Callable[[str], str]) -> str:
    try:
        parts = urlsplit(url.strip())
        host, port = _ascii((parts.hostname or "").rstrip(".")), parts.port
    except ValueError:
        return url.strip()
    if not host:
        return url.strip()
    where = host if port in (None, 80, 443) else f"{host}:{port}"
    return where + escaped(parts.path).rstrip("/") + (f"?{escaped(parts.query)}" if parts.query else "")


def _escaped(part: str) -> str:
    """A path or query with its percent-encoding in one way: where it must be, in capitals, other scripts as UTF-8."""
    plain = re.sub(
        "%([0-9A-Fa-f]{2})", lambda found: word if (word := chr(int(found[1], 16))) in PLAIN else found[0].upper(), part
    )
    return quote(plain, safe="!#$%&'()*+,/:;=?@[]~", errors="surrogatepass")


@dataclass(frozen=True)
class Forgotten:
    """The marks of a root. Empty: nothing is hidden."""

    marks: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.marks)

    def hides(self, row: dict[str, Any]) -> bool:
        """Is this row (id, url, source, licence; any may be absent) forgotten?"""
        return bool(self.marks) and (
            row.get("id") in self.marks
            or self.at(row.get("url"))
            or self.at(row.get("source"))
            or self.licensed(row.get("licence"))
        )

    def at(self, url: str | None) -> bool:
        """Is what stands at this address forgotten?"""
        return bool(url) and bool(self.marks) and not self.marks.isdisjoint(_marks_of(url))

    def licensed(self, licence: str | None) -> bool:
        return bool(licence) and mark("licence", licence) in self.marks


@lru_cache(maxsize=1 << 16)
def _marks_of(url: str) -> frozenset[str]:
    """The marks that would hide an address: its own, and those of its host and of every name above it."""
    host = address(url).partition("/")[0].partition("?")[0].partition(":")[0]
    names = host.split(".") if "." in host and "://" in url else []
    as_written = _mark("url", _address(url, str))  # lists of versions that compared the percent-encoding as it stood
    return frozenset(
        [mark("url", url), as_written, *(mark("domain", ".".join(names[at:])) for at in range(len(names)))]
    )


def load(root: Local | Remote) -> Forgotten:
    """What the root has forgotten; empty where it has no list."""
    return Forgotten(frozenset(entry["mark"] for entry in entries(root)))


def entries(root: Local | Remote) -> list[dict[str, Any]]:
    """The lines of the list: kind, mark, takedown. DamagedStore where one cannot be read: what it hid would come back."""
    if not root.exists(NAME):
        return []
    found = []
    for number, line in enumerate(root.read(NAME).decode("utf-8", "replace").splitlines(), 1):
        try:
            entry = json.loads(line)
            found.append({"kind": entry["kind"], "mark": str(entry["mark"]), "takedown": entry["takedown"]})
        except (ValueError, KeyError, TypeError):
            raise DamagedStore(
                f"{root.path(NAME)}, line {number}, cannot be read",
                "restore the file: without it what was forgotten would come back",
            ) from None
    return found


def note(root: Local | Remote, takedown: str, marks: Iterable[tuple[str, str]]) -> None:
    """Add (kind, mark) to the list, each once; the whole file is replaced, so that it is never half written."""
    held = entries(root)
    known = {entry["mark"] for entry in held}
    held += [{"kind": kind, "mark": value, "takedown": takedown} for kind, value in marks if value not in known]
    root.write(NAME, "".join(json.dumps(entry) + "\n" for entry in held).encode())


# -- while it goes -----------------------------------------------------------------------------------------------------


def no_takedown(where: Local | Remote) -> None:
    """WorkError while a takedown of a root, or of one above it, is under way."""
    for path in (where.path(""), *parents(where.path(""))):
        if seen(filesystem(path), PENDING):
            raise _unfinished(path)


def _unfinished(path: str) -> WorkError:
    return WorkError(f"a takedown of {path} was not finished", f"finish it first: maetdol forget {path}")


@contextmanager
def writing(path: str) -> Iterator[RootLock]:
    """Hold the lock of a folder that is written to. RootLocked where another has it, or one above or below; WorkError while a
    takedown of it or above is unfinished."""
    where = filesystem(path)
    no_takedown(where)
    with RootLock(where) as lock:
        no_takedown(where)
        yield lock


class Reading:
    """Around work that reads stores it does not lock, and tells of them or copies their rows: no store may be written anew
    meanwhile, no takedown be unfinished, begin or end in a folder that holds one. WorkError where one is."""

    def __init__(self, *paths: str):
        self.stores = [filesystem(path) for path in paths]
        self.made = self._manifests()
        self.folders = [filesystem(folder) for path in paths for folder in (filesystem(path).path(""), *parents(path))]
        self.before = self._lists()

    def check(self) -> None:
        """Called when everything is read, before what is made of it stands anywhere."""
        for folder, before, now in zip(self.folders, self.before, self._lists()):
            if before != now:
                raise WorkError(
                    f"a takedown of {folder.path('')} went by while it was read", "give the same command again"
                )
        for store, before, now in zip(self.stores, self.made, self._manifests()):
            if before != now:
                raise WorkError(f"{store.path('')} was written anew while it was read", "give the same command again")

    def _manifests(self) -> list[bytes]:
        return [store.read("manifest.json") if seen(store, "manifest.json") else b"" for store in self.stores]

    def _lists(self) -> list[bytes]:
        """What each folder has forgotten."""
        for folder in self.folders:
            if seen(folder, PENDING):
                raise _unfinished(folder.path(""))
        return [folder.read(NAME) if seen(folder, NAME) else b"" for folder in self.folders]


# -- where the text is deleted -----------------------------------------------------------------------------------------


def key_of(root: Local | Remote, make: bool = False) -> bytes:
    """The key of a root, made where it has none and `make` is set. DamagedStore where it is missing or is none."""
    if make and not root.exists(KEY):
        with root.create(KEY) as sink:
            os.fchmod(sink.fileno(), 0o600)
            sink.write(secrets.token_bytes(32))
    key = root.read(KEY) if root.exists(KEY) else b""
    if len(key) != 32:
        raise DamagedStore(
            f"{root.path(KEY)} {'is not a key' if key else 'is missing'}",
            "restore it: with it alone are addresses found whose text was deleted",
        )
    return key


def keyed(mark: str, key: bytes) -> bytes:
    """The hash of a mark under a root's key (16 bytes)."""
    return blake2b(mark.encode(), key=key, digest_size=16).digest()


def hashed(rows: pa.RecordBatch, key: bytes) -> pa.RecordBatch:
    """The rows' ids and the keyed hashes of their addresses, of the domains above these, and of their licences (`KEPT`)."""
    names = [name for name in ("id", "url", "source", "licence") if name in rows.schema.names]
    made = []
    for row in rows.select(names).to_pylist():
        marks = {each for name in ("url", "source") if row.get(name) for each in _marks_of(row[name])}
        marks |= {mark("licence", row["licence"])} if row.get("licence") else set()
        made.append({"doc_id": row["id"], "marks": sorted(keyed(each, key) for each in marks)})
    return pa.RecordBatch.from_pylist(made, KEPT)


def found_in(kept: pa.Table, wanted: Forgotten, key: bytes) -> list[str]:
    """Ids of the rows of a table of `KEPT` that `wanted` hides."""
    marks = kept["marks"].combine_chunks()
    hit = pc.is_in(
        marks.flatten(), value_set=pa.array([keyed(each, key) for each in sorted(wanted.marks)], pa.binary(16))
    )
    return kept["doc_id"].combine_chunks().take(pc.list_parent_indices(marks).filter(hit)).to_pylist()
