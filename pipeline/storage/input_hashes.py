"""Hashes of input files on local disks, remembered in the store that is made of them: a run with nothing to do reads no input.

An entry counts while path, length, times of content and of status, and inode are what they were. The time of the status is set
by the kernel alone, so that a program that puts the time of the content back is seen. A file that changed less than UNCHANGED_FOR
before it was hashed is not remembered: a further change might fall into the same tick of the clock. `maetdol verify` hashes
every file anew. A page that is not what was written is no page: all files are hashed again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.storage.files import Local, Remote, filesystem
from pipeline.storage.shards import hash_of

log = logging.getLogger("maetdol.inputs")

NAME = "inputs.hashes"
"""File of a store: the 32 digits of the XXH3-128 of the rest, and an Arrow table."""
COLUMNS = pa.schema(
    [
        ("path", pa.large_binary()),
        ("size", pa.int64()),
        ("modified", pa.int64()),
        ("changed", pa.int64()),
        ("inode", pa.uint64()),
        ("hash", pa.large_string()),
    ]
)
"""`modified`, `changed`: st_mtime_ns and st_ctime_ns."""
UNCHANGED_FOR = 2_000_000_000
"""Nanoseconds (2 s): the coarsest clock of a file system in use, that of FAT."""
TASK_BYTES = 64 << 20
"""Bytes of files that one task hashes (64 MiB); a larger file is alone."""
TASK_FILES = 4_096
"""Files that one task hashes."""


class Mark(NamedTuple):
    """A file as the disk knows it."""

    path: str
    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Mark:
        """The file at `path` whose status this is."""
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Hashed(NamedTuple):
    """A file that was hashed, and when that began (ns since 1970)."""

    mark: Mark
    digest: str
    began: int

    @property
    def is_unchanged(self) -> bool:
        """Had it lain unchanged for long enough to be remembered?"""
        return max(self.mark.modified, self.mark.changed) < self.began - UNCHANGED_FOR


def hashed(path: str) -> Hashed | None:
    """Hash the file at `path`; None where it was written meanwhile. OSError where it cannot be read."""
    began, before = time.time_ns(), Mark.of(path, os.stat(path))
    with open(path, "rb", buffering=0) as handle:
        found = hash_of(handle)
    return Hashed(before, found, began) if Mark.of(path, os.stat(path)) == before else None


class HashTask(NamedTuple):
    """Files that one task hashes."""

    number: int
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"hashes of {self.paths[0]}" + (f" and {len(self.paths) - 1:,} more" if len(self.paths) > 1 else "")


def hash_all(task: HashTask) -> list[Hashed]:
    """Hash the task's files; those that cannot be read, or are being written, are left out."""
    found = []
    for path in task.paths:
        try:
            if (made := hashed(path)) is not None:
                found.append(made)
        except OSError:
            continue
    return found


class InputHashes:
    """The hashes of the input files of one store (`where`: its folder; None: they are remembered in this process alone)."""

    def __init__(self, where: Local | Remote | None = None):
        self._where = where
        self._known = _read(where) if where is not None else {}
        self._new: dict[Mark, Hashed] = {}
        self._seen: set[Mark] = set()
        self.wanted: dict[Mark, None] = {}
        """Files that `peek` was asked for in vain, in that order."""
        self.listing: Any = None
        """What was listed with `peek` and had nothing `wanted`, for the next who would list the same: once, so that what changes
        later is seen."""

    def of(self, path: str, status: os.stat_result) -> str:
        """XXH3-128 of the file, hashed here where it is not known. OSError where it cannot be read."""
        if (known := self._get(Mark.of(path, status))) is not None:
            return known
        if (made := hashed(path)) is not None:
            self._new[made.mark] = made
            return made.digest
        with open(path, "rb", buffering=0) as handle:  # it is being written: nothing is remembered
            return hash_of(handle)

    def peek(self, path: str, status: os.stat_result) -> str:
        """The hash where it is known, else empty: the file is then `wanted`."""
        mark = Mark.of(path, status)
        self._seen.add(mark)
        if (known := self._get(mark)) is None:
            self.wanted[mark] = None
        return known or ""

    def _get(self, mark: Mark) -> str | None:
        made = self._new.get(mark)
        return made.digest if made is not None else self._known.get(mark)

    def take(self, found: Iterable[Hashed]) -> None:
        """Take in what tasks hashed, and write what is unchanged of the files that `peek` was asked for into the store."""
        self._new.update((made.mark, made) for made in found)
        unchanged = {mark: made.digest for mark, made in self._new.items() if made.is_unchanged}
        kept = {mark: digest for mark, digest in {**self._known, **unchanged}.items() if mark in self._seen}
        if self._where is not None and kept != self._known:
            self._known = kept
            self._where.write(NAME, _page(kept))


MOST = 8
_opened: dict[str, InputHashes] = {}
"""The last MOST stores asked for in this process, by path."""


def of_store(path: str) -> InputHashes:
    """The hashes that the store at `path` remembers, read once in this process until `begin`; of no store where it is empty."""
    return _opened[path] if path in _opened else begin(path)


def begin(path: str) -> InputHashes:
    """The hashes of a store, read anew."""
    _opened.pop(path, None)
    while len(_opened) >= MOST:
        _opened.pop(next(iter(_opened)))
    return _opened.setdefault(path, InputHashes(filesystem(path) if path else None))


def tasks(wanted: Iterable[Mark]) -> list[HashTask]:
    """Files in order to tasks of at most TASK_BYTES and TASK_FILES."""
    groups: list[list[str]] = []
    held = 0
    for mark in wanted:
        if not groups or held + mark.size > TASK_BYTES or len(groups[-1]) >= TASK_FILES:
            groups.append([])
            held = 0
        groups[-1].append(mark.path)
        held += mark.size
    return [HashTask(number, tuple(group)) for number, group in enumerate(groups)]


# -- the page ----------------------------------------------------------------------------------------------------------


def _page(known: dict[Mark, str]) -> bytes:
    rows = sorted(known.items(), key=lambda item: os.fsencode(item[0].path))
    values: list[list[Any]] = [[os.fsencode(mark.path) for mark, _ in rows]]
    values += [[mark[at] for mark, _ in rows] for at in range(1, len(Mark._fields))]
    values.append([found for _, found in rows])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, COLUMNS) as out:
        out.write_table(pa.table(values, schema=COLUMNS))
    data = sink.getvalue().to_pybytes()
    return hash_of(data).encode() + data


def _read(where: Local | Remote) -> dict[Mark, str]:
    """The page of a store; empty where there is none, or none that can be read."""
    try:
        return parsed(where.read(NAME))
    except FileNotFoundError:
        return {}
    except ValueError as fault:
        log.warning(f"{where.path(NAME)} is damaged ({fault}); every input file is hashed again")
        return {}


def parsed(data: bytes) -> dict[Mark, str]:
    """The hashes of a page; ValueError where it is not what was written."""
    if hash_of(data[32:]).encode() != data[:32]:
        raise ValueError("it is not what was written")
    table = pa.ipc.open_file(pa.BufferReader(data[32:])).read_all()
    if table.schema != COLUMNS:
        raise ValueError("it has other columns")
    path, *numbers, found = (column.to_pylist() for column in table.columns)
    return dict(zip(map(Mark, map(os.fsdecode, path), *numbers), found))
