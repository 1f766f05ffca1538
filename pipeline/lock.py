"""One driver per root: a lock that names its holder, and is taken over when the holder is dead."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any

from pipeline.errors import RootLocked
from pipeline.files import Local, Remote

STALE = 600.0
"""Seconds after which a lock of another machine, no longer refreshed, counts as dead."""
REFRESH = 60.0
"""Seconds between a holder's signs of life."""


class RootLock:
    """Use as a context around a run. On one machine a dead holder is seen at once (its process is gone, or its start
    time differs); a holder on another machine counts as dead when its lock was not refreshed for ten minutes."""

    def __init__(self, place: Local | Remote):
        self.place = place
        self.me = {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}

    def __enter__(self) -> "RootLock":
        if not (isinstance(self.place, Local) and self._create()):
            self._take_over()
        self._over = threading.Event()
        threading.Thread(target=self._sign_of_life, daemon=True).start()
        return self

    def _sign_of_life(self) -> None:
        while not self._over.wait(REFRESH):
            self.refresh()

    def _take_over(self) -> None:
        holder = self._holder()
        if holder and self._alive(holder):
            raise RootLocked(
                f"{self.place.path('')} is in use by process {holder.get('pid')} on {holder.get('host')}",
                "wait for it, stop it, or run with another `root`",
            )
        self.refresh()

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        holder = self._holder()
        if holder and all(holder.get(k) == v for k, v in self.me.items()):
            self.place.delete("lock.json")

    def refresh(self) -> None:
        self.place.write("lock.json", json.dumps({**self.me, "seen": time.time()}).encode())

    def _create(self) -> bool:
        """Exclusive creation: of two drivers that start together one wins."""
        path = self.place.path("lock.json")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as out:
            json.dump({**self.me, "seen": time.time()}, out)
        return True

    def _holder(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.place.read("lock.json"))
        except (FileNotFoundError, ValueError):
            return None

    def _alive(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") != self.me["host"] or holder.get("boot") != self.me["boot"]:
            return time.time() - float(holder.get("seen", 0)) < STALE
        if holder.get("pid") == self.me["pid"]:
            return False
        try:
            os.kill(int(holder["pid"]), 0)
        except (ProcessLookupError, ValueError, KeyError):
            return False
        except PermissionError:
            pass
        return _started(int(holder["pid"])) == holder.get("started")


def _boot() -> str:
    """The boot of this machine, so that a process number from before a restart is not taken for a live one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            return handle.read().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started: a process number used again is not the holder."""
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""
