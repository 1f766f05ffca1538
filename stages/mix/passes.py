"""The passes of a mix: weigh every row per group, set the rates, take each row as often as its group's rate says."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, input_shards
from pipeline.engine.tasks import run_tasks, valid_receipts
from pipeline.errors import UsageError, did_you_mean
from pipeline.options import digest
from pipeline.paths import groups_of, number, values_at
from pipeline.schema import MAIN_FIELD, STR, child_id, shape_of, words_of
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store
from stages.mix import curve
from stages.text.words.token_rates import bytes_per_token, usual


class MixTask(NamedTuple):
    """One input shard."""

    stage: Any
    source: Store
    store_number: int
    shard: int
    number: int
    key: str
    sink: Store
    seed: int
    rates: dict[str, float] | None = None
    thresholds: dict[str, tuple[float, int]] | None = None
    """Per group, score and hash of the last row that comes once more; None where rows are drawn by hash."""
    edges: dict[str, curve.Edges] | None = None
    """Per group, where the rates of a curve change; None without one."""
    repeated: Store | None = None
    """Where ids that stand in more than one input store are written; None where there is one store."""

    @property
    def name(self) -> str:
        return f"mix shard {self.number:05d}"


def run(stage: Any, inputs: Inputs, sink: Store, pool: Pool) -> list[Receipt]:
    store_numbers = {store.path: store_number for store_number, store in enumerate(inputs["of"])}
    shards = list(input_shards(inputs))
    weighed = sink.sub("passes/weigh")
    measure = [
        "hash",
        stage.rank,
        inputs.seed if stage.rank else 0,
        bytes_per_token(stage.tokenizer) if stage.tokenizer else None,
        [stage.repeat_by, stage.repeat_rates] if stage.repeat_by else None,
    ]
    tasks = [
        MixTask(
            stage,
            store,
            store_numbers[store.path],
            shard,
            number,
            digest([stage.by, content, store_numbers[store.path], *measure]),
            weighed,
            inputs.seed,
        )
        for number, store, shard, content in shards
    ]
    found = run_tasks(pool, weighed, weigh, tasks, "mix")
    totals: dict[str, int] = {}
    for receipt in found:
        for group, size in receipt.notes["bytes"].items():
            totals[group] = totals.get(group, 0) + size
    _all_there(stage.weights, totals)
    rates = rates_of(stage, totals)
    thresholds = edges = None
    if stage.rank:
        tables = [weighed.read(task.number) for task in tasks]
        if stage.curve:
            edges = curve.edges_of(stage.curve, rates, tables)
        else:
            thresholds = thresholds_of(rates, tables)
    repeated = _repeated(weighed, sink, tasks, found) if len(store_numbers) > 1 else None
    # The key of a shard names the rates it was taken at: they follow from all shards.
    taking = [
        task._replace(
            sink=sink,
            rates=rates,
            thresholds=thresholds,
            edges=edges,
            repeated=repeated,
            key=stage.key(inputs, content, [rates, _as_words(thresholds), curve.words_of(edges)], without=("of",)),
        )
        for task, (_, _, _, content) in zip(tasks, shards)
    ]
    return run_tasks(pool, sink, take, taking, "mix")


def _all_there(weights: dict[str, float], totals: dict[str, int]) -> None:
    """UsageError where a group has a weight and no row is of it: a word that is spelt otherwise would shift all shares."""
    absent = [group for group, weight in weights.items() if weight and group != "other" and group not in totals]
    if absent and totals:
        groups = sorted(totals, key=lambda group: (-totals[group], group))
        shown = ", ".join(groups[:20]) + (f" and {len(groups) - 20:,} more" if len(groups) > 20 else "")
        raise UsageError(
            f"mix: no row is of the group {absent[0]!r}, which has a weight; there are {shown}",
            did_you_mean(absent[0], groups) if len(groups) <= 20 else "name one of these, or leave the weight out",
        )


def _repeated(weighed: Store, sink: Store, tasks: list[MixTask], found: list[Receipt]) -> Store:
    """The ids (as 64-bit hashes) that more than one input store holds, as a sub-store of one sorted column."""
    store = sink.sub("passes/repeated")
    key = digest([[receipt.content_hash, task.store_number] for receipt, task in zip(found, tasks)])
    if not valid_receipts(store, {0: key}):
        by_store: dict[int, list[np.ndarray]] = {}
        for task in tasks:
            by_store.setdefault(task.store_number, []).append(weighed.read(task.number)["hash"].to_numpy())
        distinct = [np.unique(np.concatenate(parts)) for parts in by_store.values()]
        hashes, times = np.unique(np.concatenate(distinct), return_counts=True)
        store.put(
            0, pa.table({"hash": pa.array(hashes[times > 1], pa.uint64())}), Ledger.rows([]), key=key, stage="mix"
        )
    return store


def id_hashes(ids: list[str]) -> np.ndarray:
    """uint64 per id."""
    return np.array(
        [int.from_bytes(hashlib.blake2b(i.encode(), digest_size=8).digest(), "big") for i in ids], np.uint64
    )


def rates_of(stage: Any, totals: dict[str, int]) -> dict[str, float]:
    """Copies per row for each group: target bytes over the bytes there are, at most `max_repeats`."""
    present = {group: size for group, size in totals.items() if size}
    if not present:
        return dict.fromkeys(totals, 1.0)
    if stage.unimax:
        budget = stage.share * sum(present.values()) if stage.share else stage.budget or sum(present.values())
        return _rounded(curve.unimax(present, budget, stage.max_repeats), totals, 1.0)
    shares = _shares(stage.weights, present, stage.temperature)
    weighted = stage.weights or stage.temperature
    if stage.share:
        budget = stage.share * sum(present.values())
    elif not weighted:
        budget = stage.budget or sum(present.values())
    else:
        budget = stage.budget or min(present[g] * stage.max_repeats / share for g, share in shares.items() if share)
    rates = {g: min(share * budget / present[g], stage.max_repeats) for g, share in shares.items()}
    return _rounded(rates, totals, 0.0 if stage.weights else 1.0)


def _rounded(rates: dict[str, float], totals: dict[str, int], empty: float) -> dict[str, float]:
    """Rates of all groups; `empty` of those without a byte."""
    return {group: round(rates.get(group, empty), 9) for group in sorted(totals)}


def _shares(weights: dict[str, float], present: dict[str, int], temperature: float | None) -> dict[str, float]:
    """Each present group's share of the budget; `other` is divided by size among the groups not named."""
    whole = sum(present.values())
    if temperature:
        parts = {group: (size / whole) ** (1 / temperature) for group, size in present.items()}
        return {group: part / sum(parts.values()) for group, part in parts.items()}
    if not weights:
        return {group: size / whole for group, size in present.items()}
    rest = sum(size for group, size in present.items() if group not in weights)
    parts = {g: weights[g] if g in weights else weights.get("other", 0.0) * present[g] / rest for g in present}
    total = sum(parts.values())
    return {group: part / total for group, part in parts.items()} if total else dict.fromkeys(present, 0.0)


def sizes_of(batch: pa.RecordBatch | pa.Table) -> np.ndarray:
    """Bytes of UTF-8 text per row (int64, n): the text of documents, every word of conversations and pairs with their tools."""
    shape = shape_of(batch.schema) or "DOCUMENT"
    if shape == "DOCUMENT":
        return (
            pc.fill_null(pc.binary_length(batch.column(MAIN_FIELD[shape])), 0)
            .to_numpy(zero_copy_only=False)
            .astype(np.int64)
        )
    fields = ("messages",) if shape == "CHAT" else ("prompt", "chosen", "rejected")
    rows = zip(*(batch.column(name).to_pylist() for name in fields))
    sizes = np.array(
        [sum(len(text.encode()) for side in row for turn in side or [] for text in words_of(turn)) for row in rows],
        np.int64,
    )
    tools = (
        pc.fill_null(pc.binary_length(batch.column("tools")), 0).to_numpy(zero_copy_only=False)
        if "tools" in batch.schema.names
        else 0
    )
    return sizes + tools


def amounts_of(batch: pa.RecordBatch, tokenizer: str | None) -> np.ndarray:
    """What a row counts for (int64, n): its bytes, or the tokens they make by its language."""
    sizes = sizes_of(batch)
    if tokenizer is None:
        return sizes
    rates = bytes_per_token(tokenizer)
    rest = usual(rates)
    langs = batch.column("lang").to_pylist() if "lang" in batch.schema.names else [None] * len(batch)
    return np.rint(sizes / np.array([rates.get(lang or "", rest) for lang in langs])).astype(np.int64)


def weigh(task: MixTask) -> Receipt:
    """Bytes per group of one shard, in the receipt; the hash of every id."""
    totals: dict[str, int] = {}
    hashes, ranked = [np.zeros(0, np.uint64)], []
    for batch in task.source.batches(task.shard):
        ids, groups, sizes = (
            batch.column("id").to_pylist(),
            groups_of(batch, task.stage.by, task.store_number, "mix"),
            amounts_of(batch, task.stage.tokenizer),
        )
        if task.stage.repeat_by:
            sizes = np.rint(sizes * factors_of(batch, task.stage)).astype(np.int64)
        hashes.append(id_hashes(ids))
        for group, size in zip(groups, sizes.tolist()):
            totals[group] = totals.get(group, 0) + size
        if task.stage.rank:
            columns = {
                "group": pa.array(groups, STR),
                "size": sizes,
                "score": scores_of(batch, task.stage.rank),
                "draw": random_numbers(ids, task.seed),
            }
            ranked.append(pa.table(columns))
    table = pa.table({"hash": pa.array(np.concatenate(hashes), pa.uint64())})
    if ranked:
        for name in ranked[0].column_names:
            table = table.append_column(name, pa.concat_tables(ranked)[name])
    return task.sink.put(task.number, table, Ledger.rows([]), key=task.key, stage="mix", notes={"bytes": totals})


def factors_of(batch: pa.RecordBatch, stage: Any) -> np.ndarray:
    """What a row's rate is multiplied by for its number (float64)."""
    return curve.factors(scores_of(batch, stage.repeat_by), stage.repeat_rates)


def scores_of(batch: pa.RecordBatch, column: str) -> np.ndarray:
    """The scores of a batch (float64), -inf where there is none. UsageError where there is no such column of numbers."""
    if column in batch.schema.names:
        try:
            values = batch.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise UsageError(
                f"mix: column {column!r} holds no numbers", "rank by a score, such as quality_score"
            ) from None
    else:
        values = np.array([number(value) for value in values_at(batch, column, "mix")], np.float64)
    return np.where(np.isnan(values), -np.inf, values)


def random_numbers(ids: list[str], seed: int) -> np.ndarray:
    """A number per row (int64) that decides between equal scores."""
    return np.array(
        [int.from_bytes(hashlib.blake2b(f"{seed}/{i}".encode(), digest_size=7).digest(), "big") for i in ids], np.int64
    )


def thresholds_of(rates: dict[str, float], weighed: list[pa.Table]) -> dict[str, tuple[float, int]]:
    """Per group, score and draw of the last row that comes once more: the best rows whose bytes fill the rest of the rate."""
    thresholds: dict[str, tuple[float, int]] = {}
    for group, size, score, number_drawn in curve.by_group(weighed):
        if group not in rates:
            continue
        rate = rates[group]
        order = np.lexsort((number_drawn, -score))
        taken = int(np.searchsorted(np.cumsum(size[order]), (rate - np.floor(rate)) * size.sum() + 0.5, side="right"))
        thresholds[group] = (
            (float(score[order[taken - 1]]), int(number_drawn[order[taken - 1]])) if taken else (float("inf"), -1)
        )
    return thresholds


def _as_words(thresholds: dict[str, tuple[float, int]] | None) -> dict[str, str] | None:
    """Cuts as words: JSON has no infinity."""
    return (
        {group: f"{score!r} {number_drawn}" for group, (score, number_drawn) in thresholds.items()}
        if thresholds is not None
        else None
    )


def best(
    ids: list[str],
    groups: list[str],
    rates: dict[str, float],
    thresholds: dict[str, tuple[float, int]],
    scores: np.ndarray,
    seed: int,
) -> np.ndarray:
    """How often each row comes (int64, n): floor(rate), and once more down to its group's cut."""
    rate = np.array([rates.get(group, 0.0) for group in groups])
    least, last = (
        (np.array(column) for column in zip(*(thresholds.get(group, (np.inf, -1)) for group in groups)))
        if groups
        else (np.zeros(0), np.zeros(0))
    )
    more = (scores > least) | ((scores == least) & (random_numbers(ids, seed) <= last))
    return (np.floor(rate) + more).astype(np.int64)


def row_rates(batch: pa.RecordBatch, task: MixTask, ids: list[str], groups: list[str]) -> np.ndarray:
    """The rate of every row (float64): its group's, times what the curve or its number say."""
    rates = task.rates or {}
    rate = np.array([rates.get(group, 0.0) for group in groups], np.float64)
    if task.edges is not None:
        scores, draws = scores_of(batch, task.stage.rank), random_numbers(ids, task.seed)
        rate *= curve.rates_in(task.edges, groups, scores, draws)
        if task.stage.sets_totals:
            rate /= np.array([task.edges[group].mean or 1.0 for group in groups], np.float64)
    if task.stage.repeat_by:
        rate *= factors_of(batch, task.stage)
    return rate


def copies(ids: list[str], rate: np.ndarray, seed: int) -> np.ndarray:
    """How often each row comes (int64, n): floor(rate), and once more where a hash of (seed, id) is below the rest."""
    drawn = [
        int.from_bytes(hashlib.blake2b(f"{seed}/{i}".encode(), digest_size=7).digest(), "big") / 2**56 for i in ids
    ]
    return (np.floor(rate) + (np.array(drawn) < rate - np.floor(rate))).astype(np.int64)


def out_id(row_id: str, store_number: int, copy: int) -> str:
    """The id of a row's copy; `store_number` is its store's where an earlier store may hold the same id, else 0."""
    own = child_id(row_id, "mix", "store", store_number) if store_number else row_id
    return own if copy == 0 else child_id(own, "mix", "copy", copy)


def take(task: MixTask) -> Receipt:
    """One shard, each row as often as it comes; repeats get ids of their own."""
    notes: dict[str, Any] = {"rates": task.rates, "repeats": 0} | (
        {"cuts": _as_words(task.thresholds)} if task.thresholds else {}
    )
    twice = task.repeated.read(0)["hash"].to_numpy() if task.repeated and task.store_number else np.zeros(0, np.uint64)
    with task.sink.writer(task.number, stage="mix", key=task.key) as writer:
        table = task.source.read(task.shard)
        writer.expect(table.schema)
        rate = np.zeros(0)
        for batch in task.source.batches(task.shard):
            ids = batch.column("id").to_pylist()
            groups = groups_of(batch, task.stage.by, task.store_number, "mix")
            if task.thresholds is None:
                rate = row_rates(batch, task, ids, groups)
                times = copies(ids, rate, task.seed)
            else:
                times = best(
                    ids, groups, task.rates or {}, task.thresholds, scores_of(batch, task.stage.rank), task.seed
                )
            outs = [
                (row, out_id(i, task.store_number if again else 0, k))
                for row, (i, n, again) in enumerate(zip(ids, times.tolist(), np.isin(id_hashes(ids), twice)))
                for k in range(n)
            ]
            taken = batch.take(pa.array([row for row, _ in outs], pa.int64()))
            writer.write(taken.set_column(0, batch.schema.field(0), pa.array([out for _, out in outs], STR)))
            gone = [row for row, n in enumerate(times.tolist()) if n == 0]
            over = [
                "mix.below_rank" if task.thresholds or (task.edges and not rate[row]) else "mix.over_budget"
                for row in gone
            ]
            why = [word if (task.rates or {}).get(groups[row]) else "mix.not_weighted" for row, word in zip(gone, over)]
            writer.record(
                Ledger.rows(
                    [ids[row] for row, _ in outs] + [ids[row] for row in gone],
                    out=[out for _, out in outs] + [None] * len(gone),
                    reason=[None] * len(outs) + why,
                    metrics={"mix.copies": np.concatenate([times[[row for row, _ in outs]], np.zeros(len(gone))])},
                )
            )
            notes["repeats"] += len(outs) - (len(ids) - len(gone))
        return writer.commit(input_ids=table["id"], notes=notes)
