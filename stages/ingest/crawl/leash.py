"""A child process that does not outlive its parent, also when the parent is killed with SIGKILL.

The parent keeps the write end of a pipe that is the child's stdin; the kernel closes it when the parent dies, however it
dies, and a thread of the child ends the process when its stdin ends. That works on Linux and macOS. On Linux the child
also asks for SIGKILL at its parent's death, for the case that some other process inherited the pipe.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""
ORPHANED = 113
"""Exit status of a child whose parent is gone."""
ROOT = Path(__file__).resolve().parents[3]
"""The folder that holds the package `stages`."""


def start(
    module: str, *arguments: str, stdout: int | IO | None = None, stderr: int | IO | None = None
) -> subprocess.Popen:
    """Start `python -m module arguments` as a child on this process's leash; let go with `release`."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path, "MAETDOL_PARENT": str(os.getpid())},
        start_new_session=True,  # Ctrl-C goes to the parent, which ends its children
    )


def release(child: subprocess.Popen) -> None:
    """End the child and wait for it."""
    if child.poll() is None:
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def obey() -> None:
    """Called by the child, first thing: from here on it ends with its parent."""
    parent = os.environ.get("MAETDOL_PARENT")
    if sys.platform == "linux" and parent is not None:
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the request was made
            os._exit(ORPHANED)
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)
