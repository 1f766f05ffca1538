"""Says which record a task is at when it stays there long. Nothing else depends on seconds: no work is cut short."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

log = logging.getLogger("maetdol.watchdog")
LATE = 120.0
"""Seconds at one position after which it is named, and again whenever they have doubled."""


class Position(NamedTuple):
    """Words that name where work is, since when, and how its rows are tried one by one (yields the words of each before it is)."""

    words: tuple[Any, ...] = ()
    since: float = 0.0
    rows: Callable[[], Iterator[str]] | None = None


class Watchdog:
    """Of one process: the task it is at (`over`), and within it the batch or record (`at`)."""

    def __init__(self) -> None:
        self._at = Position()
        self.careful: Callable[[str, bool], object] | None = None
        """Told of every position before work there begins, and whether it is that of one record, where a worker died at this task before."""
        self.fatal: frozenset[str] = frozenset()
        """Records of this task at which worker processes ended again and again (out of memory, a fault in a native library): they are
        left out."""

    def at(self, *where: Any, rows: Callable[[], Iterator[str]] | None = None) -> None:
        """Work goes on at this position; words that name it, put together only when they are said.

        Of a batch `rows` finds the row that takes long: once the batch does, its rows are tried a second time, one by one, in a
        thread beside the work, which goes on.
        """
        self._at = Position(where, time.monotonic(), rows)
        if self.careful is not None:
            for words in rows() if rows is not None else ():
                self.careful(words, True)
            self.careful(" ".join(map(str, where)), False)

    def at_record(self, *where: Any) -> bool:
        """Work comes to this one record; True where it must be left out (`fatal`)."""
        self._at = Position(where, time.monotonic())
        if self.careful is None:
            return False
        words = " ".join(map(str, where))
        if words in self.fatal:
            return True
        self.careful(words, True)
        return False

    @contextmanager
    def over(self, task: str) -> Iterator[None]:
        """While the block runs, every position at which it stays long is logged."""
        outer, ended, worker = self._at, threading.Event(), threading.get_ident()
        self._at = Position(since=time.monotonic())
        thread = threading.Thread(target=self._watch, args=(task, ended, worker), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            self._at = outer

    def _watch(self, task: str, ended: threading.Event, worker: int) -> None:
        last, wait, trial = Position(), LATE, None
        due = LATE
        while not ended.wait(wait):
            here = self._at
            if here is not last:
                last, due, trial = here, LATE, None
            spent = time.monotonic() - here.since
            if spent >= due:
                due = 2 * spent
                position = " ".join(str(word) for word in here.words) or "its beginning"
                trial = trial or (_Trial(here.rows, lambda here=here: self._at is here) if here.rows else None)
                position += trial.slow() if trial else ""
                log.warning("%s: at %s for %.0f s so far%s", task, position, spent, _line_of(worker))
            wait = max(LATE / 20, min(LATE, due - spent))


class _Trial:
    """The rows of a batch tried one by one in a thread of their own, as long as work is `still` at the batch."""

    def __init__(self, rows: Callable[[], Iterator[str]], still: Callable[[], bool]):
        self._now = ("", time.monotonic())
        threading.Thread(target=self._run, args=(rows, still), daemon=True).start()

    def _run(self, rows: Callable[[], Iterator[str]], still: Callable[[], bool]) -> None:
        for words in rows():
            self._now = (words, time.monotonic())
            if not still():
                return
        self._now = ("", time.monotonic())

    def slow(self) -> str:
        """The row that is being tried, where it alone takes long."""
        words, since = self._now
        return f", {words}" if words and time.monotonic() - since >= LATE / 2 else ""


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
