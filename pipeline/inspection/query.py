"""Questions to the stores of a root, of any size: polars scans over shards and ledgers, each with a limit.

    from pipeline.inspection.query import dropped, grep, ledger, rows, sample, take, where

    store = Store("runs/web-ko/filtered")
    take(grep(rows(store), "개인정보"), 20)                         # rows as dictionaries
    take(where(ledger(store), '"word_count.words" > 40'), 20)
    sample(store, 20, seed=7, condition="lang = 'ko'")
    dropped(store, root="runs/web-ko", reason="word_count.low", count=20)

`rows` and `ledger` are `polars.LazyFrame`s: nothing is read until `take`, `count` or a `collect` of one's own. Columns that are not
asked for are not read. Local files are held against their receipts once a process, as every reader of a store does; of object
storage, where polars fetches the parts it needs, lengths are compared.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.inspection.conditions import grep, matches, questions, where
from pipeline.inspection.limits import MetricLimit, limits_of, measured
from pipeline.options import digest
from pipeline.schema import is_id, upgraded
from pipeline.storage.files import Local
from pipeline.storage.ledger import EARLIER
from pipeline.storage.opened import READERS, RangedFile, at_once, rows_of
from pipeline.storage.proof import committed_sizes
from pipeline.storage.shards import BATCH_ROWS, number_of
from pipeline.storage.store import Store

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

MOST = 1000
"""Rows that one question may ask for."""
NATIVE = ("s3", "gs", "az", "abfs", "abfss", "http", "https")
"""Object storage that polars reads by itself; every other is read through fsspec, shard by shard."""


# -- scans -----------------------------------------------------------------------------------------------------------------


def rows(store: Store, of: Sequence[int] | None = None) -> pl.LazyFrame:
    """The rows of a store (`of`: of these shards). SourceError where they are not on disk."""
    manifest = store.require()
    if manifest.get("dropped_text"):
        raise SourceError(
            f"{store.path}: the rows were deleted (run.drop_raw)", "ask its ledger, or the store before it"
        )
    if not manifest["shards"]:
        raise SourceError(f"{store.path} holds an artefact and no rows", "ask its ledger")
    if not all(entry["written"] for entry in manifest["shards"]):
        raise SourceError(
            f"{store.path} was made in passing (run.fuse): its rows are not on disk",
            "ask its ledger, or a store beside it",
        )
    if not _native(store):
        import polars as pl

        return pl.scan_pyarrow_dataset(store.scan(of))
    return _scanned(store, store.files(of), len(manifest.get("columns_in") or ()) == 1)


def ledger(store: Store) -> pl.LazyFrame:
    """The ledgers of a store, one row per input at least. A metric that a ledger lacks is null."""
    import polars as pl

    names = store.ledger_names()
    if not names:
        raise SourceError(f"{store.path} has no ledger", "run the stage that makes it")
    if not _native(store):
        frames: list[Any] = [pl.from_arrow(store.ledger(name)) for name in names]
        return pl.concat([frame.lazy() for frame in frames], how="diagonal_relaxed")
    return _scanned(store, store.ledger_files(), len(names) == 1)


def _native(store: Store) -> bool:
    return isinstance(store.fs, Local) or store.fs.scheme in NATIVE


def _scanned(store: Store, paths: list[str], alike: bool) -> pl.LazyFrame:
    """Arrow files as one frame: those of equal columns in one scan, columns that some lack null there. `alike`: all have the same
    columns, so that none is opened to be asked for them."""
    import polars as pl

    def scan(some: list[str]) -> pl.LazyFrame:
        return pl.scan_ipc(some, glob=False, storage_options=_storage(some[0]))

    kinds = [None] * len(paths) if alike else at_once(store.fs, lambda path: scan([path]).collect_schema(), paths)
    groups: list[tuple[Any, list[str]]] = []
    for path, kind in zip(paths, kinds):
        if groups and groups[-1][0] == kind:
            groups[-1][1].append(path)
        else:
            groups.append((kind, [path]))
    frames = [scan(own).rename(EARLIER, strict=False) for _, own in groups]
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def _storage(path: str) -> Any:
    """Where object storage is and who asks, from the environment; None for local files."""
    if not path.startswith("s3://"):
        return None
    names = {
        "aws_endpoint_url": "AWS_ENDPOINT_URL",
        "aws_access_key_id": "AWS_ACCESS_KEY_ID",
        "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "aws_session_token": "AWS_SESSION_TOKEN",
        "aws_region": "AWS_DEFAULT_REGION",
    }
    found = {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}
    return (
        {**found, "aws_allow_http": "true"} if found.get("aws_endpoint_url", "").startswith("http:") else found or None
    )


# -- answers ---------------------------------------------------------------------------------------------------------------


def take(frame: pl.LazyFrame, count: int, offset: int = 0) -> list[dict[str, Any]]:
    """At most `count` rows from the `offset`-th on, as dictionaries: reading ends when they are found."""
    with questions():
        return frame.slice(offset, min(count, MOST)).collect(engine="streaming").to_dicts()


def count(frame: pl.LazyFrame, by: str | None = None, most: int = 100) -> Any:
    """Rows, or the `most` commonest values of a column with their rows, the commonest first."""
    import polars as pl

    with questions():
        if by is None:
            return int(frame.select(pl.len()).collect(engine="streaming").item())
        counted = (
            frame.group_by(by).agg(pl.len().alias("rows")).sort("rows", by, descending=[True, False], nulls_last=True)
        )
        return [(row[by], row["rows"]) for row in counted.head(most).collect(engine="streaming").to_dicts()]


def some(store: Store, count: int, offset: int = 0) -> list[dict[str, Any]]:
    """Rows from the `offset`-th on, of the shards that hold them."""
    of, first, end = list[int](), 0, 0
    for entry in store.require()["shards"]:
        begin, end = end, end + entry["rows"]
        if end <= offset or not entry["rows"]:
            continue
        first = begin if not of else first
        of.append(entry["shard"])
        if end >= offset + count:
            break
    return take(rows(store, of), count, offset - first) if of else []


SCANNED, FETCHED = 2 << 30, 128 << 20
"""Bytes of shards that a page searches, on local disk and of object storage, where whole batches are fetched."""


def window(store: Store, first: int = 0, seed: int | None = None) -> tuple[list[int], int]:
    """Shards that one page may search, from the `first`-th on, at least one; and how many are behind them. `seed`: in random order."""
    entries = store.require()["shards"][first:]
    if seed is not None:
        entries = sorted(entries, key=lambda entry: digest([seed, entry["content_hash"]]))
    sizes = list(accumulate(entry["bytes"] for entry in entries))
    end = max(1, bisect_right(sizes, SCANNED if isinstance(store.fs, Local) else FETCHED))
    return sorted(entry["shard"] for entry in entries[:end]), max(0, len(entries) - end)


def sample(
    store: Store,
    number: int,
    seed: int = 0,
    condition: str | None = None,
    pattern: str | None = None,
    literal: bool = False,
    of: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """`number` random rows (`of`: of these shards): the same for the same seed, store and version of polars, wherever the shards begin.
    Ids alone are read of all rows (and what the condition asks for), whole rows of those drawn."""
    import polars as pl

    if of is None and not (
        condition or pattern or isinstance(store.fs, Local)
    ):  # of object storage whole batches would be fetched
        frame = ledger(store).select(id="out").drop_nulls().unique()
    else:
        frame = rows(store, of)
    frame = where(frame, condition) if condition else frame
    frame = grep(frame, pattern, literal=literal) if pattern else frame
    with questions():
        drawn = frame.select("id", draw=pl.col("id").hash(seed)).bottom_k(min(number, MOST), by=["draw", "id"])
        ids = drawn.collect(engine="streaming").sort("draw", "id")["id"].to_list()
    found = by_ids(store, ids)
    return [found[row_id] for row_id in ids if row_id in found]


def drawn(frame: pl.LazyFrame, seed: int, number: int) -> pl.LazyFrame:
    """`number` random rows of a frame with ids, whole, in the order they are drawn; for ledgers, whose rows are small."""
    import polars as pl

    some = frame.with_columns(draw=pl.col("id").hash(seed)).bottom_k(min(number, SEARCHED), by=["draw", "id"])
    return some.sort("draw", "id").drop("draw")


def by_ids(store: Store, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Rows of a store by id, those of `ids` that it has: by its index, so that of object storage the batches they lie in are read."""
    requested = {row_id for row_id in ids if is_id(row_id)}
    wanted = np.unique(np.array([int(row_id[:16], 16) for row_id in requested], np.uint64))
    positions = list[tuple[int, list[int]]]()
    for shard in store.shards() if len(wanted) else ():
        index = store.index(shard)
        first, last = (np.searchsorted(index["hash"], wanted, side) for side in ("left", "right"))
        if numbers := sorted(int(n) for a, b in zip(first, last) for n in index["row"][a:b]):
            positions.append((shard, numbers))
    if isinstance(store.fs, Local):
        tables = (_slices(upgraded(store.read(shard)), numbers) for shard, numbers in positions)
    else:
        tables = _fetched(store, positions, requested)
    return {row["id"]: row for table in tables for row in table.to_pylist() if row["id"] in requested}


def _slices(table: pa.Table, numbers: list[int]) -> pa.Table:
    """Rows of a mapped table: `take` would put its batches together first."""
    import pyarrow as pa

    return pa.concat_tables(table.slice(number, 1) for number in numbers)


def _fetched(store: Store, positions: list[tuple[int, list[int]]], ids: set[str]) -> Iterator[pa.Table]:
    """Rows of shards on object storage, several shards at once."""
    entries = {entry["shard"]: entry for entry in store.require()["shards"]}
    readers = max(1, READERS // max(1, len(positions)))

    def fetch(position: tuple[int, list[int]]) -> pa.Table:
        (shard, numbers), name = position, f"shards/{number_of(position[0])}.arrow"
        entry = entries[shard]
        found = rows_of(store.fs, name, entry["bytes"], entry["rows"], numbers, ids, BATCH_ROWS, readers)  # type: ignore[arg-type]
        return upgraded(found)

    return at_once(store.fs, fetch, positions)


# -- what was dropped --------------------------------------------------------------------------------------------------------


Before = Callable[[Store], list[Store]]
"""The stores that one was made of."""


class DroppedRow(dict[str, Any]):
    """A ledger row of a dropped row, with `measured` (list of Measurement), `text_of` (name of the store the row stands in, or None)
    and `row` (the row there, or None)."""


def dropped_ledger(store: Store, reason: str | None = None) -> pl.LazyFrame:
    """Ledger rows of what was dropped (for `reason`)."""
    import polars as pl

    frame = ledger(store)
    return frame.filter(pl.col("reason").is_not_null() if reason is None else pl.col("reason") == reason)


def nearest_first(frame: pl.LazyFrame, limit: MetricLimit) -> pl.LazyFrame:
    """Ledger rows in the order of how near their number is to the limit."""
    return (
        frame.sort(distance(limit).fill_null(float("inf")), "id") if limit.metric in frame.collect_schema() else frame
    )


def distance(limit: MetricLimit) -> pl.Expr:
    """How far each ledger row's number is from the limit, as `nearness` counts it; null where either is not there."""
    import polars as pl

    bound = bound_of(limit)
    return (pl.col(limit.metric) - bound).abs() / pl.when(bound == 0).then(1.0).otherwise(bound.abs())


def bound_of(limit: MetricLimit) -> pl.Expr:
    """The limit of each ledger row."""
    import polars as pl

    usual = pl.lit(limit.value, pl.Float64)
    if not (limit.language and limit.languages):
        return usual
    lang = pl.col("note").str.extract(limit.language, 1)
    known = list(limit.languages)
    others = lang.replace_strict(
        known, [limit.languages[name] for name in known], default=None, return_dtype=pl.Float64
    )
    return pl.when(lang.is_in(known)).then(others).otherwise(usual)


def dropped(
    store: Store,
    root: str,
    reason: str | None = None,
    count: int = 20,
    offset: int = 0,
    seed: int | None = None,
    condition: str | None = None,
    pattern: str | None = None,
    nearest: bool = False,
    literal: bool = False,
    before: Before | None = None,
) -> list[DroppedRow]:
    """Dropped rows with what was measured of them, the limits, and their text from the store before.

    `seed`: random ones; `nearest`: those nearest to the limit of `reason` first; `condition` is over the ledger's columns, `pattern`
    over the text: of at most `SEARCHED` dropped rows. `before`: the stores that one was made of; default: those its lineage names.
    """
    first, most = (0, searched(store)) if pattern else (offset, min(count, MOST))
    found = each_dropped(store, root, reason, first, most, seed, condition, pattern, nearest, literal, before)
    return list(islice(found, offset - first, offset - first + count))


SEARCHED, SEARCHED_THERE = 20_000, 4_000
"""Dropped rows whose texts one search reads, on local disk and of object storage."""
HELD = 250
"""Dropped rows whose texts are held at a time."""


def searched(store: Store) -> int:
    """Dropped rows whose texts one search reads."""
    return SEARCHED if isinstance(store.fs, Local) else SEARCHED_THERE


def each_dropped(
    store: Store,
    root: str,
    reason: str | None = None,
    first: int = 0,
    most: int = SEARCHED,
    seed: int | None = None,
    condition: str | None = None,
    pattern: str | None = None,
    nearest: bool = False,
    literal: bool = False,
    before: Before | None = None,
) -> Iterator[DroppedRow]:
    """As `dropped`, one after another: of `most` dropped rows from the `first`-th on, those whose text holds `pattern`."""
    limits, before = limits_of(store), before or partial(stores_before, root=root)
    frame = dropped_ledger(store, reason)
    frame = where(frame, condition) if condition else frame
    own = [limit for limit in limits if limit.reason == reason]
    if seed is not None:
        frame = drawn(frame, seed, first + most)
    elif nearest and own:
        frame = nearest_first(frame, own[0])
    for start in range(first, first + most, MOST):
        some = take(frame, min(MOST, first + most - start), start)
        for at in range(0, len(some), HELD):
            for row in _shown(store, some[at : at + HELD], limits, before):
                if not pattern or matches(row["row"], pattern, literal):
                    yield row
        if len(some) < MOST:
            return


def _shown(
    store: Store, ledger_rows: list[dict[str, Any]], limits: list[MetricLimit], before: Before
) -> Iterator[DroppedRow]:
    """Ledger rows with their numbers, and with the rows that stand before the step."""
    found = upstream_rows(store, [row["id"] for row in ledger_rows], before)
    for row in ledger_rows:
        name, whole_row = found.get(row["id"], (None, None))
        yield DroppedRow(row, measured=measured(row, limits), text_of=name, row=whole_row)


def upstream_rows(store: Store, ids: Sequence[str], before: Before) -> dict[str, tuple[str, dict[str, Any]]]:
    """Rows by id as they stood before a step: name of the store and row. Where a store before was made in passing or its rows were
    deleted, those before that are asked (the text is then as it stood there)."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    waiting, seen = before(store), set()
    while waiting and len(found) < len(set(ids)):
        here = waiting.pop(0)
        if here.path in seen:
            continue
        seen.add(here.path)
        if whole(here):
            missing = [row_id for row_id in dict.fromkeys(ids) if row_id not in found]
            found |= {row_id: (here.name, row) for row_id, row in by_ids(here, missing).items()}
        else:
            waiting += before(here)
    return found


def stores_before(store: Store, root: str) -> list[Store]:
    """The finished stores that one was made of."""
    names = [entry["store"] for entry in (store.require().get("lineage") or {}).get("of", ())]
    paths = [name if "/" in name else f"{root.rstrip('/')}/{name}" for name in names]
    return [found for path in paths if (found := Store(path)).manifest() is not None]


def whole(store: Store) -> bool:
    """Are the rows of a store on disk?"""
    manifest = store.require()
    return bool(
        manifest["shards"]
        and not manifest.get("dropped_text")
        and all(entry["written"] for entry in manifest["shards"])
    )


def metrics_of(columns: Iterable[str]) -> list[str]:
    """The metrics among the columns of a ledger."""
    return [name for name in columns if "." in name]


def ledger_holds(store: Store) -> tuple[list[str], dict[str, bool]]:
    """Columns of a store's ledgers, and whether they tell of `groups` of duplicates and of `edits`. Of object storage the end of one ledger
    is read: its columns, and that they may."""
    import polars as pl
    import pyarrow as pa

    if not (names := store.ledger_names()):
        return [], {"groups": False, "edits": False}
    if not isinstance(store.fs, Local):
        name = f"ledger/{names[0]}.arrow"
        size = committed_sizes(store.require()).get(name) or store.fs.size(name)
        end = pa.ipc.open_file(pa.PythonFile(RangedFile(store.fs, name, size), mode="r"))
        return end.schema.names, dict.fromkeys(("groups", "edits"), bool(store.require()["rows"]))
    frame = ledger(store)
    held = frame.select(groups=pl.col("duplicate_of").is_not_null().any(), edits=(pl.col("edits").list.len() > 0).any())
    return frame.collect_schema().names(), take(held, 1)[0]
