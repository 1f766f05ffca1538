"""Says which record a task is at when it stays there long. Nothing else depends on seconds: no work is cut short."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LATE = 120.0
"""Seconds at one position after which it is named, and again whenever they have doubled."""


class Watchdog:
    """Of one process: the task it is at (`over`), and within it the batch or record (`at`)."""

    def __init__(self) -> None:
        self._at: tuple[tuple[Any, ...], float] = ((), 0.0)

    def at(self, *where: Any) -> None:
        """Work goes on at this position; words that name it, put together only when they are said."""
        self._at = (where, time.monotonic())

    @contextmanager
    def over(self, task: str, tell: Callable[[str], object]) -> Iterator[None]:
        """While the block runs, `tell` is given a line for every position at which it stays long."""
        outer, ended, worker = self._at, threading.Event(), threading.get_ident()
        self._at = ((), time.monotonic())
        thread = threading.Thread(target=self._watch, args=(task, tell, ended, worker), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            self._at = outer

    def _watch(self, task: str, tell: Callable[[str], object], ended: threading.Event, worker: int) -> None:
        said, wait = ((), 0.0), LATE
        due = LATE
        while not ended.wait(wait):
            here = self._at
            if here != said:
                said, due = here, LATE
            spent = time.monotonic() - here[1]
            if spent >= due:
                due = 2 * spent
                position = " ".join(str(word) for word in here[0]) or "its beginning"
                tell(f"{task}: at {position} for {spent:.0f} s so far{_line_of(worker)}")
            wait = max(LATE / 20, min(LATE, due - spent))


def _line_of(thread: int) -> str:
    """The innermost line of ours that a thread is at."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        parts = frame.f_code.co_filename.split(os.sep)
        if {"stages", "pipeline"} & set(parts[-4:-1]):
            return f" ({parts[-1]}:{frame.f_lineno} in {frame.f_code.co_name})"
        frame = frame.f_back
    return ""


watchdog = Watchdog()
"""Of this process."""
