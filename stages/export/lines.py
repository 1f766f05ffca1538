"""The one file of a format for trainers: a row a line, in an order in which `datasets` opens it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pipeline.errors import SourceError, UsageError
from pipeline.storage.files import filesystem
from stages.export import files, trainers
from stages.export.files import FileTask
from stages.export.trainers import NoForm, Row

AHEAD = 8 << 20
"""`datasets` takes the columns of a file from its first 10 MiB, and refuses a file in which another comes later."""


def write_rows(task: FileTask) -> dict[str, Any]:
    """The one file of a format for trainers, and beside it the ids of rows that have no form in it.

    Rows keep their order, but for those that first show a field behind `AHEAD` bytes: they stand before all others.
    """
    receipt, late = _written(task, {})
    return _written(task, late)[0] if late else receipt


def _written(task: FileTask, first: dict[int, list[Row]]) -> tuple[dict[str, Any], dict[int, list[Row]]]:
    """The receipt, with the lines of rows `first` before the others, and of the rows that should have stood there: by number."""
    order, plan = task.order, task.plan
    proofs: dict[str, Any] = {}
    left_out: Counter[str] = Counter()
    written, known, late = 0, set[str](), dict[int, list[Row]]()
    target = filesystem(order.out)
    data_name, rest_name = f"{task.name}.jsonl", f"{task.name}.left-out.jsonl"
    with files.create(order.out, data_name, proofs) as data, files.create(order.out, rest_name, proofs) as rest:
        for line in (line for lines in first.values() for line in lines):
            data.write(_line(line))
            written += 1
        for number, (row, reason) in enumerate(_wanted(task)):
            if number in first:
                continue
            try:
                lines = [] if reason else list(plan.write(row))
            except NoForm as fault:
                lines, reason = [], str(fault)
            if reason:
                left_out[reason] += 1
                rest.write(_line({"id": row["id"], "reason": reason}))
            shown = {path for line in lines for path in paths(line)}
            if not shown <= known and data.size > AHEAD:
                late[number] = lines
            known |= shown
            for line in lines:
                data.write(_line(line))
                written += 1
    if not left_out:
        target.delete(rest_name)
        del proofs[rest_name]
    return {"files": proofs, "rows": written, "left_out": dict(sorted(left_out.items()))}, {} if first else late


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Where in a row something stands, for each kind of field once or more; what tools and their arguments hold does not count.

    >>> list(paths({"system": "", "history": [], "turns": [{"role": "a", "call": None}]}))
    ['.system', '.turns[].role']
    """
    if isinstance(value, dict) and not path.endswith((".arguments", ".tools[]")):
        for name, part in value.items():
            yield from paths(part, f"{path}.{name}")
    elif isinstance(value, list) and not path.endswith(".arguments"):
        for part in value:
            yield from paths(part, f"{path}[]")
    elif value is not None:
        yield path


class RowPlan(NamedTuple):
    """What holds for the whole file."""

    shape: str
    write: Callable[[Row], Iterator[Row]]


def planned(to: str, shape: str) -> RowPlan:
    """How rows of a shape are written in a format. UsageError where it has no form for them."""
    write = trainers.FORMATS[to].chat if shape == "CHAT" else trainers.FORMATS[to].pair if shape == "PAIR" else None
    if write is None:
        fitting = [name for name, one in trainers.FORMATS.items() if {"CHAT": one.chat, "PAIR": one.pair}.get(shape)]
        if not fitting:
            raise SourceError(f"{to} has no form for {shape} rows", "give the store of an sft or dpo step")
        raise UsageError(f"{to} has no form for {shape} rows", f"choose one of {', '.join(fitting)}")
    return RowPlan(shape, write)


def _wanted(task: FileTask) -> Iterator[tuple[Row, str | None]]:
    """Every row, and why it is not wanted."""
    part = task.order.part
    for batch in files.batches(task.store(), task.parts):
        held = files.held_rows(batch, task.plan.shape, task.order.holdout).tolist()
        for row, out in zip(batch.to_pylist(), held):
            wanted = part == "all" or (part == "heldout") == out
            yield row, None if wanted else ("export.held_out" if out else "export.not_held_out")


def _line(value: Row) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
