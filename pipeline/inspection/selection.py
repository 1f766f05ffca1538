"""Rows of a store that someone asked for, as lines for a terminal or as JSON: `maetdol inspect --where ... --grep ... --dropped`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import SourceError, UsageError, did_you_mean
from pipeline.inspection import query
from pipeline.inspection.inspect import brief, glance, is_root, listed, stores_of
from pipeline.inspection.sections import as_text
from pipeline.inspection.terminal import STEERS
from pipeline.paths import values_at
from pipeline.storage.store import Store

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Selection:
    """What is asked of a store."""

    rows: int = 3
    """At most so many, up to `query.MOST`."""
    offset: int = 0
    """Those before are left out."""
    row_id: str | None = None
    where: str | None = None
    grep: str | None = None
    literal: bool = False
    dropped: bool = False
    reason: str | None = None
    sample: bool = False
    seed: int = 0
    nearest: bool = False
    paths: Sequence[str] = ()
    of: Sequence[int] | None = None
    """Kept rows of these shards alone."""

    def __post_init__(self) -> None:
        if not 0 < self.rows <= query.MOST:
            raise UsageError(f"--rows {self.rows}", f"give a number from 1 to {query.MOST:,}")
        if self.nearest and (self.sample or not self.reason):
            raise UsageError("--nearest needs --reason, and no --sample", "rows are sorted by one number alone")


def lines(path: str, selection: Selection, as_json: bool = False) -> Iterator[str]:
    """The answer, a line (or row) at a time."""
    if is_root(path):
        yield from _root_rows(path) if as_json else [listed(path)]
        return
    store = Store(path)
    rows = found(store, path.rstrip("/").rpartition("/")[0] or ".", selection)
    if not as_json:
        yield glance(store)[0]
    for row in rows:
        yield (
            as_line(row)
            if as_json
            else (_brief_dropped(row, selection) if isinstance(row, query.DroppedRow) else brief(row))
        )


def found(store: Store, root: str, selection: Selection, before: query.Before | None = None) -> list[dict[str, Any]]:
    """The rows; of dropped ones `query.DroppedRow`. `before`: see `query.dropped`."""
    if selection.row_id:
        rows = list(query.by_ids(store, [selection.row_id]).values())
        if not rows:
            raise SourceError(
                f"{store.path} has no row {selection.row_id}",
                f"look it up with `maetdol trace {root} {selection.row_id}`",
            )
        return _paths(rows, selection.paths)
    if selection.dropped or selection.reason:
        _known(store, selection.reason)
        return list(
            query.dropped(
                store, root, selection.reason, selection.rows, selection.offset, selection.seed if selection.sample else None, selection.where, selection.grep,
                selection.nearest, selection.literal, before,
            )
        )  # fmt: skip
    if selection.sample:
        rows = query.sample(
            store, selection.rows, selection.seed, selection.where, selection.grep, selection.literal, selection.of
        )
    elif selection.where is None and selection.grep is None:
        rows = query.some(store, selection.rows, selection.offset)
    else:
        rows = query.take(frame_of(store, selection), selection.rows, selection.offset)
    return _paths(rows, selection.paths)


def frame_of(store: Store, selection: Selection) -> pl.LazyFrame:
    """The rows of a store that are asked for, in their order."""
    frame = query.rows(store, selection.of)
    frame = query.where(frame, selection.where) if selection.where else frame
    return query.grep(frame, selection.grep, literal=selection.literal) if selection.grep else frame


def _paths(rows: list[dict[str, Any]], paths: Sequence[str]) -> list[dict[str, Any]]:
    if not paths or not rows:
        return rows
    table = pa.Table.from_pylist(rows)
    columns = {name: values_at(table, name, "inspect") for name in paths}
    return [dict(zip(columns, each)) for each in zip(*columns.values())]


def _known(store: Store, reason: str | None) -> None:
    known = store.require()["reasons"]
    if reason is not None and reason not in known:
        own = [word for word, _ in query.count(query.dropped_ledger(store), "reason")]  # of ledgers without a shard too
        if reason not in own:
            raise UsageError(f"{store.path} dropped nothing for {reason!r}", did_you_mean(reason, own))


DROPPED_WIDTH = 600
"""Characters shown of the text of a dropped row."""


def _brief_dropped(row: query.DroppedRow, selection: Selection) -> str:
    """A dropped row for a terminal: reasons, numbers, note, and its text."""
    more = [word for word in row["reasons"] or () if word != row["reason"]]
    fields = {
        "id": row["id"],
        "reason": row["reason"] + (f" (also {', '.join(more)})" if more else ""),
        "measured": ", ".join(map(str, row["measured"])),
        "duplicate_of": row["duplicate_of"],
        "note": row["note"],
        "source": row.get("source"),
        "locator": row.get("locator"),
    }
    if row["row"] is None:
        return brief(fields, DROPPED_WIDTH)
    if selection.paths:
        return brief({**fields, **_paths([row["row"]], selection.paths)[0]}, DROPPED_WIDTH)
    return brief({**fields, "url": row["row"].get("url"), f"in {row['text_of']}": as_text(row["row"])}, DROPPED_WIDTH)


def _root_rows(root: str) -> Iterator[str]:
    for store in stores_of(root):
        manifest = store.require()
        yield as_line(
            {name: manifest[name] for name in ("stage", "shape", "rows", "bytes", "reasons")} | {"store": store.name}
        )


def as_line(row: dict[str, Any]) -> str:
    """A row as one line of JSON that steers no terminal."""
    if isinstance(row, query.DroppedRow):
        row = {**row, "measured": [number._asdict() for number in row["measured"]]}
    text = json.dumps(row, ensure_ascii=False, default=str)
    return STEERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
