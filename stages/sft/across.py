"""Judged across all pages: answers that are a site's boilerplate, and the cap per host.

Only hashes travel here, as numpy arrays: 8 bytes a column and candidate. Which rows a cap keeps is drawn by a hash of seed and
row id, so it depends neither on order nor on sharding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.storage.store import Store
from stages.sft.mine import hashed

COLUMNS = ["id", "rule", "question_hash", "answer_hash", "page_hash", "host", "markup"]


class Seen(NamedTuple):
    """Arrays over all candidates of all shards, in order."""

    question: np.ndarray
    answer: np.ndarray
    page: np.ndarray
    host: np.ndarray
    markup: np.ndarray
    draw: np.ndarray


def gather(found: Store, shards: list[int], seed: int) -> Seen:
    """Hashes of every candidate."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in Seen._fields}
    for shard in shards:
        table = found.read(shard).select(COLUMNS)
        for name in ("question", "answer", "page"):
            parts[name].append(table[f"{name}_hash"].to_numpy())
        hosts = {host: hashed(host or "") for host in table["host"].unique().to_pylist()}
        parts["host"].append(np.array([hosts[h] for h in table["host"].to_pylist()], dtype=np.uint64))
        parts["markup"].append(table["markup"].to_numpy(zero_copy_only=False).astype(bool))
        parts["draw"].append(np.array([hashed(f"{seed}/{i}") for i in table["id"].to_pylist()], dtype=np.uint64))
    empty = {"markup": np.zeros(0, bool)}
    return Seen(*(np.concatenate(parts[n]) if parts[n] else empty.get(n, np.zeros(0, np.uint64)) for n in Seen._fields))


def boilerplate(seen: Seen, pages: int) -> np.ndarray:
    """bool per candidate: its answer stands on at least `pages` pages. For declared questions also under as many different
    questions: the same question with the same answer on many pages is a repeat, which dedup removes, and no boilerplate."""
    if pages <= 0 or not len(seen.answer):
        return np.zeros(len(seen.answer), bool)
    on_pages = distinct(seen.answer, seen.page)
    under = distinct(seen.answer, seen.question)
    return (on_pages >= pages) & (~seen.markup | (under >= pages))


def distinct(key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """For every element, how many different values its key has anywhere."""
    order = np.lexsort((value, key))
    k, v = key[order], value[order]
    new_key = np.r_[True, k[1:] != k[:-1]]
    new_pair = new_key | np.r_[True, v[1:] != v[:-1]]
    group = np.cumsum(new_key) - 1
    counts = np.bincount(group, weights=new_pair).astype(np.int64)
    out = np.empty(len(key), np.int64)
    out[order] = counts[group]
    return out


def over_cap(seen: Seen, cap: int, free: np.ndarray) -> np.ndarray:
    """bool per candidate: beyond `cap` rows of its host. Declared questions and `free` (already dropped) do not count."""
    out = np.zeros(len(seen.host), bool)
    counted = np.flatnonzero(~seen.markup & ~free)
    if cap <= 0 or not len(counted):
        return out
    order = counted[np.lexsort((seen.draw[counted], seen.host[counted]))]
    hosts = seen.host[order]
    starts = np.flatnonzero(np.r_[True, hosts[1:] != hosts[:-1]])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    out[order[rank >= cap]] = True
    return out


def drops(found: Store, shards: list[int], seed: int, pages: int, cap: int) -> list[pa.Array]:
    """Per shard, a drop word (`boilerplate`, `host_cap`) or null for every candidate."""
    seen = gather(found, shards, seed)
    common = boilerplate(seen, pages)
    capped = over_cap(seen, cap, common)
    words = np.where(common, "boilerplate", np.where(capped, "host_cap", None)).astype(object)
    out, at = [], 0
    for shard in shards:
        rows = found.receipt(shard).rows
        out.append(pa.array(words[at : at + rows], pa.large_string()))
        at += rows
    return out
