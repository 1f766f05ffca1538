"""The resume loop: pool tasks whose result a receipt proves already are not run again.

A receipt proves a shard or an artefact if it was written under the key that is asked for now, and the files it speaks of are
there in their full length.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pipeline.engine import progress
from pipeline.engine.pool import Failure, Pool, raise_store_errors
from pipeline.errors import DamagedStore, StageFailed
from pipeline.storage.ledger import Receipt
from pipeline.storage.proof import ARTEFACT, sizes_of, wrong_sizes
from pipeline.storage.shards import number_of
from pipeline.storage.store import Store

log = logging.getLogger("maetdol.tasks")
Number = TypeVar("Number", int, str)


class Task(Protocol):
    """What `run_tasks` must know of a task: the shard it makes, or ARTEFACT, and under which key."""

    @property
    def number(self) -> int | str: ...

    @property
    def key(self) -> str: ...


class Proofs:
    """What was proven in a store when it was looked at: by a listing a folder and, where it was finished, one list of receipts."""

    def __init__(self, store: Store):
        self.store, self.sizes = store, store.sizes()
        self._known = store.listed(self.sizes)

    @classmethod
    def taken(cls, store: Store) -> Proofs:
        """Looked at before work on it: receipts may change from here on, so the list of them goes."""
        proofs = cls(store)
        store.unlist_receipts()
        return proofs

    @property
    def names(self) -> list[str]:
        """The receipts that are there: `00000`, `artefact`."""
        return [name[9:-5] for name in self.sizes if name.startswith("receipts/") and name.endswith(".json")]

    def receipt(self, shard: int | str) -> Receipt | None:
        """The receipt of a shard or of the artefact; None where there is none. DamagedStore where it cannot be read."""
        name = number_of(shard)
        return (self._known.get(name) or self.store.receipt(name)) if f"receipts/{name}.json" in self.sizes else None

    def whole(self, shard: int | str) -> Receipt | None:
        """The receipt if it can be read and what it proves is there in its full length."""
        try:
            receipt = self.receipt(shard)
        except DamagedStore:
            return None
        return None if receipt is None or wrong_sizes(sizes_of(receipt, shard), self.sizes) else receipt


def valid_receipts(sink: Store, keys: Mapping[Number, str]) -> dict[Number, Receipt]:
    """The receipts of `sink` that hold under these keys (shard number or ARTEFACT -> key), in the order of the keys, before work
    on it."""
    proofs = Proofs.taken(sink)
    found = {number: proofs.whole(number) for number in keys}
    return {number: receipt for number, receipt in found.items() if receipt is not None and receipt.key == keys[number]}


def drop_others(sink: Store, numbers: Iterable[int | str], there: Iterable[str] | None = None) -> None:
    """Remove every shard of `sink` but these. `there`: names of its receipts, where they are known (`Proofs.names`)."""
    wanted = set(numbers)
    names = [name.removesuffix(".json") for name in sink.fs.names("receipts")] if there is None else there
    for number in [int(name) for name in names if name.isdigit()]:
        if number not in wanted:
            sink.drop(number)


def run_tasks(
    pool: Pool, sink: Store, fn: Callable[[Any], Receipt], tasks: Sequence[Any], stage: str, gpus: float = 0
) -> list[Receipt]:
    """Make the shards (or the artefact) of `sink`, one task each; those proven under their task's key stay as they are.

    Returns the receipts in the order of the tasks. Shards that no task makes are removed. `fn` writes a task's output and
    returns its receipt. StageFailed lists the tasks that failed, once all others are done.
    """
    valid = valid_receipts(sink, {task.number: task.key for task in tasks})
    drop_others(sink, (task.number for task in tasks))
    receipts = resumed(pool, fn, tasks, stage, lambda task: valid.get(task.number), gpus)
    sink.list_receipts(receipts)
    return receipts


def resumed(
    pool: Pool,
    fn: Callable[[Any], Any],
    tasks: Sequence[Any],
    stage: str,
    valid: Callable[[Any], Any],
    gpus: float = 0,
) -> list[Any]:
    """The result of each task, in their order: `valid(task)`, or `fn(task)` in the pool where that is None."""
    found = [valid(task) for task in tasks]
    log.debug("%s: %d of %d tasks were done before", stage, sum(held is not None for held in found), len(tasks))
    made = iter(collect(pool, fn, [task for task, held in zip(tasks, found) if held is None], stage, gpus))
    return [next(made) if held is None else held for held in found]


def collect(pool: Pool, fn: Callable[[Any], Any], tasks: Sequence[Any], stage: str, gpus: float = 0) -> list[Any]:
    """Results of all tasks. Failed ones do not stop the others; at the end StageFailed lists them. The one task that makes an
    artefact fails with its own error, where it has one."""
    results, failed = [], []
    progress.current.expect(stage, len(tasks))
    for result in pool.each(fn, tasks, gpus=gpus):
        if isinstance(result, Failure):
            raise_store_errors(result)
            failed.append(result)
        else:
            results.append(result)
            progress.current.advance(result)
    if failed and getattr(tasks[0], "number", None) == ARTEFACT and failed[0].error is not None:
        raise failed[0].error
    if failed:
        lines = "\n".join(f"  {failure.task}: {failure.message}" for failure in failed[:20])
        more = f"\n  and {len(failed) - 20} more" if len(failed) > 20 else ""
        if progress.debugging():
            more += "".join(f"\n{failure.task}:\n{failure.trace}" for failure in failed[:5])
        raise StageFailed(
            f"{stage}: {len(failed)} of {len(tasks)} tasks failed\n{lines}{more}",
            "fix the cause and run again: finished shards are kept",
        )
    return results
