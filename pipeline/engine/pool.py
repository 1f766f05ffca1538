"""Where work runs: Inline (tests, small jobs, debugging) and OnRay (the real one).

A pool knows nothing of stages. `each` takes a module-level function and small picklable tasks and yields, in the order of
the tasks, either the function's result or a `Failure`. An unexpected exception fails its task and no other; only
infrastructure faults (a dead worker, a lost node, storage timing out) are tried again.
"""

from __future__ import annotations

import itertools
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipeline import own_folders
from pipeline.engine import on_worker, progress, shared, stop
from pipeline.engine.guard import Failure, brief, guarded, name_of
from pipeline.errors import HeadLost, InfraError, StoreError, UsageError, WorkError

RETRIES, BACKOFF = 4, 1.0
"""Infrastructure faults are tried again this often, waiting 1, 2, 4, 8 seconds."""
CHECK_EVERY, GONE = 5.0, 20.0
"""Seconds between two looks at the head of the cluster while nothing comes back, and after which one that does not answer is
gone. Ray itself waits a minute, and then ends the process without a word of ours."""
NODES_LOST = 20
"""Nodes that may go away under one task, none of them counted as a try."""
LEAST_MEMORY = 1 << 30
"""What a task without `memory` is taken to have had where it ran out of it, bytes."""
INFRASTRUCTURE = ("ObjectLostError", "RaySystemError", "RuntimeEnvSetupError", "OwnerDiedError")
"""Faults of Ray that say nothing of the task, besides those of workers and nodes."""
SLOW, SHARE, TIMES = 60.0, 0.9, 3.0
"""A task is started a second time where no other waits, nine tenths are done, and it has taken three times their median (as Spark 4
has it) and at least a minute."""
ENDS = 30.0
"""Seconds in which a task that is not wanted any more ends."""
CAREFUL = 2
"""From this try on a task at which workers die is worked on row by row first, so that the row is known."""
MOST_FATAL = 8
"""Records of one task that are left out because workers died at them; beyond that the fault is not theirs, and the task fails."""


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
    """On Ray: a local instance by default, a cluster by `address`. At most `window` tasks are in flight. Tasks wait up to `wait`
    seconds for hardware the cluster lacks.

    `workers` bounds the tasks in flight and so the memory; a worker process is reused, so that models and compiled
    kernels load once.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        window: int | None = None,
        memory: int | None = None,
        wait: float = 0,
    ):
        os.environ.setdefault("RAY_DATA_USE_DATASOURCE_V2", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray = ray
        self.workers = workers or (os.cpu_count() or 1)
        self.memory, self.wait = memory, wait
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
        shared.begin(ray.put)

    def _start(self, address: str | None) -> None:
        inherited = {name: os.environ[name] for name in progress.INHERITED if name in os.environ}
        environment: dict[str, Any] = {"env_vars": WORKER_ENV | inherited}
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": environment}
        if address is None:
            options |= {"address": "local", "num_cpus": self.workers, "include_dashboard": False}
        else:
            options |= {"address": address}
        here = str(Path(__file__).resolve().parents[2])
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
                f"Ray did not start {where}: {brief(fault)}",
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
            raise self._lost(_first_line(fault)) from None

    def _lost(self, why: str) -> HeadLost:
        self._gone = True
        return HeadLost(
            f"Ray is gone while work was under way: {why}",
            "look at the machine's memory and disk (or the cluster's head), then run the same command again: finished shards are kept",
        )

    def _head_answers(self) -> bool:
        """HeadLost when a local instance lost one of its processes, or the head of a cluster has not answered for a while."""
        for kind in _dead() if self._started else ():
            raise self._lost(f"its {kind} died")
        if not self._head or _answers(self._head):
            self._silent = None
            return True
        self._silent = self._silent or time.monotonic()
        if time.monotonic() - self._silent >= GONE:
            raise self._lost(f"its control store at {self._head} does not answer")
        return False

    def _each(
        self, fn: Callable[[Any], Any], tasks: Iterable[Any], memory: int | None, gpus: float, workers: int | None
    ) -> Iterator[Any]:
        """Results in the order of the tasks. They wait here for those before them; the work itself waits for no slow task."""
        done: dict[int, Any] = {}
        give = 0
        for index, result in self._as_they_come(fn, tasks, memory or self.memory, gpus, workers or self.window):
            done[index] = result
            while give in done:
                yield done.pop(give)
                give += 1

    def _as_they_come(
        self, fn: Callable[[Any], Any], tasks: Iterable[Any], memory: int | None, gpus: float, window: int
    ) -> Iterator[tuple[int, Any]]:
        """(index, result) of each task, whichever is done first; at most `window` tasks are under way or wait for another try."""
        submit = self._submitter(fn, gpus)
        patience = _Patience(partial(self._lacking, gpus, memory), self.wait)
        waiting, checked = enumerate(tasks), time.monotonic()
        flying: dict[Any, _Try] = {}
        took, twice = [], set()
        later: list[_Try] = []
        while True:
            now = time.monotonic()
            due = [one for one in later if one.due <= now]
            later = [one for one in later if one.due > now]
            room = window - len(flying) - len(later) - len(due)
            fresh = [_Try(index, task, memory) for index, task in itertools.islice(waiting, max(0, room))]
            if not due and not fresh:
                due = _second_starts(list(flying.values()), room, took, twice, now)
            flying |= {submit(one): one._replace(began=now) for one in [*due, *fresh]}
            pause = min([CHECK_EVERY, *(one.due - now for one in later)])
            if not flying and not later:
                break
            if not flying:
                time.sleep(max(0.0, pause))
                continue
            ready, _ = self.ray.wait(list(flying), num_returns=1, timeout=max(0.0, pause))
            if time.monotonic() - checked >= CHECK_EVERY:
                checked = time.monotonic()
                if self._head_answers():  # what asks a head that is gone waits until Ray ends the process
                    on_worker.show_lines()
                    if not ready:
                        patience.check()
            for ref in ready:
                if (one := flying.pop(ref, None)) is None:  # ended, for the other start of it was done
                    continue
                outcome, others = self._get(ref, one), [r for r, each in flying.items() if each.index == one.index]
                if isinstance(outcome, _Try):
                    if others:  # which go on
                        continue
                    if outcome.nodes > one.nodes:
                        log.info(f"{name_of(one.task)}: its node went away; it is done again elsewhere")
                    later.append(outcome)
                    continue
                patience.ends()
                took.append(time.monotonic() - one.began)
                self._end({other: flying.pop(other) for other in others})
                yield one.index, outcome
        on_worker.show_lines()

    def _end(self, others: dict[Any, _Try]) -> None:
        """End starts of tasks that were done by other starts, before anybody goes by what these have written."""
        for ref in others:
            self.ray.cancel(ref, force=True)
        _, left = self.ray.wait(list(others), num_returns=len(others), timeout=ENDS) if others else ([], [])
        for ref in left:
            log.warning(
                f"{name_of(others[ref].task)}: its other start could not be ended; what it still writes is the same bytes"
            )

    def _submitter(self, fn: Callable[[Any], Any], gpus: float) -> Callable[[_Try], Any]:
        """What hands a task to Ray."""
        calls = (on_worker.on_ray, on_worker.on_ray_carefully)
        usual, careful = (self.ray.remote(max_retries=0, num_cpus=1, num_gpus=gpus)(call) for call in calls)

        def submit(one: _Try) -> Any:
            call = careful if one.died and one.attempt >= CAREFUL else usual
            spread = {"scheduling_strategy": "SPREAD"} if one.second else {}
            return call.options(memory=one.memory, **spread).remote(fn, one.task, *((one.fatal,) if one.fatal else ()))

        return submit

    def _get(self, ref: Any, one: _Try) -> Any:
        """The result of a task, its Failure, or its next try."""
        from ray import exceptions as faults

        fatal, others = False, tuple(getattr(faults, name) for name in INFRASTRUCTURE)
        try:
            return self.ray.get(ref)
        except faults.LocalRayletDiedError:
            raise self._lost("the raylet of this machine died") from None
        except faults.NodeDiedError as fault:
            if one.nodes < NODES_LOST:
                return one.after_a_lost_node()
            reason = _first_line(fault)
        except faults.OutOfMemoryError as fault:
            reason, fatal = _first_line(fault), True
            one = self._with_more_memory(one)
        except faults.WorkerCrashedError as fault:
            reason, fatal = _first_line(fault), True
        except others as fault:
            reason = _first_line(fault)
        except faults.RayTaskError as fault:
            if not isinstance(fault.cause, InfraError):
                return Failure(name_of(one.task), f"{type(fault.cause).__name__}: {brief(fault.cause)}")
            reason = str(fault.cause)
        last = on_worker.taken_position(name_of(one.task)) if fatal else on_worker.Last()
        same, one = last == one.last, one._replace(last=last)
        if one.attempt < RETRIES:
            return one.again(fatal)
        if last.record and same and len(one.fatal) < MOST_FATAL:
            log.warning(
                f"{name_of(one.task)}: workers ended {RETRIES + 1} times, the last ones at {last.words}: it is left out"
            )
            return one.without(last.words)
        lost = WorkError(
            f"given up after {RETRIES + 1} tries{f', the last at {last.words}' if last.words else ''}: {reason}",
            "check the node's memory and disk, and that its libraries work; lower run.workers",
        )
        return Failure(name_of(one.task), str(lost), error=lost)

    def _with_more_memory(self, one: _Try) -> _Try:
        """A task whose worker ran out of memory, with twice as much reserved for its next try, as far as a node has it."""
        if one.attempt == RETRIES:
            return one
        largest = max(
            (int(node["Resources"].get("memory", 0)) for node in self.ray.nodes() if node["Alive"]), default=0
        )
        more = max(min(2 * (one.memory or LEAST_MEMORY), largest), one.memory or 0) or None
        if more != one.memory:
            log.warning(f"{name_of(one.task)}: out of memory; tried again with {(more or 0) / 2**30:.1f} GiB reserved")
        return one._replace(memory=more)

    def _lacking(self, gpus: float, memory: int | None) -> UsageError | None:
        """What of a task's hardware no node has now: an error, rather than a task that waits for ever."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        wanted = {"CPU": 1, "GPU": gpus, "memory": memory or 0}
        if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            return None
        most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in wanted}
        lever, hint = (
            "lower `gpus` and `memory` in run.steps, or ",
            "add a node; where an autoscaler brings nodes, give run.wait",
        )
        if gpus > most["GPU"]:
            return UsageError(f"{gpus:g} GPU a task asked for, no node has more than {most['GPU']:g}", lever + hint)
        size = f"{wanted['memory'] / 2**30:.1f} GiB"
        if wanted["memory"] > most["memory"]:
            there = f"{most['memory'] / 2**30:.1f} GiB"
            return UsageError(f"{size} a task asked for, no node has more than {there}", lever + hint)
        if not most["CPU"]:
            return UsageError("no node of the cluster has a CPU for tasks", hint)
        return UsageError(f"no node has a CPU, {gpus:g} GPU and {size} for a task together", lever + hint)

    def close(self) -> None:
        shared.begin(None)
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


class _Patience:
    """How long hardware that no node has is waited for: `wait` seconds, until a task has come back."""

    def __init__(self, lacking: Callable[[], UsageError | None], wait: float):
        self.lacking, self.wait, self.began, self.over = lacking, wait, time.monotonic(), False
        self.check()

    def check(self) -> None:
        """UsageError where something is lacking still and was waited for."""
        if self.over:
            return
        fault = self.lacking()
        if fault is None:
            self.over = True
        elif time.monotonic() - self.began >= self.wait:
            words = f", after {self.wait:g} seconds of waiting" if self.wait else ""
            raise UsageError(f"{fault.message}{words}", fault.hint)

    def ends(self) -> None:
        self.over = True


class _Try(NamedTuple):
    """A task under way, or to be tried again at `due` (monotonic seconds)."""

    index: int
    task: Any
    memory: int | None
    """Bytes reserved for it."""
    attempt: int = 0
    """Tries before this one that count."""
    nodes: int = 0
    """Nodes that went away under it."""
    died: bool = False
    """Its last try ended its worker."""
    last: on_worker.Last = on_worker.Last()
    """Where that was, as far as it is known."""
    fatal: tuple[str, ...] = ()
    """Records that are left out."""
    due: float = 0.0
    began: float = 0.0
    """When it was handed out (monotonic seconds)."""
    second: bool = False
    """Started while the first start of it is under way."""

    def again(self, died: bool) -> _Try:
        due = time.monotonic() + BACKOFF * 2**self.attempt
        return self._replace(attempt=self.attempt + 1, died=died, due=due)

    def without(self, record: str) -> _Try:
        """The next try leaves this record out, and is a careful one, so that the next such record has as many tries as this one."""
        return self._replace(fatal=(*self.fatal, record), attempt=CAREFUL - 1).again(died=True)

    def after_a_lost_node(self) -> _Try:
        """Spot machines go away: that says nothing against the task."""
        return self._replace(nodes=self.nodes + 1, due=time.monotonic() + BACKOFF)


def _second_starts(flying: list[_Try], room: int, took: list[float], twice: set[int], now: float) -> list[_Try]:
    """Second starts of tasks that take far longer than the others `took`, as far as there is room: of those that say how (`beside`),
    one of each. Their indices are added to `twice`."""
    if not took or len(took) < SHARE * (len(took) + len({one.index for one in flying})):
        return []
    limit, starts = max(SLOW, TIMES * statistics.median(took)), []
    for one in flying:
        may = hasattr(one.task, "beside") and one.index not in twice and not one.attempt
        if may and now - one.began >= limit and len(starts) < room and (task := one.task.beside()) is not None:
            log.info(f"{name_of(one.task)}: under way for {now - one.began:.0f} s; started a second time")
            starts.append(one._replace(task=task, second=True))
            twice.add(one.index)
    return starts


def _first_line(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {str(fault).splitlines()[0][:200] if str(fault) else ''}"


def raise_store_errors(failure: Failure) -> None:
    """A full disk or an unwritable root fails every shard alike: raise it at once."""
    if isinstance(failure.error, (StoreError, UsageError)):
        raise failure.error
