"""Which files a source names: paths, globs and folders, local or on object storage, in one order whatever the machine.

A file's name below the ingested root is part of its rows' identity; the root itself, and where it lies, are not. The
root of a path is its folder, of a folder the folder, of a glob what stands before its first wildcard.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

from pipeline.errors import InfraError, SourceError
from pipeline.storage import recordings
from pipeline.storage.files import REFUSED, Remote, is_remote, storage_faults, tried
from pipeline.storage.input_hashes import UNREADABLE, Marks, of_store

PACKAGES = "installed-packages"
"""The named source: documentation of what is installed."""
SKIPPED = "skipped"
"""`within` of the file in which a crawl accounts for the addresses it did not fetch."""
NOT_A_FILE = "not a file: "
"""`within` of what is listed and never opened begins so, and goes on with what it is."""
PIECE = 8 << 20
"""Bytes of an object that one request fetches."""
BUCKETS = ("s3", "s3a", "s3n", "gs", "gcs")
"""Schemes whose first part names a bucket."""
_WILD = re.compile(r"[*?\[]")


class File(NamedTuple):
    """One input file. `name` is below its root; `digest` is the hash of its bytes (object storage: its ETag)."""

    name: str
    path: str
    size: int
    digest: str
    within: str = ""
    """The named source it belongs to, for what is not read as a plain file."""


class Files(Sequence[File]):
    """Input files in columns: of a million files no object more than names, paths and hashes."""

    def __init__(self, files: Iterable[File] = ()):
        self.names: list[str] = []
        self.paths: list[str] = []
        self.sizes = array("q")
        self.digests: list[str] = []
        self._within: dict[int, str] = {}
        self.add(files)

    def add(self, files: Iterable[File]) -> None:
        """Some files more."""
        for file in files:
            if file.within:
                self._within[len(self)] = file.within
            self.names.append(file.name)
            self.paths.append(file.path)
            self.sizes.append(file.size)
            self.digests.append(file.digest)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> File: ...
    @overload
    def __getitem__(self, at: slice) -> list[File]: ...
    def __getitem__(self, at: int | slice) -> File | list[File]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        return File(self.names[at], self.paths[at], self.sizes[at], self.digests[at], self._within.get(at, ""))

    def ordered(self) -> Files:
        """By name. Where two roots hold files of one name, the second is `name~2`; the same file named twice is one."""
        if not len(set(self.names)) == len(set(self.paths)) == len(self):
            return Files(_apart(self))
        order = sorted(range(len(self)), key=self.names.__getitem__)
        found = Files()
        found.names, found.paths, found.digests = (
            list(map(column.__getitem__, order)) for column in (self.names, self.paths, self.digests)
        )
        found.sizes = array("q", map(self.sizes.__getitem__, order))
        found._within = (
            {at: self._within[was] for at, was in enumerate(order) if was in self._within} if self._within else {}
        )
        return found


def listing(
    given: list[str],
    packages: Any = None,
    follow: bool = False,
    digest: Callable[[Marks], list[str]] | None = None,
) -> Files:
    """Every file of `given`, sorted by name. SourceError where an entry names nothing. `packages` lists the named source; `digest`
    gives the hashes of local files, asked once for all of them (default: by reading them; UNREADABLE stands before what cannot be read).

    What is no regular file, and a link that leads out of its folder (unless `follow`), is listed to be accounted for: never opened.
    """
    local, others = _Local(follow), Files()
    for entry in given:
        if entry == PACKAGES:
            others.add(packages())
            continue
        before = len(local) + len(others)
        if is_remote(entry):
            others.add(_remote(entry))
        else:
            local.list(entry)
        if len(local) + len(others) == before:
            raise SourceError(
                f"{entry} names no file",
                "give the path of a file, a folder, a glob such as 'raw/*.warc.gz', or installed-packages",
            )
    found = local.files(digest or of_store("").of)
    found.add(others)
    return found.ordered()


def _apart(files: Iterable[File]) -> list[File]:
    kept: list[File] = []
    seen: dict[str, int] = {}
    paths: set[str] = set()
    for file in sorted(files, key=lambda file: (file.name, file.digest, file.path)):
        if file.path in paths:
            continue
        paths.add(file.path)
        seen[file.name] = seen.get(file.name, 0) + 1
        kept.append(file if seen[file.name] == 1 else file._replace(name=f"{file.name}~{seen[file.name]}"))
    return sorted(kept, key=lambda file: file.name)


def drawn(files: Sequence[File], most: int) -> list[File]:
    """Some of `files`, by a hash of their names, of at most `most` bytes together; the smallest where all are larger."""
    found, held = [], 0
    ordered = sorted(files, key=lambda each: hashlib.blake2b(os.fsencode(each.name), digest_size=8).digest())
    for file in ordered:
        if 0 < file.size <= most - held:
            found.append(file)
            held += file.size
    return found or [min(ordered, key=lambda each: (each.size == 0, each.size))]


# -- local -------------------------------------------------------------------------------------------------------------


class _Local:
    """Local files as they are found: regular ones with what the disk says of them, and what must not be opened or cannot be."""

    def __init__(self, follow: bool):
        self._follow = follow
        self._names: list[str] = []
        self._marks = Marks()
        self._odd = Files()

    def __len__(self) -> int:
        return len(self._names) + len(self._odd)

    def files(self, digest: Callable[[Marks], list[str]]) -> Files:
        """All of them, in no order; `digest` gives the hashes of the regular ones."""
        found = Files()
        found.names, found.paths, found.sizes = self._names, self._marks.paths, self._marks.sizes[:]
        found.digests = digest(self._marks)
        for at, each in enumerate(found.digests):
            if each.startswith(UNREADABLE):
                found.sizes[at] = 0
        found.add(self._odd)
        return found

    def list(self, entry: str) -> None:
        """Add what a path or glob names."""
        path = Path(entry.removeprefix("file://")).expanduser()
        if path.is_dir():
            for folder, names in _inside(path):
                self.add(folder, names, path)
        elif path.exists():
            # Named by hand, a link is followed: it was asked for.
            self.add(path.parent, [path.name], path.parent, True)
        elif _WILD.search(entry):
            parts = path.parts
            fixed = next(depth for depth, part in enumerate(parts) if _WILD.search(part))
            root = Path(*parts[:fixed]) if fixed else Path(".")
            single: dict[Path, list[str]] = {}
            for match in root.glob(str(Path(*parts[fixed:]))):
                if match.is_dir() and not match.is_symlink():
                    for folder, names in _inside(match):
                        self.add(folder, names, root)
                elif not any(part.startswith(".") for part in match.relative_to(root).parts):
                    single.setdefault(match.parent, []).append(match.name)
            for folder, names in single.items():
                self.add(folder, names, root)

    def add(self, folder: Path, names: Iterable[str], root: Path, follow: bool = False) -> None:
        """Add the files of these names in a folder below `root`. What must not be opened says why in `within`, and stands in the
        listing so that it stands in the ledger."""
        follow = follow or self._follow
        below, ground = folder.relative_to(root).as_posix(), root.resolve()
        beside = not follow and not folder.resolve().is_relative_to(ground)  # there by a link
        at, below = ("" if each == "." else os.path.join(each, "") for each in (str(folder), below))
        for each in names:
            name, path = below + each, at + each
            try:
                status = os.lstat(path)
                if beside or not stat.S_ISREG(status.st_mode):
                    linked = stat.S_ISLNK(status.st_mode)
                    status = os.stat(path) if linked else status
                    out = not follow and not Path(path).resolve().is_relative_to(ground) if linked else beside
                    if (odd := _odd(status.st_mode, linked, out)) is not None:
                        self._odd.add([File(name, path, 0, f"not a file: {odd}", NOT_A_FILE + odd)])
                        continue
            except OSError as fault:
                self._odd.add([File(name, path, 0, f"{UNREADABLE}{fault.errno}")])
                continue
            self._names.append(name)
            self._marks.add(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _inside(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder of a folder, and the names of what is input in it: hidden files are not; of a saved dataset only what its own
    index names. Links to folders are not followed, and stand among the names."""
    for base, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [name for name in folders if os.path.islink(os.path.join(base, name))]
        folder = Path(base)
        listed = saved_dataset(folder)
        yield (
            folder,
            [
                name
                for name in names
                if not name.startswith(".")
                and not name.endswith((".part", ".tmp"))
                and name != "dataset_dict.json"
                and (listed is None or name in listed)
            ],
        )


def saved_dataset(folder: Path) -> set[str] | None:
    """File names of the rows of a `datasets.save_to_disk` folder, or None where it is no such folder."""
    state = folder / "state.json"
    if not state.is_file() or not (folder / "dataset_info.json").is_file():
        return None
    try:
        return {str(entry["filename"]) for entry in json.loads(state.read_text("utf-8"))["_data_files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _odd(mode: int, linked: bool, out: bool) -> str | None:
    """What a path is where it is no regular file of its folder (`linked`: by a link, `out`: of another folder); None for one that is."""
    kinds = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISDIR, "a folder"),
    )
    if stat.S_ISREG(mode):
        return "a link out of the folder" if out else None
    odd = next((word for is_such, word in kinds if is_such(mode)), None)
    if odd == "a folder" and linked:
        return "a link to a folder (give the folder itself too)"
    return odd


def recorded(summary: Any) -> list[File]:
    """The files of one crawled group: its WARC files, and the account of what was not fetched. DamagedStore where one is not what
    was recorded."""
    folder, skipped = f"crawl/{summary.group}/", Path(summary.skipped_file)
    found = _named(map(Path, summary.warcs))
    found += [each._replace(within=SKIPPED) for each in _named([skipped])]
    found = [file._replace(name=folder + file.name) for file in found]
    for file in found:
        recordings.hold(Path(file.path), file.digest, summary.hashes)
    return found


def _named(paths: Iterable[Path]) -> list[File]:
    """The files at these paths, by their last names, in their order."""
    local = _Local(follow=True)
    for path in paths:
        local.add(path.parent, [path.name], path.parent)
    return list(local.files(of_store("").of))


# -- object storage ----------------------------------------------------------------------------------------------------


def _remote(entry: str) -> Iterator[File]:
    scheme, _, rest = entry.partition("://")
    fs = Remote(entry).fsspec
    parts = rest.rstrip("/").split("/")
    fixed = next((depth for depth, part in enumerate(parts) if _WILD.search(part)), None)

    def listed() -> tuple[str, dict[str, Any]]:
        if fixed is not None:
            return "/".join(parts[:fixed]), fs.glob(rest, detail=True)
        if fs.isdir(rest):
            return rest.rstrip("/"), fs.find(rest, detail=True)
        return "/".join(parts[:-1]), {rest: fs.info(rest)} if fs.exists(rest) else {}

    try:
        root, found = tried(listed, entry)
    except FileNotFoundError:
        root, found = "", {}
    if not found and scheme.lower() in BUCKETS and not tried(lambda: fs.exists(parts[0]), entry):
        raise SourceError(f"no bucket at {scheme}://{parts[0]}", REFUSED["NoSuchBucket"])
    for path, facts in sorted(found.items()):
        name = path.removeprefix(root).lstrip("/")
        if facts.get("type") == "file" and not any(part.startswith(".") for part in name.split("/")):
            tag = facts.get("ETag") or facts.get("etag") or fs.ukey(path)
            yield File(name, f"{scheme}://{path}", int(facts.get("size") or 0), str(tag).strip('"'))


def requests_of(files: Files) -> dict[str, int]:
    """What listing and reading these files asks of object storage, by kind; nothing of those on a disk."""
    sizes = [size for path, size in zip(files.paths, files.sizes) if is_remote(path)]
    return {"LIST": -(-len(sizes) // 1000), "HEAD": len(sizes), "GET": sum(max(1, -(-size // PIECE)) for size in sizes)}


def opened(file: File) -> BinaryIO:
    """The file's bytes, buffered. OSError where it cannot be opened; InfraError where object storage failed, also while it is read."""
    if not is_remote(file.path):
        return open(file.path, "rb")
    remote = Remote(file.path)
    return io.BufferedReader(
        _Object(tried(lambda: remote.fsspec.open(remote.prefix, "rb", block_size=PIECE), file.path), file), 1 << 18
    )


class _Object(io.RawIOBase):
    """An object that is read in pieces. A piece that fails is asked for again, from where it began, and then InfraError; so is
    an end before the size in the listing: half an object is never taken for a whole one."""

    def __init__(self, handle: Any, file: File):
        super().__init__()
        self._handle, self._file, self._at = handle, file, 0
        self._seekable = handle.seekable()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = self._handle.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._piece(len(buffer))
        if not data and len(buffer) and self._seekable and self._at < self._file.size:
            raise self._cut(f"it ended after {self._at:,} of {self._file.size:,} bytes")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _piece(self, size: int) -> bytes:
        if self._seekable:
            return tried(lambda: self._again(size), self._file.path)
        try:
            return self._handle.read(size)
        except storage_faults() as fault:  # what was given cannot be asked for again
            raise self._cut(type(fault).__name__) from fault

    def _again(self, size: int) -> bytes:
        self._handle.seek(self._at)
        return self._handle.read(size)

    def _cut(self, why: str) -> InfraError:
        return InfraError(f"reading {self._file.path} failed: {why}", "check the endpoint, then run again")

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()
