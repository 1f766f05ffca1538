"""A folder of files, on a local disk or on object storage, behind one small interface.

A write is whole or absent. Locally: a temporary name (never ending in `.arrow`), fsync, rename, fsync of the folder. On
object storage: one put of the whole object.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from pipeline.errors import DiskFull, InfraError, SourceError, StoreError

TEMPORARY = ".part-"


LOCAL = ("file", "local")
"""Schemes that mean the local disk."""
ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Schemes that mean the same object storage."""


def is_remote(path: str | os.PathLike) -> bool:
    scheme, colon, _ = str(path).partition("://")
    return bool(colon) and scheme.lower() not in LOCAL


def filesystem(path: str | os.PathLike) -> Local | Remote:
    """The folder at `path`: `s3://bucket/folder` (any fsspec scheme) or a local path."""
    return Remote(str(path)) if is_remote(path) else Local(_local(path))


def _local(path: str | os.PathLike) -> Path:
    scheme, colon, rest = str(path).partition("://")
    return Path(rest if colon and scheme.lower() in LOCAL else path)


def canonical(path: str | os.PathLike) -> str:
    """The one spelling of a path, for comparison: links resolved; of a URL, the scheme in small letters and no empty, `.` or
    `..` parts.

    >>> canonical("S3://b//x/./y/"), canonical("s3a://b/z/../x/y")
    ('s3://b/x/y', 's3://b/x/y')
    """
    if not is_remote(path):
        return os.path.realpath(_local(path))
    scheme, _, rest = str(path).partition("://")
    scheme = ALIASES.get(scheme.lower(), scheme.lower())
    return f"{scheme}://{posixpath.normpath('/' + rest).lstrip('/')}"


def inside(inner: str | os.PathLike, outer: str | os.PathLike) -> bool:
    """Is `inner` the path `outer`, or below it, however the two are spelled? Folders that are there are compared as the disk
    knows them (device and inode), so that names of other case and mounts of one folder are seen too."""
    low, high = canonical(inner), canonical(outer)
    if is_remote(low) or is_remote(high):
        return low == high or low.startswith(f"{high.rstrip('/')}/")
    mark = _inode(high)
    return any(
        str(part) == high or (mark is not None and _inode(part) == mark) for part in (Path(low), *Path(low).parents)
    )


def parents(path: str | os.PathLike) -> list[str]:
    """The folders above a path, the nearest first; of a URL, up to its bucket."""
    word = canonical(path)
    if not is_remote(word):
        return [str(part) for part in Path(word).parents]
    scheme, _, rest = word.partition("://")
    names = rest.split("/")
    return [f"{scheme}://{'/'.join(names[:count])}" for count in range(len(names) - 1, 0, -1)]


def seen(where: Local | Remote, name: str) -> bool:
    """Is it there, as far as we may look? A folder above our own may be closed to us."""
    try:
        return where.exists(name)
    except (PermissionError, SourceError):
        return False


def _inode(path: str | os.PathLike) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Local:
    """A local folder."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, name: str) -> str:
        return str(self.root / name) if name else str(self.root)

    def sub(self, name: str) -> Local:
        return Local(self.root / name)

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def size(self, name: str) -> int:
        return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def read_range(self, name: str, first: int, size: int) -> bytes:
        """`size` bytes of a file from the byte `first` on; fewer where it ends before."""
        with self.open(name) as handle:
            handle.seek(first)
            return handle.read(size)

    def open(self, name: str) -> BinaryIO:
        """The file, to be read in pieces."""
        return open(self.root / name, "rb", buffering=0)  # type: ignore[return-value]

    def names(self, folder: str) -> list[str]:
        """File names directly in `folder`, sorted; temporary ones left out."""
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted(e.name for e in entries if e.is_file() and TEMPORARY not in e.name)
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below `folder`, by its name below this folder (`shards/00000.arrow`); temporary ones left out."""
        found, waiting = {}, [folder]
        while waiting:
            here = waiting.pop()
            try:
                with os.scandir(self.root / here) as entries:
                    for entry in entries:
                        name = f"{here}/{entry.name}" if here else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(name)
                        elif entry.is_file() and TEMPORARY not in entry.name:
                            found[name] = entry.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def folders(self) -> list[str]:
        """Names of the folders directly below, sorted."""
        return sorted(p.name for p in self.root.iterdir() if p.is_dir()) if self.root.is_dir() else []

    def write(self, name: str, data: bytes) -> None:
        with self.create(name) as sink:
            sink.write(data)

    def add(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet, whole. False where it is: of several that try, one writes."""
        target = self.root / name
        whole = target.with_name(f"{target.name}{TEMPORARY}{os.getpid()}-{uuid4().hex[:8]}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            whole.write_bytes(data)
            os.link(whole, target)
        except FileExistsError:
            return False
        except OSError as fault:
            raise disk_error(fault, target) from None
        finally:
            whole.unlink(missing_ok=True)
        return True

    def create(self, name: str) -> Created:
        """A context whose file appears under `name` when the block ends well, and never otherwise."""
        return Created(self.root / name)

    def delete(self, name: str) -> None:
        target = self.root / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def sweep(self, folder: str) -> None:
        """Remove what writers that died left under temporary names."""
        here = self.root / folder
        for part in here.glob(f"*{TEMPORARY}*") if here.is_dir() else ():
            part.unlink(missing_ok=True)


class Created:
    """An atomic local write: use as a context; raises DiskFull when there is no room."""

    def __init__(self, target: Path):
        self.target = target
        self.temporary = target.with_name(f"{target.name}{TEMPORARY}{os.getpid()}-{uuid4().hex[:8]}")

    def __enter__(self) -> BinaryIO:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.handle = open(self.temporary, "wb")
        except OSError as fault:
            raise disk_error(fault, self.target) from None
        return self.handle

    def __exit__(self, kind: type | None, fault: BaseException | None, _: Any) -> None:
        try:
            if kind is None:
                self.handle.flush()
                os.fsync(self.handle.fileno())
            self.handle.close()
            if kind is None:
                os.replace(self.temporary, self.target)
                sync_folder(self.target.parent)
        except OSError as problem:
            fault = problem
        finally:
            self.temporary.unlink(missing_ok=True)
        if isinstance(fault, OSError):
            raise disk_error(fault, self.target) from None


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(fault: OSError, target: Path | str) -> StoreError:
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"no room left to write {target}", "free space or move `root`, then run again: finished shards are kept"
        )
    if fault.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StoreError(f"may not write {target}: {fault.strerror}", "choose a `root` you may write to")
    return StoreError(
        f"cannot write {target}: {fault.strerror or fault}", "fix the disk or move `root`, then run again"
    )


OBJECTS = (".arrow", ".ids", ".json")
"""Endings of names that are always objects and never folders."""


class Remote:
    """A folder on object storage, through fsspec. Credentials come from the environment, never from options."""

    def __init__(self, url: str):
        scheme, _, rest = url.rstrip("/").partition("://")
        self.scheme, self.prefix = scheme.lower(), rest
        self.url = f"{self.scheme}://{rest}"

    @property
    def fsspec(self) -> Any:
        import fsspec

        options: dict[str, Any] = {}
        if self.scheme == "s3" and os.environ.get("AWS_ENDPOINT_URL"):
            options["client_kwargs"] = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
        try:
            return fsspec.filesystem(self.scheme, use_listings_cache=False, **options)
        except (ImportError, ValueError) as fault:
            raise SourceError(
                f"cannot open {self.scheme}:// paths: {fault}", 'install the extra: pip install "maetdol[s3]"'
            ) from None

    def path(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if name else self.prefix

    def sub(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}")

    def exists(self, name: str) -> bool:
        return self._try(lambda: self.fsspec.exists(self._key(name)))

    def size(self, name: str) -> int:
        return self._try(lambda: self.fsspec.size(self._key(name)))

    def read(self, name: str) -> bytes:
        # Asked for in one stream, s3fs does not ask for the length first.
        more = {"max_concurrency": 1} if self.scheme == "s3" else {}
        return self._try(lambda: self.fsspec.cat_file(self._key(name), **more))

    def read_range(self, name: str, first: int, size: int) -> bytes:
        """`size` bytes of an object from the byte `first` on, by one ranged GET."""
        return self._try(lambda: self.fsspec.cat_file(self._key(name), start=first, end=first + size)) if size else b""

    def read_ranges(self, name: str, ranges: list[tuple[int, int]]) -> list[bytes]:
        """Bytes of an object from each first one to the one before each last, by as many ranged GETs, several at once."""
        wanted = [(first, last) for first, last in ranges if last > first]
        starts, ends = [first for first, _ in wanted], [last for _, last in wanted]
        keys = [self._key(name)] * len(wanted)
        got = iter(self._try(lambda: self.fsspec.cat_ranges(keys, starts, ends, on_error="raise")) if wanted else ())
        return [next(got) if last > first else b"" for first, last in ranges]

    def open(self, name: str) -> BinaryIO:
        return self._try(lambda: self.fsspec.open(self._key(name), "rb"))

    def names(self, folder: str) -> list[str]:
        return self._listed(folder, "file")

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every object below `folder`, by its name below this folder: one listing, however many there are."""
        start = len(self.prefix) + 1

        def listing() -> dict[str, int]:
            try:
                found = self.fsspec.find(self._key(folder), detail=True)
            except FileNotFoundError:
                return {}
            return {
                name.lstrip("/")[start:]: int(entry["size"]) for name, entry in found.items() if entry["type"] == "file"
            }

        return self._try(listing)

    def folders(self) -> list[str]:
        return self._listed("", "directory")

    def _listed(self, folder: str, kind: str) -> list[str]:
        def listing() -> list[str]:
            try:
                entries = self.fsspec.ls(self._key(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return []
            return sorted(e["name"].rstrip("/").rsplit("/", 1)[1] for e in entries if e["type"] == kind)

        return self._try(listing)

    def write(self, name: str, data: bytes) -> None:
        self._try(lambda: self.fsspec.pipe_file(self._key(name), data))

    def add(self, name: str, data: bytes) -> bool:
        """Put an object that is not there yet (`If-None-Match: *` on S3). False where it is: of several that try, one puts."""

        def put() -> bool:
            try:
                self.fsspec.pipe_file(self._key(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as fault:
                if _code(fault) in LOST_RACE:
                    return False
                raise
            return True

        return self._try(put)

    def changed(self, name: str) -> float | None:
        """When an object was written, by the storage's clock, in seconds since 1970; None where it does not say."""
        try:
            return self._try(lambda: self.fsspec.modified(self._key(name))).timestamp()
        except NotImplementedError:
            return None

    def create(self, name: str) -> Uploaded:
        return Uploaded(self, name)

    def delete(self, name: str) -> None:
        """Remove an object, or all objects below a folder: one request for a name of ours, else a listing and what it finds."""

        def remove() -> None:
            try:
                if posixpath.splitext(name)[1] in OBJECTS:
                    self.fsspec.rm_file(self._key(name))
                elif found := self.fsspec.find(self._key(name)):
                    self.fsspec.rm(found)
            except FileNotFoundError:
                return

        self._try(remove)

    def sweep(self, folder: str) -> None:
        """Nothing to sweep: an object is put whole or not at all."""

    def _try(self, call: Any) -> Any:
        return tried(call, self.url)


STORAGE_TRIES = 4
"""Times a faulty answer of object storage is asked for, with 0.2, 0.4 and 0.8 seconds (and up to as much again) between."""
REFUSED = {
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a profile) in the environment",
    "PartialCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY both",
    "ProfileNotFound": "set AWS_PROFILE to a profile that exists",
    "NoRegionError": "set AWS_DEFAULT_REGION",
    "ParamValidationError": "fix the bucket's name",
    "NoSuchBucket": "make the bucket, or fix its name",
    "InvalidBucketName": "fix the bucket's name",
    "AuthorizationHeaderMalformed": "set AWS_DEFAULT_REGION to the bucket's region",
    "PermanentRedirect": "set AWS_DEFAULT_REGION to the bucket's region",
    "301": "set AWS_DEFAULT_REGION to the bucket's region",
    "IllegalLocationConstraintException": "set AWS_DEFAULT_REGION to the bucket's region",
}
"""What no second try helps: names of exceptions and codes of S3, and what to do."""


def tried(call: Any, where: str) -> Any:
    """`call()` against object storage. Connections that fail, slow-downs and torn answers are asked again, then InfraError;
    SourceError where the answer is final. FileNotFoundError passes, unless it is the bucket that is missing."""
    for attempt in range(STORAGE_TRIES):
        try:
            return call()
        except FileNotFoundError as fault:
            if _code(fault) == "NoSuchBucket":
                raise SourceError(f"no bucket at {where}", REFUSED["NoSuchBucket"]) from None
            if _code(fault) != "NoSuchUpload" or attempt + 1 == STORAGE_TRIES:
                raise  # else an upload in parts was ended before, and the answer to that was lost: put again
        except FileExistsError:
            raise
        except storage_faults() as fault:
            if getattr(fault, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise  # our own disk
            word = next((word for word in (type(fault).__name__, _code(fault)) if word in REFUSED), "")
            if word:
                raise SourceError(f"cannot use {where}: {_line(fault)}", REFUSED[word]) from fault
            if isinstance(fault, PermissionError):
                raise SourceError(
                    f"may not use {where}: {_line(fault)}",
                    "set credentials in the environment that may read and write there",
                ) from fault
            if attempt + 1 == STORAGE_TRIES or getattr(fault, "errno", None) in (errno.ENOSYS, errno.EINVAL):
                raise InfraError(
                    f"object storage failed at {where}: {type(fault).__name__}: {_line(fault)}",
                    "check the endpoint, then run again",
                ) from fault
            time.sleep(0.2 * 2**attempt * (1 + random.random()))
    return None


def storage_faults() -> tuple[type[BaseException], ...]:
    """What fsspec and the libraries under it raise where storage fails; those that are loaded."""
    found: list[type[BaseException]] = [OSError]
    for module, names in {
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "aiohttp": ("ClientError",),
        "fsspec.exceptions": ("FSTimeoutError",),
    }.items():
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)


def _line(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:300]


LOST_RACE = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
"""What S3 answers to a conditional put that came second."""


def _code(fault: BaseException) -> str:
    """The error code of the S3 answer behind a fault."""
    answer = getattr(fault, "response", None) or getattr(fault.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


class Uploaded:
    """Spools to a local temporary file and puts the whole object when the block ends well."""

    def __init__(self, remote: Remote, name: str):
        self.remote, self.name = remote, name

    def __enter__(self) -> BinaryIO:
        import tempfile

        self.handle = tempfile.NamedTemporaryFile(prefix="maetdol-", suffix=".upload")
        return self.handle  # type: ignore[return-value]

    def __exit__(self, kind: type | None, fault: BaseException | None, _: Any) -> None:
        with self.handle as handle:
            if kind is None:
                handle.flush()
                self.remote._try(lambda: self.remote.fsspec.put_file(handle.name, self.remote._key(self.name)))
            elif isinstance(fault, OSError):
                raise disk_error(fault, handle.name) from None
