"""What a process that trains does beside training: it is alone in the run's folder, writes its progress, and notices when its driver is dead."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.engine.watchdog import watchdog
from pipeline.storage.files import Local
from pipeline.storage.store import Store

PROGRESS = "passes/progress.json"


def progress_writer(sink: Store) -> ProgressWriter:
    return ProgressWriter(sink.fs.path(PROGRESS) if isinstance(sink.fs, Local) else None)


class ProgressWriter:
    """Writes how far a run is to a small file for the driver's bar, at most once a second; the watchdog hears of every step."""

    def __init__(self, path: str | None):
        self.path, self.written = path, 0.0

    def __call__(self, line: dict[str, Any]) -> None:
        now = time.monotonic()
        watchdog.at("step", line["step"], "of", line["steps"])
        if self.path is None or (now - self.written < 1.0 and line["step"] < line["steps"]):
            return
        self.written = now
        part = f"{self.path}.part-{os.getpid()}"
        with open(part, "w", encoding="utf-8") as out:
            json.dump(line, out)
        os.replace(part, self.path)


def this_process() -> tuple[str, int, str]:
    """Host, pid and start time of this process."""
    return socket.gethostname(), os.getpid(), _started(os.getpid())


def _started(pid: int) -> str:
    """Start time of a process in clock ticks, so that a reused pid is not taken for the old one; empty where unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def alive_check(driver: tuple[str, int, str]) -> Callable[[], bool]:
    """A function that says whether the driver lives; on another host Ray's own watch decides, so there it is True."""
    host, pid, started = driver
    if host != socket.gethostname():
        return lambda: True

    def alive() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _started(pid) == started

    return alive


@contextmanager
def locked(sink: Store) -> Iterator[None]:
    """Alone in the run's folder (local disk): waits until what a killed driver left behind has noticed and gone."""
    if not isinstance(sink.fs, Local):
        yield
        return
    folder = Path(sink.fs.path("passes"))
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
