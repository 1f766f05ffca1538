"""How the pool calls a task, and a stage a batch: an unexpected exception fails its own task, named as far as the row, and no other.

Every exception is caught here, so that none need be anywhere else in the engine; what is tried again is the pool's to say.
"""

from __future__ import annotations

import gc
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.engine import progress
from pipeline.engine.watchdog import watchdog
from pipeline.errors import InfraError, MaetdolError, ShardFailed
from pipeline.storage.shards import clock

log = logging.getLogger("maetdol.pool")
MADE = 10_000
"""Objects made and not yet freed before cycles are searched among them; CPython's own 700 are a few dozen rows."""


@dataclass(frozen=True)
class Failure:
    """A task that raised: what it was called, and why."""

    task: str
    message: str
    trace: str = ""
    error: MaetdolError | None = None
    """The expected error, where it was one; None for an unexpected exception."""


def name_of(task: Any) -> str:
    return str(getattr(task, "name", task))[:200]


def guarded(fn: Callable[[Any], Any], task: Any) -> Any:
    """`fn(task)`, or a Failure. Infrastructure faults are raised on, for the pool to try again."""
    clock.restart()
    began = time.monotonic()
    try:
        with watchdog.over(name_of(task)), _searched_seldom():
            made = fn(task)
        log.debug("%s: done in %.1f s", name_of(task), time.monotonic() - began)
        return made
    except InfraError:
        raise
    except MaetdolError as fault:
        return Failure(name_of(task), str(fault), _frames(fault.__cause__) if fault.__cause__ else "", error=fault)
    except Exception as fault:  # whatever a task raises is that task's failure
        return Failure(name_of(task), message_of(fault), _frames(fault))


@contextmanager
def _searched_seldom() -> Iterator[None]:
    """Search for cycles less often, and only among what the task makes: rows hold none, and to search them and all modules again and
    again took a tenth of reading short rows."""
    often = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(max(MADE, often[0]) if often[0] else 0, *often[1:])
    try:
        yield
    finally:
        gc.set_threshold(*often)
        gc.unfreeze()


def message_of(fault: BaseException) -> str:
    """An unexpected exception in one line: its type, where it was raised, and what it says."""
    frames = traceback.extract_tb(fault.__traceback__)
    position = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(fault).__name__}{position}: {' '.join(brief(fault).split())}"


def _frames(fault: BaseException) -> str:
    """The frames of a traceback without the values in its message: a message may quote the text of the corpus. With
    MAETDOL_DEBUG set all of it."""
    if progress.debugging():
        return "".join(traceback.format_exception(fault))
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__


def brief(fault: BaseException) -> str:
    """A message safe to log: an exception can quote the text it met, so long ones are cut."""
    if isinstance(fault, UnicodeError):
        return "text that is not valid Unicode"
    text = str(fault)
    return text if len(text) <= 300 else text[:300] + "..."


def narrowed(work: Callable[[Any], Any], batch: Any, where: str, row: int) -> Any:
    """`work(batch)`; an unexpected exception becomes a ShardFailed that names the row (`row`: the batch's first)."""
    try:
        return work(batch)
    except MaetdolError:
        raise
    except Exception as fault:  # raised again below, with the row it is about
        bad = _first_bad(work, batch)
        rows = f"row {row + bad}" if bad is not None else f"rows {row}..{row + len(batch)}"
        who = f" (id {batch.column('id')[bad].as_py()})" if bad is not None and "id" in batch.schema.names else ""
        last = traceback.extract_tb(fault.__traceback__)[-1]
        at = f"{os.path.basename(last.filename)}:{last.lineno}"
        raise ShardFailed(
            f"{where}, {rows}{who}: {type(fault).__name__} at {at}",
            "look at that row with `maetdol inspect`; other shards go on",
        ) from fault


def _first_bad(work: Callable[[Any], Any], batch: Any) -> int | None:
    """Index of the first row that raises alone, or None."""
    for index in range(len(batch)):
        try:
            work(batch.slice(index, 1))
        except Exception:  # whatever it raises is what we look for
            return index
    return None


def each_row(worker: Callable[[], Callable[[Any], Any]], batch: Any, where: str, row: int) -> Iterator[str]:
    """Works on each row of the batch alone with what `worker` gives, and before that says which it is (`row`: the batch's
    first). Nothing comes of it. Rows that must be left out are not tried."""
    work = worker()
    for index in range(len(batch)):
        words = _words(batch, index, where, row)
        if words in watchdog.fatal:
            continue
        yield words
        try:
            work(batch.slice(index, 1))
        except Exception:  # what fails is met by `narrowed`
            continue


def around_fatal(batch: Any, where: str, row: int) -> tuple[list[tuple[int, Any]], list[str]]:
    """The stretches of a batch between the rows that must be left out (`watchdog.fatal`), each with the number of its first row,
    and the ids of those rows. Where no row is left, one stretch without rows."""
    if not watchdog.fatal or "id" not in batch.schema.names:
        return [(row, batch)], []
    fatal = [n for n in range(len(batch)) if _words(batch, n, where, row) in watchdog.fatal]
    stretches, start = [], 0
    for end in [*fatal, len(batch)]:
        if end > start:
            stretches.append((row + start, batch.slice(start, end - start)))
        start = end + 1
    return stretches or [(row, batch.slice(0, 0))], [batch.column("id")[n].as_py() for n in fatal]


def _words(batch: Any, index: int, where: str, row: int) -> str:
    who = f" (id {batch.column('id')[index].as_py()})" if "id" in batch.schema.names else ""
    return f"{where}, row {row + index}{who}"
