"""Where a training runs: one task of the pool, or a group of Ray Train workers when several are asked for.

Either way the process that trains holds a lock on the run's folder and looks at every step whether its driver still lives:
what a killed driver left behind ends itself, and a rerun cannot meet it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.engine import progress
from pipeline.engine.pool import Failure, Pool, raise_store_errors
from pipeline.engine.stage import Inputs
from pipeline.errors import StageFailed, UsageError
from pipeline.storage.files import Local
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import ARTEFACT, Store
from stages.models.inference.device import patient
from stages.train.workers.group import train_group
from stages.train.workers.process import PROGRESS, alive_check, locked, progress_writer, this_process

POLL_SECONDS = 1.0
"""Seconds between two looks at the progress file."""
LOG_SECONDS = 60.0
"""Seconds between two lines of the log where there is no bar."""
log = logging.getLogger("maetdol.train")


@dataclass(frozen=True)
class TrainingJob:
    """One training run, as it travels to where it is done."""

    stage: Any
    inputs: Inputs
    sink: Store
    key: str
    driver: tuple[str, int, str] = field(default_factory=this_process)

    @property
    def name(self) -> str:
        return f"train {self.stage.objective}"


def launch(stage: Any, inputs: Inputs, sink: Store, pool: Pool, key: str) -> Receipt:
    """Train, and return the artefact's receipt. StageFailed (or a usage or store error) where it did not end well."""
    job = TrainingJob(stage, inputs, sink, key)
    progress.current.say(f"train: {stage.rows_of_a_step(inputs.workers)}")
    with watched(sink):
        if inputs.workers > 1 and distributes(pool):
            train_group(job, inputs.workers, inputs.gpus)
        else:
            for result in pool.each(train_alone, [job], gpus=inputs.gpus):
                _raise(result)
    receipt = sink.receipt(ARTEFACT)
    if receipt is None or receipt.key != key:
        raise StageFailed(
            "train: the training ended without an artefact", "run again: it goes on from the last checkpoint"
        )
    return receipt


def _raise(result: Any) -> None:
    if isinstance(result, Failure):
        raise_store_errors(result)
        if result.error is not None:
            raise result.error
        raise StageFailed(
            f"train: {result.message}", "fix the cause and run again: it goes on from the last checkpoint"
        )


def distributes(pool: Pool) -> bool:
    """Start the pool behind `pool`, and say that it can hold a group. UsageError for the Inline one: it has one process."""
    from pipeline.engine.pool import Inline

    list(pool.each(str, ["start"]))
    inner: Any = pool
    while (below := getattr(inner, "pool", None) or getattr(inner, "_pool", None)) is not None:
        inner = below
    if isinstance(inner, Inline):
        raise UsageError(
            "several training workers were asked for, but the pool is inline",
            "use `run: {pool: ray}`, or workers: 1 for this step",
        )
    return True


def train_alone(job: TrainingJob) -> Receipt | None:
    """The whole run in this process."""
    patient()
    from stages.train.session import Session

    with locked(job.sink), Session(job) as session:
        return session.train(alive_check(job.driver), progress_writer(job.sink))


@contextmanager
def watched(sink: Store) -> Iterator[None]:
    """Tell the driver's progress bar what the training process writes into its progress file."""
    if not isinstance(sink.fs, Local):
        yield
        return
    path = Path(sink.fs.path(PROGRESS))
    path.unlink(missing_ok=True)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(path, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(path: Path, ended: threading.Event) -> None:
    done, logged = -1, time.monotonic()
    while True:
        last = ended.wait(POLL_SECONDS)
        try:
            line = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            line = None
        if line and line["step"] > done:
            now = time.monotonic()
            if done < 0:
                progress.current.expect("steps", line["steps"])
                done, first, began = 0, line["step"], now
            progress.current.advance(units=line["step"] - done)
            done = line["step"]
            if now - logged >= LOG_SECONDS and not isinstance(progress.current, progress.Bar):
                logged, loss = now, f", loss {line['loss']:.3f}" if "loss" in line else ""
                seconds = (line["steps"] - done) * (now - began) / max(1, done - first)
                left = f", about {seconds:.0f} s left" if done > first else ""
                log.info("train: step %d of %d%s%s", done, line["steps"], loss, left)
        if last:
            return
