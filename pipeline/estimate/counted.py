"""An object storage in memory, at `counted://`, that counts what is asked of it."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem


class CountedFileSystem(MemoryFileSystem):
    """Registered by whoever counts; every instance is the same storage."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs = [""]
    requests: ClassVar[Counter[str]] = Counter()
    """By kind: GET, PUT, LIST, HEAD, DELETE."""
    read = 0
    """Bytes of objects."""
    _counting = threading.Lock()

    def _count(self, kind: str, read: int = 0) -> None:
        with self._counting:
            self.requests[kind] += 1
            type(self).read += read

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + str(path).removeprefix("counted://").strip("/")

    def cat_file(self, path, start=None, end=None, **_):
        data = super().cat_file(path, start, end)
        self._count("GET", len(data))
        return data

    def pipe_file(self, path, value, mode="overwrite", **_):
        self._count("PUT")
        return super().pipe_file(path, value, mode=mode)

    def put_file(self, lpath, rpath, **_):
        with open(lpath, "rb") as file:
            self.pipe_file(self._strip_protocol(rpath), file.read())

    def _open(self, path, *given, **more):
        if sys._getframe(1).f_code.co_name == "open" and "w" not in str(given):
            self._count("HEAD")
        return super()._open(path, *given, **more)

    def find(self, path, **more):
        self._count("LIST")
        return super().find(path, **more)

    def ls(self, path, **more):
        if sys._getframe(1).f_code.co_name not in ("walk", "find"):
            self._count("LIST")
        return super().ls(path, **more)

    def exists(self, path, **_):
        self._count("HEAD")
        return super().exists(path)

    def rm_file(self, path):
        self._count("DELETE")
        if super().exists(path):
            super().rm_file(path)


class S3Counted(CountedFileSystem):
    """Counts what s3fs asks more than it is asked: a missing object may be a folder, an empty folder an object or nothing at all, and a
    GET tells that an object is missing. Checked against a server's log (tests/bench/estimate)."""

    def cat_file(self, path, start=None, end=None, **more):
        try:
            return super().cat_file(path, start, end, **more)
        except FileNotFoundError:
            self._count("GET")
            raise

    def _open(self, path, *given, **more):
        found = super()._open(path, *given, **more)
        if sys._getframe(2).f_code.co_name not in ("cat_file", "pipe_file"):  # these are counted themselves
            self._count("HEAD")
            self._count("GET")
        return found

    def exists(self, path, **more):
        found = super().exists(path, **more)
        if not found:
            self._count("LIST")
        return found

    def find(self, path, **more):
        found = super().find(path, **more)
        if not found:
            self._count("HEAD")
            self._count("LIST")
        return found

    def ls(self, path, **more):
        direct = sys._getframe(1).f_code.co_name not in ("walk", "find")
        try:
            found = super().ls(path, **more)
        except FileNotFoundError:
            if direct:
                self._count("LIST")
            raise
        return found
