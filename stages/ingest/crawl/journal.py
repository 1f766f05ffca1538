"""An append-only file of JSON lines that survives `kill -9`: every line is on the disk before the next step is taken.

A line cut off by the kill is taken off when the file is opened again. A line that is damaged in the middle of the file
is another matter and an error: what follows it can no longer be trusted to be complete.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator

from pipeline.errors import DamagedStore


class Journal:
    """`append` is durable when it returns. Open it once per process; `read` gives the lines of earlier processes."""

    def __init__(self, path: Path):
        self.path = path
        self.file = open(path, "ab+")
        self._repair()

    def _repair(self) -> None:
        """Cut the file back to its last whole line."""
        size = self.file.seek(0, os.SEEK_END)
        keep, end = size, size
        while end and keep == size:
            start = max(0, end - 65536)
            self.file.seek(start)
            cut = self.file.read(end - start).rfind(b"\n")
            if cut >= 0:
                keep = start + cut + 1
                break
            end = start
        else:
            keep = 0
        if keep < size:
            self.file.truncate(keep)
            os.fsync(self.file.fileno())
        self.file.seek(0, os.SEEK_END)

    def append(self, line: dict[str, Any]) -> None:
        self.file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()


def lines(path: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """(line, offset behind it) of every whole line of a journal from byte `start` on; nothing where there is no file."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        offset = file.seek(start)
        for raw in file:
            offset += len(raw)
            if not raw.endswith(b"\n"):
                return
            try:
                yield json.loads(raw), offset
            except ValueError:
                raise DamagedStore(
                    f"{path}: damaged before byte {offset}", "delete the folder that holds it; the group is then crawled anew"
                ) from None
