"""Hashes of input files on local disks, remembered in the store that is made of them: a run with nothing to do reads no input.

An entry counts while path, length, times of content and of status, and inode are what they were. The time of the status is set
by the kernel alone, so that a program that puts the time of the content back is seen. A file that changed less than UNCHANGED_FOR
before it was hashed is not remembered: a further change might fall into the same tick of the clock. `maetdol verify` hashes
every file anew. A page that is not what was written is no page: all files are hashed again.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
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
UNREADABLE = "unreadable:"
"""Stands before the number of the error where the hash of a file that cannot be read would stand."""


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


class Marks:
    """Files as the disk knows them, in columns: of a million files not one object more than their paths."""

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self.paths: list[str] = []
        self.sizes, self.modified, self.changed, self.inodes = array("q"), array("q"), array("q"), array("Q")
        for mark in marks:
            self.add(mark.path, mark.size, mark.modified, mark.changed, mark.inode)

    def add(self, path: str, size: int, modified: int, changed: int, inode: int) -> None:
        """One file more: path, and what `Mark` says of it."""
        self.paths.append(path)
        self.sizes.append(size)
        self.modified.append(modified)
        self.changed.append(changed)
        self.inodes.append(inode)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> Mark:
        return Mark(self.paths[at], self.sizes[at], self.modified[at], self.changed[at], self.inodes[at])

    def table(self) -> pa.Table:
        """The files as rows of COLUMNS, but for the hash, in their order."""
        numbers = (self.sizes, self.modified, self.changed, self.inodes)
        columns = [_encoded(self.paths), *(pa.array(np.array(column)) for column in numbers)]
        return pa.table(columns, schema=COLUMNS.remove(len(COLUMNS) - 1))


def _encoded(paths: list[str]) -> pa.Array:
    """The paths as the file system spells them."""
    if sys.getfilesystemencoding() == "utf-8":
        try:
            return pa.array(paths, pa.large_string()).cast(pa.large_binary())
        except UnicodeEncodeError:  # a name that is no UTF-8 is among them
            pass
    return pa.array([os.fsencode(path) for path in paths], pa.large_binary())


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
        self._known = _read(where) if where is not None else COLUMNS.empty_table()
        self._new: dict[Mark, Hashed] = {}
        self._met = pa.array([], pa.int64())
        """Rows of `_known` that `peek` met."""
        self.wanted: dict[Mark, None] = {}
        """Files that `peek` was asked for in vain, in that order."""
        self.listing: Any = None
        """What was listed with `peek` and had nothing `wanted`, for the next who would list the same: once, so that what changes
        later is seen."""

    def of(self, files: Marks) -> list[str]:
        """XXH3-128 of each file, hashed here where it is not known. Where one cannot be read: UNREADABLE and the number of the error."""
        found = self._find(files)[0]
        for at, known in enumerate(found):
            if known is None:
                found[at] = self._hashed(files[at].path)
        return found

    def peek(self, files: Marks) -> list[str]:
        """The hash of each file where it is known, else empty: the file is then `wanted`. To be asked once, for all files."""
        found, self._met = self._find(files)
        for at, known in enumerate(found):
            if known is None:
                self.wanted[files[at]], found[at] = None, ""
        return found

    def _find(self, files: Marks) -> tuple[list[Any], pa.Array]:
        """The hash of each file, None where it is not known; and the rows of `_known` that are among the files."""
        import pyarrow.compute as pc

        marks, known = files.table(), self._known
        row = pc.index_in(marks["path"], known["path"])
        same = pc.is_valid(row)
        for name in ("size", "modified", "changed", "inode"):
            same = pc.and_(same, pc.fill_null(pc.equal(marks[name], known[name].take(row)), False))
        row = pc.if_else(same, row, None)
        found = known["hash"].take(row).to_pylist()
        for at, digest in enumerate(found) if self._new else ():
            if digest is None and (made := self._new.get(files[at])) is not None:
                found[at] = made.digest
        return found, row.drop_null()

    def _hashed(self, path: str) -> str:
        try:
            if (made := hashed(path)) is not None:
                self._new[made.mark] = made
                return made.digest
            with open(path, "rb", buffering=0) as handle:  # it is being written: nothing is remembered
                return hash_of(handle)
        except OSError as fault:
            return f"{UNREADABLE}{fault.errno}"

    def take(self, found: Iterable[Hashed]) -> None:
        """Take in what tasks hashed, and write what is unchanged of the files that `peek` was asked for into the store."""
        self._new.update((made.mark, made) for made in found)
        kept = {mark: made for mark, made in self._new.items() if mark in self.wanted and made.is_unchanged}
        if self._where is not None and (kept or len(self._met) < len(self._known)):
            digests = pa.array([made.digest for made in kept.values()], COLUMNS.field("hash").type)
            new = Marks(kept).table().append_column(COLUMNS.field("hash"), digests)
            self._known = pa.concat_tables([self._known.take(self._met), new])
            self._where.write(NAME, _page(self._known))


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


def _page(known: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, COLUMNS) as out:
        out.write_table(known.sort_by("path").combine_chunks())
    data = sink.getvalue().to_pybytes()
    return hash_of(data).encode() + data


def _read(where: Local | Remote) -> pa.Table:
    """The page of a store; no rows where there is none, or none that can be read."""
    try:
        return parsed(where.read(NAME))
    except FileNotFoundError:
        return COLUMNS.empty_table()
    except ValueError as fault:
        log.warning(f"{where.path(NAME)} is damaged ({fault}); every input file is hashed again")
        return COLUMNS.empty_table()


def parsed(data: bytes) -> pa.Table:
    """The hashes of a page, rows of COLUMNS by path; ValueError where it is not what was written."""
    if hash_of(data[32:]).encode() != data[:32]:
        raise ValueError("it is not what was written")
    table = pa.ipc.open_file(pa.BufferReader(data[32:])).read_all()
    if table.schema != COLUMNS:
        raise ValueError("it has other columns")
    return table


def marked(table: pa.Table) -> dict[Mark, str]:
    """The rows of a page, one by one."""
    path, *numbers, found = (column.to_pylist() for column in table.columns)
    return dict(zip(map(Mark, map(os.fsdecode, path), *numbers), found))
