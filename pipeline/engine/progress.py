"""Progress of long work, and the lines of the log: a bar per stage on a terminal, lines elsewhere.

A stage does not draw: it calls `current.expect(...)` and `current.advance(result)`, and the driver decides who listens. What
it has to report goes to `logging.getLogger("maetdol.<module>")`: records of INFO and above are shown between the bars, of
WARNING and above with --quiet, all of them, with time and module, with --debug. Those of workers are shown by the driver.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from pipeline.inspection.terminal import escaped
from pipeline.storage.ledger import dropped


class Quiet:
    """Listens to nothing; also the interface."""

    def begin(self, step: str) -> None:
        """A step starts."""

    def expect(self, what: str, total: int) -> None:
        """`total` units of `what` are to come."""

    def advance(self, result: Any = None, units: int = 1) -> None:
        """`units` are done; a Receipt (or list of them) adds rows, bytes and drops."""

    def say(self, line: str) -> None:
        """A line of the log."""

    def end(self, line: str = "") -> None:
        """The step is over."""


class LogLines(Quiet):
    """One line when a step begins and one when it ends: for logs."""

    def __init__(self, stream: Any = None):
        self.stream = stream

    def say(self, line: str) -> None:
        print(
            escaped(line, lines=True), file=self.stream or sys.stderr, flush=True
        )  # the stream of now: who embeds us may have closed that of then

    def end(self, line: str = "") -> None:
        if line:
            self.say(line)


class Warnings(LogLines):
    """Lines of the log alone."""

    def end(self, line: str = "") -> None:
        """Nothing: the step's closing line is progress."""


class Forwarded(Quiet):
    """Hands lines on to `send`: of a worker, whose driver shows them."""

    def __init__(self, send: Callable[[str], object]):
        self.send = send

    def say(self, line: str) -> None:
        self.send(line)


class Bar(Quiet):
    """A rich bar: tasks done, documents, MB/s, kept and dropped so far, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("[bold]{task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task: Any = None
        self.step = ""

    def begin(self, step: str) -> None:
        self.step, self.rows, self.dropped, self.bytes, self.since = step, 0, 0, 0, time.monotonic()
        self.bars.start()

    def expect(self, what: str, total: int) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
        self.task = self.bars.add_task(
            what if what == self.step or not self.step else f"{self.step}: {what}", total=total, counts=""
        )

    def advance(self, result: Any = None, units: int = 1) -> None:
        for receipt in receipts_of(result):
            self.rows += receipt.rows
            self.bytes += receipt.bytes
            self.dropped += dropped(receipt.reasons)
        if self.task is None:
            return
        rate = self.bytes / 1e6 / max(time.monotonic() - self.since, 1e-3)
        counts = f"{self.rows:,} kept  {self.dropped:,} dropped  {rate:.1f} MB/s" if self.rows or self.dropped else ""
        self.bars.update(self.task, advance=units, counts=counts)

    def say(self, line: str) -> None:
        self.console.print(escaped(line, lines=True), highlight=False, markup=False)

    def end(self, line: str = "") -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
        self.bars.stop()
        if line:
            self.say(line)


def receipts_of(result: Any) -> Iterable[Any]:
    """The receipts of a task's result: of a shard, or of several."""
    found = result if isinstance(result, (list, tuple)) else [result]
    return [receipt for receipt in found if hasattr(receipt, "reasons")]


def for_terminal() -> Quiet:
    """A bar on a terminal, lines elsewhere."""
    return Bar() if sys.stderr.isatty() else LogLines()


current: Quiet = Quiet()
"""Who listens now; set by the driver."""


LEVEL = "MAETDOL_LOG"
"""Environment variable of the least level that is shown."""
DEBUG = "MAETDOL_DEBUG"
QUIET = "MAETDOL_QUIET"
"""Set while a command listens with --quiet."""
INHERITED = LEVEL, DEBUG, QUIET
"""What workers are told."""
log = logging.getLogger("maetdol")


def debugging() -> bool:
    return os.environ.get(DEBUG, "0") not in ("", "0")


class _Shown(logging.Handler):
    """Shows records where progress is shown; where nobody listens, warnings alone, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        if type(current) is not Quiet:
            current.say(self.format(record))
        elif record.levelno >= logging.WARNING:
            LogLines().say(self.format(record))


_shown = _Shown()
log.addHandler(_shown)


def set_level() -> None:
    """DEBUG with MAETDOL_DEBUG, WARNING where the command is quiet, else what MAETDOL_LOG names, else INFO."""
    name = "DEBUG" if debugging() else "WARNING" if QUIET in os.environ else os.environ.get(LEVEL, "INFO").upper()
    log.setLevel(name if name in logging.getLevelNamesMapping() else "INFO")
    _shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s") if debugging() else None)


set_level()


def listen(quiet: bool) -> None:
    """Show progress and the log on this terminal; warnings alone where `quiet`."""
    global current
    current = Warnings() if quiet else for_terminal()
    if quiet:
        os.environ[QUIET] = "1"
    else:
        os.environ.pop(QUIET, None)
    set_level()
