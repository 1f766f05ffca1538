"""Files and folders on object storage as paths of this machine: copied once to the user's cache, whoever else wants them meanwhile."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import OptionError
from pipeline.storage.files import Remote, disk_error, is_remote, tried


def cached(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, which `fill` filled: once, and whole or not at all. StoreError where the disk fails."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "maetdol"
    try:
        caches.mkdir(parents=True, exist_ok=True)
        with open(caches / f"{name}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (caches / name).is_dir():
                with tempfile.TemporaryDirectory(prefix=f"{name}.part-", dir=caches) as part:
                    whole = Path(part) / "whole"
                    whole.mkdir()
                    fill(whole)
                    os.rename(whole, caches / name)
    except OSError as fault:
        raise disk_error(fault, caches) from None
    return caches / name


class LocalCopy(NamedTuple):
    """A file or folder on object storage as it was when it was looked at."""

    url: str
    state: str
    """Digest (32 hex) of its listing: names, lengths, times and tags of all files."""

    @classmethod
    def of(cls, url: str) -> LocalCopy:
        """What `url` names now, by one listing. OptionError where that is nothing."""
        return cls(url, _state(_listing(Remote(url))))

    def path(self) -> Path:
        """Its copy on this machine, which bears its name; fetched where it is not there. OptionError where it changed since."""
        return cached(f"copy-{self.state}", self._fetch) / self.url.rstrip("/").rsplit("/", 1)[1]

    def _fetch(self, folder: Path) -> None:
        fs = Remote(self.url)
        found = _listing(fs)
        if _state(found) != self.state:
            raise OptionError(
                f"{self.url} was changed while it was in use", "run again: what follows from it is made anew"
            )
        root = folder / self.url.rstrip("/").rsplit("/", 1)[1]
        for name in found:
            target = root / name if name else root
            target.parent.mkdir(parents=True, exist_ok=True)
            tried(partial(fs.fsspec.get_file, fs.prefix + (f"/{name}" if name else ""), str(target)), fs.path(name))


def is_on_storage(value: object) -> bool:
    """Is it the URL of something on object storage?"""
    return isinstance(value, str) and is_remote(value)


def _listing(fs: Remote) -> dict[str, str]:
    """What the storage says of every file below `fs`, by its name below it; of a file, by the empty name."""
    found = tried(partial(fs.fsspec.find, fs.prefix, detail=True), fs.url)
    files = {
        name.lstrip("/")[len(fs.prefix) :].lstrip("/"): repr(sorted(entry.items(), key=lambda item: item[0]))
        for name, entry in found.items()
        if entry["type"] == "file" and not name.endswith("/")
    }
    if not files:
        raise OptionError(f"there is nothing at {fs.url}", "give the URL of a file or folder that is there")
    if bad := next((name for name in files if ".." in name.split("/")), None):
        raise OptionError(f"{fs.url} holds the name {bad!r}, which leads out of it", "rename that object")
    return files


def _state(listing: dict[str, str]) -> str:
    return hashlib.blake2b(repr(sorted(listing.items())).encode(), digest_size=16).hexdigest()
