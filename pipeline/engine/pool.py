"""Where work runs: Inline (tests, small jobs, debugging) and OnRay (the real one).

A pool knows nothing of stages. `each` takes a module-level function and small picklable tasks and yields, in the order of
the tasks, either the function's result or a `Failure`. An unexpected exception fails its task and no other; only
infrastructure faults (a dead worker, a lost node, storage timing out) are tried again.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipeline import own_folders
from pipeline.engine import progress, stop
from pipeline.engine.watchdog import watchdog
from pipeline.errors import HeadLost, InfraError, MaetdolError, ShardFailed, StoreError, UsageError, WorkError
from pipeline.storage.shards import clock

RETRIES, BACKOFF = 4, 1.0
"""Infrastructure faults are tried again this often, waiting 1, 2, 4, 8 seconds."""
CHECK_EVERY, GONE = 5.0, 20.0
"""Seconds between two looks at the head of the cluster while nothing comes back, and after which one that does not answer is
gone. Ray itself waits a minute, and then ends the process without a word of ours."""
CAREFUL = 2
"""From this try on a task at which workers die is worked on row by row first, so that the row is known."""


@dataclass(frozen=True)
class Failure:
    """A task that raised: what it was called, and why."""

    task: str
    message: str
    trace: str = ""
    error: MaetdolError | None = None
    """The expected error, where it was one; None for an unexpected exception."""


class Pool(Protocol):
    workers: int

    def each(
        self,
        fn: Callable[[Any], Any],
        tasks: Iterable[Any],
        *,
        memory: int | None = None,
        gpus: float = 0,
        workers: int | None = None,
    ) -> Iterator[Any]:
        """Results or Failures, in task order; at most `workers` tasks in flight (default: the pool's)."""
        ...

    def close(self) -> None: ...


log = logging.getLogger("maetdol.pool")
MOST_LINES = 1_000
"""Log lines of one task that a worker sends to the driver."""


def name_of(task: Any) -> str:
    return str(getattr(task, "name", task))[:200]


def guarded(fn: Callable[[Any], Any], task: Any) -> Any:
    """`fn(task)`, or a Failure. Infrastructure faults are raised on, for the pool to try again."""
    clock.restart()
    began = time.monotonic()
    try:
        with watchdog.over(name_of(task)):
            made = fn(task)
        log.debug("%s: done in %.1f s", name_of(task), time.monotonic() - began)
        return made
    except InfraError:
        raise
    except MaetdolError as fault:
        return Failure(name_of(task), str(fault), _frames(fault.__cause__) if fault.__cause__ else "", error=fault)
    except Exception as fault:  # the pool is one of the two files where this is right
        return Failure(name_of(task), message_of(fault), _frames(fault))


def message_of(fault: BaseException) -> str:
    """An unexpected exception in one line: its type, where it was raised, and what it says."""
    frames = traceback.extract_tb(fault.__traceback__)
    position = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(fault).__name__}{position}: {' '.join(_brief(fault).split())}"


def _frames(fault: BaseException) -> str:
    """The frames of a traceback without the values in its message: a message may quote the text of the corpus. With
    MAETDOL_DEBUG set all of it."""
    if progress.debugging():
        return "".join(traceback.format_exception(fault))
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__


def _brief(fault: BaseException) -> str:
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
    except Exception as fault:
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
    first). Nothing comes of it."""
    work = worker()
    for index in range(len(batch)):
        who = f" (id {batch.column('id')[index].as_py()})" if "id" in batch.schema.names else ""
        yield f"{where}, row {row + index}{who}"
        try:
            work(batch.slice(index, 1))
        except Exception:  # what fails is met by `narrowed`
            continue


class Inline:
    """In this process, one task after the other."""

    workers = 1

    def each(
        self,
        fn: Callable[[Any], Any],
        tasks: Iterable[Any],
        *,
        memory: int | None = None,
        gpus: float = 0,
        workers: int | None = None,
    ) -> Iterator[Any]:
        for task in tasks:
            yield self._one(fn, task)

    def _one(self, fn: Callable[[Any], Any], task: Any) -> Any:
        for attempt in range(RETRIES):
            try:
                return guarded(fn, task)
            except InfraError:
                time.sleep(BACKOFF * 2**attempt)
        try:
            return guarded(fn, task)
        except InfraError as fault:
            return Failure(name_of(task), str(fault), error=fault)

    def close(self) -> None: ...


WORKER_ENV = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class OnRay:
    """On Ray: a local instance by default, a cluster by `address`. At most `window` tasks are in flight.

    `workers` bounds the tasks in flight and so the memory; a worker process is reused, so that models and compiled
    kernels load once.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        window: int | None = None,
        memory: int | None = None,
    ):
        os.environ.setdefault("RAY_DATA_USE_DATASOURCE_V2", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray = ray
        self.workers = workers or (os.cpu_count() or 1)
        self.memory = memory
        self._gone = False
        self._started = not ray.is_initialized()
        if self._started:
            self._start(address)
        elif address not in (None, "auto"):
            raise UsageError(
                "Ray is already running in this process", "leave out `address` or close the other pool first"
            )
        self._head = (
            "" if (address or "").startswith("ray://") else getattr(ray.get_runtime_context(), "gcs_address", "")
        )
        self._silent: float | None = None
        if workers is None and address is not None:  # the driver's own cores say nothing of a cluster
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.window = window or self.workers

    def _start(self, address: str | None) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        inherited = {name: os.environ[name] for name in progress.INHERITED if name in os.environ}
        environment: dict[str, Any] = {"env_vars": WORKER_ENV | inherited}
        if address is None:
            options |= {"address": "local", "num_cpus": self.workers, "include_dashboard": False}
        else:
            options |= {"address": address}
        here = str(Path(__file__).resolve().parents[2])
        options["runtime_env"] = environment
        if address is None:
            extra = {"PYTHONPATH": os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH", "")) if p)}
            own = {own_folders.VARIABLE: os.pathsep.join(map(str, own_folders.extra_folders()))}
            environment["env_vars"] |= extra | own
        elif address != "auto":  # a job submitted with --working-dir finds the code on the nodes already
            environment["py_modules"] = [
                os.path.join(here, "pipeline"),
                own_folders.to_ship(os.path.join(here, "stages")),
            ]
        try:
            with stop.kept():
                self.ray.init(**options)
            _hush()
        except Exception as fault:  # what cannot start says so in many ways, a plain Exception among them
            where = address or "on this machine"
            raise WorkError(
                f"Ray did not start {where}: {_brief(fault)}",
                "try again, set run.address, or use `run: {pool: inline}`",
            ) from None

    def each(
        self,
        fn: Callable[[Any], Any],
        tasks: Iterable[Any],
        *,
        memory: int | None = None,
        gpus: float = 0,
        workers: int | None = None,
    ) -> Iterator[Any]:
        from ray.exceptions import RayError

        try:
            yield from self._each(fn, tasks, memory, gpus, workers)
        except (RayError, ConnectionError) as fault:  # of a task they are met in _get(); here Ray itself fails
            raise self._lost(
                f"{type(fault).__name__}: {str(fault).splitlines()[0][:200] if str(fault) else ''}"
            ) from None

    def _lost(self, why: str) -> HeadLost:
        self._gone = True
        return HeadLost(
            f"Ray is gone while work was under way: {why}",
            "look at the machine's memory and disk (or the cluster's head), then run the same command again: finished shards are kept",
        )

    def _check_workers(self) -> None:
        """HeadLost when a local instance lost one of its processes, or the head of a cluster has not answered for a while."""
        for kind in _dead() if self._started else ():
            raise self._lost(f"its {kind} died")
        if not self._head or _answers(self._head):
            self._silent = None
            return
        self._silent = self._silent or time.monotonic()
        if time.monotonic() - self._silent >= GONE:
            raise self._lost(f"its control store at {self._head} does not answer")

    def _each(
        self, fn: Callable[[Any], Any], tasks: Iterable[Any], memory: int | None, gpus: float, workers: int | None
    ) -> Iterator[Any]:
        ray = self.ray
        self._fits(gpus, memory or self.memory)
        resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "memory": memory or self.memory}
        remote, careful = (ray.remote(max_retries=0, **resources)(run) for run in (_on_ray, _carefully_on_ray))
        checked = time.monotonic()
        waiting, window = enumerate(tasks), workers or self.window
        flying: dict[Any, tuple[int, Any, int]] = {}
        done: dict[int, Any] = {}
        give = 0
        exhausted = False
        while flying or done or not exhausted:
            while not exhausted and len(flying) < window and len(done) + len(flying) < 4 * window:
                try:
                    index, task = next(waiting)
                except StopIteration:
                    exhausted = True
                    break
                flying[remote.remote(fn, task)] = (index, task, 0)
            if flying:
                ready, _ = ray.wait(list(flying), num_returns=1, timeout=CHECK_EVERY)
                if not ready:
                    self._check_workers()
                if time.monotonic() - checked >= CHECK_EVERY:
                    checked = time.monotonic()
                    _show_lines()
                for ref in ready:
                    index, task, attempt = flying.pop(ref)
                    outcome = self._get(ref, task, attempt)
                    if isinstance(outcome, _Again):
                        time.sleep(BACKOFF * 2**attempt)
                        again = careful if outcome.died and attempt + 1 >= CAREFUL else remote
                        flying[again.remote(fn, task)] = (index, task, attempt + 1)
                    else:
                        done[index] = outcome
            while give in done:
                yield done.pop(give)
                give += 1
        _show_lines()

    def _get(self, ref: Any, task: Any, attempt: int) -> Any:
        from ray import exceptions as faults

        died = (faults.WorkerCrashedError, faults.OutOfMemoryError)
        infrastructure = (
            faults.WorkerCrashedError,
            faults.NodeDiedError,
            faults.ObjectLostError,
            faults.OutOfMemoryError,
            faults.RaySystemError,
            faults.RuntimeEnvSetupError,
            faults.OwnerDiedError,
        )
        fatal = False
        try:
            return self.ray.get(ref)
        except faults.LocalRayletDiedError:
            raise self._lost("the raylet of this machine died") from None
        except infrastructure as fault:
            reason, fatal = f"{type(fault).__name__}: {str(fault).splitlines()[0][:200]}", isinstance(fault, died)
        except faults.RayTaskError as fault:
            if not isinstance(fault.cause, InfraError):
                return Failure(name_of(task), f"{type(fault.cause).__name__}: {_brief(fault.cause)}")
            reason = str(fault.cause)
        if attempt < RETRIES:
            return _Again(fatal)
        row = _taken_line(_row_key(name_of(task))) if fatal else ""
        lost = WorkError(
            f"given up after {RETRIES + 1} tries{f', the last at {row}' if row else ''}: {reason}",
            "look at that row with `maetdol inspect`; `maetdol forget ROOT --id ID` leaves it out"
            if row
            else "check the node's memory and disk; lower run.workers",
        )
        return Failure(name_of(task), str(lost), error=lost)

    def _fits(self, gpus: float, memory: int | None) -> None:
        """Hardware that is not there is an error at once, not a task that waits for ever."""
        have = self.ray.cluster_resources()
        if gpus > have.get("GPU", 0):
            raise UsageError(
                f"{gpus:g} GPU asked for, the cluster has {have.get('GPU', 0):g}",
                "lower `gpus` in run.steps, or add a node",
            )
        if memory and memory > have.get("memory", 0):
            raise UsageError(
                f"{memory / 2**30:.1f} GiB a task asked for, the cluster has {have.get('memory', 0) / 2**30:.1f} GiB",
                "lower `memory` in run.steps, or add a node",
            )

    def close(self) -> None:
        if self._gone:  # nobody is there to say goodbye to: Ray would wait for its head, and end the process
            self._kill()
        elif self._started and self.ray.is_initialized():
            self.ray.shutdown()

    def _kill(self) -> None:
        """End what is left of a local instance."""
        from ray._private import worker

        if self._started and (node := getattr(worker, "_global_node", None)) is not None:
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def _dead() -> list[str]:
    """Processes of a local Ray that have ended, by kind: `raylet`, `gcs_server`."""
    from ray._private import worker

    node = getattr(worker, "_global_node", None)
    return (
        [str(kind) for kind, _ in node.dead_processes() if kind in ("raylet", "gcs_server")] if node is not None else []
    )


def _answers(address: str) -> bool:
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CHECK_EVERY).close()
        return True
    except (OSError, ValueError):
        return False


def _hush() -> None:
    """Ray prints the last lines of a dead raylet's log into ours; what matters of it is said by `HeadLost`."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _on_ray(fn: Callable[[Any], Any], task: Any) -> Any:
    """`guarded` in a worker, whose log reaches the driver through the cluster's key-value store."""
    from ray.experimental.internal_kv import _internal_kv_put

    prefix, number = _lines_key(), itertools.count()

    def send(line: str) -> None:
        if (n := next(number)) < MOST_LINES:
            key = f"{prefix}{time.time_ns():020d}/{os.getpid()}/{n}"
            _internal_kv_put(key.encode(), line.encode("utf-8", "replace"))

    progress.current = progress.Forwarded(send)
    progress.set_level()
    return guarded(fn, task)


def _carefully_on_ray(fn: Callable[[Any], Any], task: Any) -> Any:
    """`_on_ray` for a task at which workers died: every row is tried alone first, and the driver is told of it before."""
    from ray.experimental.internal_kv import _internal_kv_put

    key = _row_key(name_of(task))
    watchdog.careful = lambda words: _internal_kv_put(key, words.encode("utf-8", "replace"), overwrite=True)
    try:
        return _on_ray(fn, task)
    finally:
        watchdog.careful = None


def _taken_line(key: bytes) -> str:
    """What a worker put under a key, which is taken away."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get

    if line := _internal_kv_get(key):
        _internal_kv_del(key)
    return line.decode() if line else ""


def _show_lines() -> None:
    """Show what workers of this driver have logged since the last call, oldest first."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list

    for key in sorted(_internal_kv_list(_lines_key().encode())):
        if line := _internal_kv_get(key):
            progress.current.say(line.decode())
        _internal_kv_del(key)


def _lines_key() -> str:
    """Where the lines of this driver's workers lie."""
    import ray

    return f"maetdol/log/{ray.get_runtime_context().get_job_id()}/"


def _row_key(task: str) -> bytes:
    return f"maetdol/row/{task}".encode("utf-8", "replace")


class _Again(NamedTuple):
    """A task that is to be tried again; `died`: it ended its worker."""

    died: bool


def raise_store_errors(failure: Failure) -> None:
    """A full disk or an unwritable root fails every shard alike: raise it at once."""
    if isinstance(failure.error, (StoreError, UsageError)):
        raise failure.error
