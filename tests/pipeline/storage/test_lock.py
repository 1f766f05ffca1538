"""Locks that exclude: raced by pairs of processes over fresh and dead locks, on disks with flock, without it, and on S3."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from pipeline.errors import DiskFull, RootLocked, StoreError
from pipeline.storage import lock as locks
from pipeline.storage.files import Local, filesystem
from pipeline.storage.lock import RootLock

RACE = """
import json, os, sys, time
from pipeline.storage import files
from pipeline.storage import lock
from pipeline.errors import RootLocked
from pipeline.storage.files import filesystem

rounds, given = int(sys.argv[1]), json.loads(sys.argv[2])
root, dead, flock, at = given["root"], given["dead"], given["flock"], given["at"]
if not flock:
    import errno, fcntl
    def none(*_): raise OSError(errno.ENOSYS, "no flock here")
    lock.fcntl.flock = none

def one(name, folder, tell, hear):
    try:
        os.read(hear, 1)
        try:
            with lock.RootLock(filesystem(folder)) as held:
                os.write(tell, b"1")
                os.read(hear, 1)
                held.check()
        except RootLocked:
            os.write(tell, b"0")
            os.read(hear, 1)
    finally:
        os._exit(0)

seen = []
for number in range(rounds):
    folders = [f"{root}/{number}/{at}".rstrip("/"), f"{root}/{number}"]
    for folder in folders:
        files.filesystem(folder).write("lock.json", json.dumps(dead).encode()) if dead else os.makedirs(folder, exist_ok=True)
    pipes, children = [], []
    for who in range(2):
        up, down = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            one(who, folders[who], up[1], down[0])
        pipes.append((up[0], down[1])), children.append(child)
    for _, go in pipes: os.write(go, b"g")
    answers = [os.read(up, 1).decode() for up, _ in pipes]
    for _, go in pipes: os.write(go, b"g")
    for child in children: os.waitpid(child, 0)
    seen.append("".join(answers) + str(int(os.path.exists(folders[1] + "/lock.json"))))
print(json.dumps(seen))
"""
DEAD = {"token": "d" * 32, "host": "elsewhere", "boot": "another", "pid": 77, "started": "1", "by": "creation"}


def race(repo, tmp_path, rounds, dead=None, flock=True, at=""):
    given = json.dumps({"root": str(tmp_path), "dead": dead, "flock": flock, "at": at})
    out = subprocess.run(
        [sys.executable, "-c", RACE, str(rounds), given],
        cwd=repo,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repo)},
    )
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


def dead_here():
    """A lock whose process has ended on this machine."""
    process = subprocess.Popen(["true"])
    process.wait()
    me = RootLock(Local(__import__("pathlib").Path("/nowhere"))).me
    return {**me, "pid": process.pid, "started": "1", "token": "d" * 32, "by": "flock", "seen": time.time()}


CASES = {
    "fresh": lambda: None,
    "dead here": dead_here,
    "dead elsewhere": lambda: {**DEAD, "seen": time.time() - 3600},
    "seen is null": lambda: {**DEAD, "seen": None},
    "seen lies ahead": lambda: {**DEAD, "seen": time.time() + 1e6},
    "another container": lambda: {
        **dead_here(),
        "space": "pid:[1]",
        "pid": os.getpid(),
        "started": locks._started(os.getpid()),
    },
    "of the version before": lambda: {
        k: v for k, v in dead_here().items() if k in ("host", "boot", "pid", "started", "seen")
    },
}


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "no flock"])
@pytest.mark.parametrize("rounds", [8, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", list(CASES))
def test_of_two_that_start_together_exactly_one_holds_it(case, rounds, flock, repo, tmp_path):
    if case == "another container" and not flock:
        pytest.skip("without flock a container's process is known by its signs of life alone")
    seen = race(repo, tmp_path, rounds, CASES[case](), flock)
    assert len(seen) == rounds and set(seen) <= {"100", "010"}, seen


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_a_root_and_a_sink_below_it_exclude_each_other(rounds, repo, tmp_path):
    seen = race(repo, tmp_path, rounds, at="step")
    assert set(seen) <= {"100", "010"}, seen


def held_by_another(tmp_path, repo, folder):
    """A process that holds the lock of `folder` until its input ends."""
    code = "import sys; from pipeline.storage.lock import RootLock; from pipeline.storage.files import filesystem\nwith RootLock(filesystem(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=repo,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repo)},
    )
    process.stdout.readline()
    return process


def test_a_live_lock_is_respected_above_and_below_and_a_killed_one_is_taken_at_once(repo, tmp_path):
    process = held_by_another(tmp_path, repo, tmp_path / "root")
    try:
        for folder in ("root", "root/step", "root/deep/er"):
            with (
                pytest.raises(RootLocked, match=f"root is in use by process {process.pid}"),
                RootLock(filesystem(tmp_path / folder)),
            ):
                pass
        assert not (tmp_path / "root/step").exists()
        with RootLock(filesystem(tmp_path / "beside")):
            pass
    finally:
        process.kill(), process.wait()
    with RootLock(filesystem(tmp_path / "root/step")):
        with pytest.raises(RootLocked, match="step is in use"), RootLock(filesystem(tmp_path / "root")):
            pass
        with pytest.raises(RootLocked, match="step is in use"), RootLock(filesystem(tmp_path)):
            pass
    with RootLock(filesystem(tmp_path / "root")):
        pass
    assert not list(tmp_path.rglob("lock*"))


@pytest.mark.parametrize(
    "seen,alive",
    [
        (0, True),
        (-500, True),
        (500, True),
        (-700, False),
        (700, False),
        (None, False),
        ("now", False),
        (float("nan"), False),
        (True, False),
    ],
)
def test_signs_of_life_of_another_machine(seen, alive, tmp_path):
    holder = {**DEAD, "seen": time.time() + seen if isinstance(seen, int) and seen is not True else seen}
    Local(tmp_path).write("lock.json", json.dumps(holder).encode())
    if alive:
        with pytest.raises(RootLocked, match="process 77 on elsewhere.*\n.*delete"), RootLock(Local(tmp_path)):
            pass
    else:
        with RootLock(Local(tmp_path)):
            pass


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"null", b"[1]", b"\x00" * 512, b'{"pid": {}, "host": 1}', b'{"name": "some other program"}']
)
def test_a_lock_file_that_says_nothing_holds_nothing(data, tmp_path, monkeypatch):
    Local(tmp_path).write("lock.json", data)
    with RootLock(Local(tmp_path / "below")):
        pass
    with RootLock(Local(tmp_path)):
        pass


@pytest.mark.parametrize("flock", [True, False])
def test_one_failed_sign_of_life_is_none_and_the_loser_stops(flock, tmp_path, monkeypatch):
    if not flock:
        monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no")))
    monkeypatch.setattr(locks, "REFRESH", 0.01)
    beats = []
    real = RootLock._write

    def write(self):
        beats.append(1)
        if len(beats) in (2, 3):
            raise DiskFull("no room")
        real(self)

    monkeypatch.setattr(RootLock, "_write", write)
    with RootLock(Local(tmp_path)) as lock:
        while len(beats) < 6:
            time.sleep(0.01)
        lock.check()
        lock._over.set(), lock._signs.join()
        Local(tmp_path).write("lock.json", json.dumps({**DEAD, "seen": time.time()}).encode())
        with pytest.raises(RootLocked, match="no longer held.*process 77"):
            lock.check()
        with pytest.raises(RootLocked):
            lock.still()
    assert json.loads((tmp_path / "lock.json").read_text())["pid"] == 77, "the loser leaves the other's lock alone"


def test_without_flock_a_holder_that_could_not_write_for_long_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no")))
    with RootLock(Local(tmp_path)) as lock:
        lock._alive_at -= locks.STALE
        with pytest.raises(RootLocked, match="no sign of life"):
            lock.check()


def test_a_run_that_lost_its_root_writes_no_manifest(tmp_path, make_store, monkeypatch):
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run
    from stages.split import Split

    make_store(tmp_path / "a", ["x", "y", "z"])
    root = tmp_path / "root"
    real = Split.run

    def robbed(self, inputs, sink, pool):
        found = real(self, inputs, sink, pool)
        Local(root).write("lock.json", json.dumps({**DEAD, "seen": time.time()}).encode())
        return found

    monkeypatch.setattr(Split, "run", robbed)
    with pytest.raises(RootLocked, match="no longer held"):
        run(parse({"root": str(root), "steps": [{"split": {"of": str(tmp_path / "a")}}], "run": {"pool": "inline"}}))
    assert not (root / "split/manifest.json").exists()


@pytest.mark.parametrize(
    "fault,error", [(errno.ENOSPC, DiskFull), (errno.EROFS, StoreError), (errno.EACCES, StoreError)]
)
def test_a_lock_that_cannot_be_written_is_one_line(fault, error, tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *more):
        if fault == errno.ENOSPC or flags & os.O_CREAT:
            raise OSError(fault, os.strerror(fault))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "pwrite" if fault == errno.ENOSPC else "open", refuse)
    with pytest.raises(error, match="lock.json") as caught, RootLock(Local(tmp_path)):
        pass
    monkeypatch.undo()
    assert caught.value.hint and not (tmp_path / "lock.json").exists()


def test_whoever_died_while_taking_over_is_no_obstacle_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no")))
    Local(tmp_path).write("lock.json", json.dumps({**DEAD, "seen": None}).encode())
    Local(tmp_path).write("lock.taking", json.dumps({**DEAD, "seen": time.time()}).encode())
    with pytest.raises(RootLocked), RootLock(Local(tmp_path)):
        pass
    Local(tmp_path).write("lock.taking", json.dumps({**DEAD, "seen": time.time() - 700}).encode())
    with RootLock(Local(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())
