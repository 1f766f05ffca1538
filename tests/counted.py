"""An object storage in memory, at `counted://`, that counts what is asked of it."""

from __future__ import annotations

import sys
from collections import Counter

from fsspec.implementations.memory import MemoryFileSystem


class CountedFileSystem(MemoryFileSystem):
    protocol = "counted"
    store: dict = {}
    pseudo_dirs = [""]
    requests: Counter = Counter()
    read = 0

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + str(path).removeprefix("counted://").strip("/")

    def cat_file(self, path, start=None, end=None, **_):
        data = super().cat_file(path, start, end)
        self.requests["GET"] += 1
        type(self).read += len(data)
        return data

    def pipe_file(self, path, value, mode="overwrite", **_):
        self.requests["PUT"] += 1
        return super().pipe_file(path, value, mode=mode)

    def put_file(self, lpath, rpath, **_):
        with open(lpath, "rb") as file:
            self.pipe_file(self._strip_protocol(rpath), file.read())

    def _open(self, path, *given, **more):
        if sys._getframe(1).f_code.co_name == "open" and "w" not in str(given):
            self.requests["HEAD"] += 1
        return super()._open(path, *given, **more)

    def find(self, path, **more):
        self.requests["LIST"] += 1
        return super().find(path, **more)

    def ls(self, path, **more):
        self.requests["LIST"] += sys._getframe(1).f_code.co_name not in ("walk", "find")
        return super().ls(path, **more)

    def exists(self, path, **_):
        self.requests["HEAD"] += 1
        return super().exists(path)

    def rm_file(self, path):
        self.requests["DELETE"] += 1
        if super().exists(path):
            super().rm_file(path)
