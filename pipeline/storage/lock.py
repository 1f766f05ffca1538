"""One driver per root: a lock that names its holder, excludes every other, and is taken over when the holder is dead.

The lock is the file `lock.json` in the root. On a local disk the holder keeps it locked with flock, so the kernel says who
lives, whatever container, process number or clock. Object storage, and disks without flock, have exclusive creation alone
(a put with `If-None-Match: *`; a hard link): there the holder writes a sign of life every minute, and every change of hands
goes through a second file that only one can create. A random token tells holders apart; it is read again at every refresh
and before every manifest, and who no longer finds his own stops.

A lock covers what lies below it: who takes one looks for a held one above and below as well.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from pipeline.errors import MaetdolError, RootLocked, SourceError
from pipeline.storage.files import Local, Remote, disk_error, filesystem, parents

NAME = "lock.json"
TAKING = "lock.taking"
"""Created exclusively by whoever takes over a dead lock, for as long as that takes."""
STALE = 600.0
"""Seconds after which a lock whose holder the kernel does not know counts as dead without a sign of life."""
REFRESH = 60.0
"""Seconds between a holder's signs of life."""
TRIES = 10
"""Looks at a lock that is changing hands, with up to 0.1 seconds between them."""
NO_FLOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
"""Errors of flock on a file system that has none."""
SIZE = 512
"""Bytes of a lock file, filled up with blanks: it is written in one piece and never shorter than before."""
DEPTH = 3
"""Folders below a root in which locks are looked for."""
INNER = {"shards", "index", "ledger", "receipts", "passes", "artefact"}
"""Folders of a store: nothing else is written into them, so no lock stands there."""
_HELD: set[str] = set()
"""Tokens of the locks this process holds."""


class RootLock:
    """Use as a context around work on a root or a store. RootLocked where another holds it, or one above or below it."""

    def __init__(self, fs: Local | Remote):
        self.fs = fs
        self.me: dict[str, Any] = {
            "token": uuid4().hex, "host": socket.gethostname(), "boot": _boot(), "space": _space(), "pid": os.getpid(), "started": _started(os.getpid()),
        }  # fmt: skip
        self.lost = ""
        """Why this lock is no longer held; empty while it is."""
        self._file: int | None = None
        self._entered = False
        self._skew = 0.0

    def __enter__(self) -> RootLock:
        self._refuse_above()
        self._skew = _skew(self.fs) if isinstance(self.fs, Remote) else 0.0
        if isinstance(self.fs, Remote) or not self._flocked():
            self._made()
        self._entered, self._alive_at = True, _now()
        _HELD.add(self.me["token"])
        try:
            self._refuse_above()
            self._refuse_below()
        except BaseException:
            self._release()
            raise
        self._over = threading.Event()
        self._signs = threading.Thread(target=self._signs_of_life, daemon=True)
        self._signs.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._signs.join()  # a sign written after the lock is gone would be a lock again
        self._release()

    # -- held ----------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """RootLocked where another has taken the lock, or may have: called before anything is decided."""
        if not self.lost:
            holder = _parsed(_raw(self.fs))
            if (holder or {}).get("token") != self.me["token"]:
                self.lost = f"it was taken by {_who(holder)}" if holder else "its lock.json is gone"
            elif self._file is None and _now() - self._alive_at > STALE - REFRESH:
                self.lost = f"no sign of life could be written for {_now() - self._alive_at:.0f} s"
        self.still()

    def still(self) -> None:
        """RootLocked where it is known that the lock was lost; nothing is read."""
        if self.lost:
            raise RootLocked(
                f"{self.fs.path('')} is no longer held by this run: {self.lost}",
                "let the other run end, then run again: finished shards are kept",
            )

    def refresh(self) -> None:
        """Write a sign of life, where the lock is still this one's. Without flock nobody may take it over meanwhile."""
        if not self._entered or self._file is not None:
            if self._entered:
                self.check()
            self._write()
        elif not self._alone(lambda: (self.check(), self._write())):
            return
        self._alive_at = _now()

    def _signs_of_life(self) -> None:
        while not self._over.wait(REFRESH):
            try:
                self.refresh()
            except RootLocked:
                return  # said by the next check()
            except (MaetdolError, OSError):
                continue  # one sign of life that failed is none; the next may come through

    def _write(self) -> None:
        data = self._data()
        if self._file is None:
            self.fs.write(NAME, data)
            return
        try:
            os.pwrite(self._file, data, 0)
        except OSError as fault:
            raise disk_error(fault, self.fs.path(NAME)) from None

    def _data(self) -> bytes:
        return (
            json.dumps(
                {**self.me, "by": "creation" if self._file is None else "flock", "seen": time.time() + self._skew}
            )
            .encode()
            .ljust(SIZE)
        )

    def _release(self) -> None:
        _HELD.discard(self.me["token"])
        try:
            if not self.lost and (_parsed(_raw(self.fs)) or {}).get("token") == self.me["token"]:
                self.fs.delete(NAME)
        except (MaetdolError, OSError):
            pass  # storage that is gone: the lock dies with its holder
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # closing alone would leave it to a forked child
            os.close(self._file)
            self._file = None

    # -- taken ---------------------------------------------------------------------------------------------------------

    def _flocked(self) -> bool:
        """Take the lock by flock; False on a file system without it."""
        path = self.fs.path(NAME)
        for _ in range(TRIES):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as fault:
                raise disk_error(fault, path) from None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _parsed(os.pread(handle, 1 << 16, 0))
                os.close(handle)
                if holder and self._lives(holder):
                    raise self._in_use(holder) from None
                _wait()  # it changes hands just now, or is merely looked at
                continue
            except OSError as fault:
                os.close(handle)
                if fault.errno in NO_FLOCK:
                    return False
                raise disk_error(fault, path) from None
            if _same(handle, path):
                self._take(handle)
                return True
            os.close(handle)  # its holder removed it in between
        raise self._in_use(_parsed(_raw(self.fs)))

    def _take(self, handle: int) -> None:
        """The file is this one's alone: take it, unless it names a holder elsewhere, or one that has no flock."""
        holder = _parsed(os.pread(handle, 1 << 16, 0))
        if holder and self._lives(holder):
            os.close(handle)
            raise self._in_use(holder)
        self._file = handle
        try:
            os.ftruncate(handle, SIZE)
            self._write()
        except (OSError, MaetdolError) as fault:
            self.fs.delete(NAME)
            os.close(handle)
            self._file = None
            raise disk_error(fault, self.fs.path(NAME)) if isinstance(fault, OSError) else fault from None

    def _made(self) -> None:
        """Take the lock by exclusive creation."""
        for _ in range(TRIES):
            if self.fs.add(NAME, self._data()):
                return
            before = _raw(self.fs)
            holder = _parsed(before)
            if holder and holder.get("token") == self.me["token"]:
                return  # created, and the answer was lost on the way
            if holder and self._lives(holder):
                raise self._in_use(holder)
            if before is not None and self._take_over(before):
                return
            _wait()
        raise self._in_use(_parsed(_raw(self.fs)))

    def _take_over(self, before: bytes) -> bool:
        """Replace a dead lock, while it is the dead one that was seen."""
        taken: list[bool] = []

        def take() -> None:
            if _raw(self.fs) == before:
                self.fs.write(NAME, self._data())
                taken.append(True)

        self._alone(take)
        return bool(taken)

    def _alone(self, change: Callable[[], Any]) -> bool:
        """Call `change` while no other changes the lock: only the one who creates TAKING may. False where another does."""
        if not self.fs.add(TAKING, self._data()):
            taker = _parsed(_raw(self.fs, TAKING)) or {}
            if taker.get("token") != self.me["token"]:  # else created, and the answer was lost on the way
                if taker and not self._fresh(taker.get("seen")):
                    self.fs.delete(TAKING)  # of one who died in the middle
                return False
        try:
            change()
        finally:
            self.fs.delete(TAKING)
        return True

    def _lives(self, holder: dict[str, Any]) -> bool:
        """Does a holder that keeps no flock which we can see live? On this kernel its process says so, elsewhere its signs."""
        if holder.get("boot") != self.me["boot"]:
            return self._fresh(holder.get("seen"))
        if holder.get("space", self.me["space"]) != self.me["space"]:
            return holder.get("by") != "flock" and self._fresh(holder.get("seen"))
        if holder.get("pid") == self.me["pid"]:
            return holder.get("token") in _HELD
        return _runs(holder)

    def _fresh(self, seen: Any) -> bool:
        """A sign of life less than ten minutes old. One that lies as far ahead is none, by the clock of the storage."""
        if not isinstance(seen, (int, float)) or isinstance(seen, bool) or not math.isfinite(seen):
            return False
        return abs(time.time() + self._skew - seen) < STALE

    # -- above and below -----------------------------------------------------------------------------------------------

    def _refuse_above(self) -> None:
        for path in parents(self.fs.path("")):
            holder = self._held(filesystem(path))
            if holder is not None:
                raise self._in_use(holder, path)

    def _refuse_below(self) -> None:
        """One who just begins below sees this lock and gives up his own, so he is waited for a moment."""
        found = None
        for _attempt in range(TRIES):
            found = next(
                (
                    (path, holder)
                    for path in _below(self.fs, DEPTH)
                    if (holder := self._held(filesystem(path))) is not None
                ),
                None,
            )
            if found is None:
                return
            _wait()
        if found is not None:
            raise self._in_use(found[1], found[0])

    def _held(self, where: Local | Remote) -> dict[str, Any] | None:
        """Who holds the lock of a folder now; None where nobody does."""
        try:
            holder = _parsed(_raw(where))
            if isinstance(where, Local) and _is_flocked(where.path(NAME)):
                return holder or {}
        except (PermissionError, SourceError):
            return None  # a folder above that may not be read
        return holder if holder and self._lives(holder) else None

    def _in_use(self, holder: dict[str, Any] | None, path: str = "") -> RootLocked:
        where = path or self.fs.path("")
        hint = "wait for it, stop it, or write to another root"
        if holder and holder.get("boot") != self.me["boot"]:
            hint += f"; if that machine is gone, wait ten minutes or delete {where}/{NAME}"
        return RootLocked(f"{where} is in use by {_who(holder)}", hint)


def _who(holder: dict[str, Any] | None) -> str:
    return f"process {holder['pid']} on {holder.get('host')}" if holder and "pid" in holder else "another process"


def _raw(where: Local | Remote, name: str = NAME) -> bytes | None:
    try:
        return where.read(name)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _parsed(data: bytes | None) -> dict[str, Any] | None:
    """What a lock file says; None for one that says nothing of a holder."""
    try:
        found = json.loads(data or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) and "pid" in found and "host" in found else None


def _below(where: Local | Remote, depth: int) -> Iterator[str]:
    """Folders below that hold a lock file; stores are not gone into."""
    for name in where.folders() if depth else ():
        folder = where.sub(name)
        if name in INNER or name.startswith("."):
            continue
        try:
            if folder.exists(NAME):
                yield folder.path("")
            if not folder.exists("manifest.json"):
                yield from _below(folder, depth - 1)
        except PermissionError:
            continue


def _is_flocked(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no flock here: the holder's signs decide
    finally:
        os.close(handle)
    return False


def _same(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _wait() -> None:
    time.sleep(random.uniform(0.02, 0.1))


def _now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _skew(where: Remote) -> float:
    """Seconds by which the clock of the object storage is ahead of this machine's: signs of life are written in its time."""
    probe = f"lock.probe-{uuid4().hex[:8]}"
    where.write(probe, b"")
    changed = where.changed(probe)
    where.delete(probe)
    return 0.0 if changed is None else changed - time.time()


def _runs(holder: dict[str, Any]) -> bool:
    try:
        os.kill(int(holder["pid"]), 0)
    except PermissionError:
        pass
    except (OSError, ValueError, TypeError, OverflowError):
        return False
    return _started(int(holder["pid"])) == holder.get("started")


def _boot() -> str:
    """The boot of this kernel: a process number from before a restart, or from another machine, says nothing here."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            return handle.read().strip()
    except OSError:
        return socket.gethostname()


def _space() -> str:
    """The container's space of process numbers: the same number in another one is another process."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started: a process number used again is not the holder."""
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""
