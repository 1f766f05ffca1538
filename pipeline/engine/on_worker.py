"""What a task of the pool on Ray does in its worker, and how its log lines reach the driver: through the cluster's key-value
store, for a worker's own output is not the driver's terminal.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from pipeline.engine import progress
from pipeline.engine.guard import guarded, name_of
from pipeline.engine.watchdog import watchdog
from pipeline.storage.ledger import held_out

COUNTED = {"rows": "Rows written", "bytes": "Bytes of shards written", "dropped": "Rows dropped"}
"""What is counted by stage, and of drops by reason."""
MOST_LINES = 1_000
"""Log lines of one task that a worker sends to the driver."""


def on_ray(fn: Callable[[Any], Any], task: Any) -> Any:
    """`guarded` in a worker, whose log reaches the driver through the cluster's key-value store."""
    from ray.experimental.internal_kv import _internal_kv_put

    prefix, number = _lines_key(), itertools.count()

    def send(line: str) -> None:
        if (n := next(number)) < MOST_LINES:
            key = f"{prefix}{time.time_ns():020d}/{os.getpid()}/{n}"
            _internal_kv_put(key.encode(), line.encode("utf-8", "replace"))

    progress.current = progress.Forwarded(send)
    progress.set_level()
    made = guarded(fn, task)
    count(made)
    return made


def count(made: Any) -> None:
    """Add what receipts among a task's result say to the counters of this worker, which Ray gives to Prometheus with its own."""
    for receipt in progress.receipts_of(made):
        stage = {"stage": receipt.stage}
        lost = {reason: rows for reason, rows in receipt.reasons.items() if not held_out({reason: rows})}
        counted = [("rows", receipt.rows, stage), ("bytes", receipt.bytes, stage)]
        counted += [("dropped", rows, {**stage, "reason": reason}) for reason, rows in lost.items()]
        for name, value, tags in counted:
            if value:  # Ray takes no zero
                _counters()[name].inc(value, tags)


@cache
def _counters() -> dict[str, Any]:
    from ray.util.metrics import Counter

    tags = {"rows": ("stage",), "bytes": ("stage",), "dropped": ("stage", "reason")}
    return {name: Counter(f"maetdol_{name}", COUNTED[name], tags[name]) for name in tags}


def on_ray_carefully(fn: Callable[[Any], Any], task: Any, fatal: tuple[str, ...] = ()) -> Any:
    """`on_ray` for a task at which workers died: every row is tried alone first, and the driver is told of it before. The records
    `fatal` are left out."""
    from ray.experimental.internal_kv import _internal_kv_put

    key = _position_key(name_of(task))

    def tell(words: str, record: bool) -> None:
        _internal_kv_put(key, f"{int(record)}{words}".encode("utf-8", "replace"), overwrite=True)

    watchdog.careful, watchdog.fatal = tell, frozenset(fatal)
    try:
        return on_ray(fn, task)
    finally:
        watchdog.careful, watchdog.fatal = None, frozenset()


class Last(NamedTuple):
    """Where a worker was when it ended."""

    words: str = ""
    record: bool = False
    """Is it the position of one record?"""


def taken_position(task: str) -> Last:
    """Where the last careful try of a task was when its worker ended. It is forgotten."""
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get

    key = _position_key(task)
    if line := _internal_kv_get(key):
        _internal_kv_del(key)
    return Last(line[1:].decode(), line[:1] == b"1") if line else Last()


def show_lines() -> None:
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


def _position_key(task: str) -> bytes:
    return f"maetdol/row/{task}".encode("utf-8", "replace")
