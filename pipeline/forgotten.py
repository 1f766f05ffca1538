"""What a root has forgotten: `forgotten.jsonl`, an input of ingest, so that no later run brings it back.

An address, a domain or a licence stands there as a hash: the list itself must not be a place where the forgotten can be
read. An id is a hash already. A domain takes the hosts below it; addresses are compared without scheme, fragment, default
port and closing slash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Iterable, Literal
from urllib.parse import urlsplit

from pipeline.errors import DamagedStore
from pipeline.files import Local, Remote
from pipeline.options import digest

NAME = "forgotten.jsonl"
PENDING = "takedown.json"
"""Stands in a root while a takedown is under way: nothing else may run there until it is finished."""
Kind = Literal["url", "domain", "licence", "id"]


def mark(kind: Kind, value: str) -> str:
    """The hash (32 hex) under which a value is kept; an id stands for itself.

    >>> mark("url", "https://Example.org:443/a/#b") == mark("url", "http://example.org/a")
    True
    """
    if kind == "id":
        return value
    plain = {"url": address, "domain": domain, "licence": lambda word: " ".join(word.casefold().split())}
    return digest(["forgotten", kind, plain[kind](value)])


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
    """An address as it is compared: host, path and query. What is no address stays as it is."""
    try:
        parts = urlsplit(url.strip())
        host, port = _ascii((parts.hostname or "").rstrip(".")), parts.port
    except ValueError:
        return url.strip()
    if not host:
        return url.strip()
    where = host if port in (None, 80, 443) else f"{host}:{port}"
    return where + parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")


@dataclass(frozen=True)
class Forgotten:
    """The marks of a root. Empty: nothing is hidden."""

    marks: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.marks)

    def hides(self, row: dict[str, Any]) -> bool:
        """Is this row (id, url, source, licence; any may be absent) forgotten?"""
        return bool(self.marks) and (
            row.get("id") in self.marks or self.at(row.get("url")) or self.at(row.get("source")) or self.licensed(row.get("licence"))
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
    return frozenset([mark("url", url), *(mark("domain", ".".join(names[at:])) for at in range(len(names)))])


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
            raise DamagedStore(f"{root.path(NAME)}, line {number}, cannot be read", "restore the file: without it what was forgotten would come back") from None
    return found


def note(root: Local | Remote, takedown: str, marks: Iterable[tuple[str, str]]) -> None:
    """Add (kind, mark) to the list, each once; the whole file is replaced, so that it is never half written."""
    held = entries(root)
    known = {entry["mark"] for entry in held}
    held += [{"kind": kind, "mark": value, "takedown": takedown} for kind, value in marks if value not in known]
    root.write(NAME, "".join(json.dumps(entry) + "\n" for entry in held).encode())
