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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.errors import InfraError, SourceError
from pipeline.storage import recordings
from pipeline.storage.files import REFUSED, Remote, is_remote, storage_faults, tried
from pipeline.storage.input_hashes import of_store

PACKAGES = "installed-packages"
"""The named source: documentation of what is installed."""
SKIPPED = "skipped"
"""`within` of the file in which a crawl accounts for the addresses it did not fetch."""
NOT_A_FILE = "not a file: "
"""`within` of what is listed and never opened begins so, and goes on with what it is."""
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


def listing(
    given: list[str],
    packages: Any = None,
    follow: bool = False,
    digest: Callable[[str, os.stat_result], str] | None = None,
) -> list[File]:
    """Every file of `given`, sorted by name. SourceError where an entry names nothing. `packages` lists the named source; `digest`
    gives the hash of a local file of this path and status (default: by reading it).

    What is no regular file, and a link that leads out of its folder (unless `follow`), is listed to be accounted for: never opened.
    """
    found: list[File] = []
    for entry in given:
        if entry == PACKAGES:
            found += packages()
            continue
        files = list(_remote(entry) if is_remote(entry) else _local(entry, follow, digest or of_store("").of))
        if not files:
            raise SourceError(
                f"{entry} names no file",
                "give the path of a file, a folder, a glob such as 'raw/*.warc.gz', or installed-packages",
            )
        found += files
    return _apart(sorted(found, key=lambda file: (file.name, file.digest, file.path)))


def _apart(files: list[File]) -> list[File]:
    """Names told apart where two roots hold files of one name: the second is `name~2`. The same file named twice is one."""
    kept: list[File] = []
    seen: dict[str, int] = {}
    paths: set[str] = set()
    for file in files:
        if file.path in paths:
            continue
        paths.add(file.path)
        seen[file.name] = seen.get(file.name, 0) + 1
        kept.append(file if seen[file.name] == 1 else file._replace(name=f"{file.name}~{seen[file.name]}"))
    return sorted(kept, key=lambda file: file.name)


def drawn(files: list[File], most: int) -> list[File]:
    """Some of `files`, by a hash of their names, of at most `most` bytes together; the smallest where all are larger."""
    found, held = [], 0
    ordered = sorted(files, key=lambda each: hashlib.blake2b(os.fsencode(each.name), digest_size=8).digest())
    for file in ordered:
        if 0 < file.size <= most - held:
            found.append(file)
            held += file.size
    return found or [min(ordered, key=lambda each: (each.size == 0, each.size))]


# -- local -------------------------------------------------------------------------------------------------------------


def _local(entry: str, follow: bool, digest: Callable[[str, os.stat_result], str]) -> Iterator[File]:
    path = Path(entry.removeprefix("file://")).expanduser()
    if path.is_dir():
        for folder, names in _inside(path):
            yield from _files(folder, names, path, follow, digest)
    elif path.exists():
        # Named by hand, a link is followed: it was asked for.
        yield from _files(path.parent, [path.name], path.parent, True, digest)
    elif _WILD.search(entry):
        parts = path.parts
        fixed = next(depth for depth, part in enumerate(parts) if _WILD.search(part))
        root = Path(*parts[:fixed]) if fixed else Path(".")
        single: dict[Path, list[str]] = {}
        for match in root.glob(str(Path(*parts[fixed:]))):
            if match.is_dir() and not match.is_symlink():
                for folder, names in _inside(match):
                    yield from _files(folder, names, root, follow, digest)
            elif not any(part.startswith(".") for part in match.relative_to(root).parts):
                single.setdefault(match.parent, []).append(match.name)
        for folder, names in single.items():
            yield from _files(folder, names, root, follow, digest)


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


def _files(
    folder: Path, names: Iterable[str], root: Path, follow: bool, digest: Callable[[str, os.stat_result], str]
) -> Iterator[File]:
    """The files of these names in a folder below `root`. What must not be opened says why in `within`, and stands in the listing so
    that it stands in the ledger."""
    below, ground = folder.relative_to(root).as_posix(), root.resolve()
    beside = not follow and not folder.resolve().is_relative_to(ground)  # there by a link
    at, below = ("" if each == "." else os.path.join(each, "") for each in (str(folder), below))
    for each in names:
        name, path = below + each, at + each
        try:
            status = os.lstat(path)
            linked = stat.S_ISLNK(status.st_mode)
            status = os.stat(path) if linked else status
            out = not follow and not Path(path).resolve().is_relative_to(ground) if linked else beside
            if (odd := _odd(status.st_mode, linked, out)) is not None:
                yield File(name, path, 0, f"not a file: {odd}", NOT_A_FILE + odd)
            else:
                yield File(name, path, status.st_size, digest(path, status))
        except OSError as fault:
            yield File(name, path, 0, f"unreadable:{fault.errno}")


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
    digest = of_store("").of
    folder, skipped = f"crawl/{summary.group}/", Path(summary.skipped_file)
    found = [
        file
        for path in map(Path, summary.warcs)
        for file in _files(path.parent, [path.name], path.parent, True, digest)
    ]
    found += [
        each._replace(within=SKIPPED) for each in _files(skipped.parent, [skipped.name], skipped.parent, True, digest)
    ]
    found = [file._replace(name=folder + file.name) for file in found]
    for file in found:
        recordings.hold(Path(file.path), file.digest, summary.hashes)
    return found


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


def opened(file: File) -> BinaryIO:
    """The file's bytes, buffered. OSError where it cannot be opened; InfraError where object storage failed, also while it is read."""
    if not is_remote(file.path):
        return open(file.path, "rb")
    remote = Remote(file.path)
    return io.BufferedReader(
        _Object(tried(lambda: remote.fsspec.open(remote.prefix, "rb", block_size=8 << 20), file.path), file), 1 << 18
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
