"""Candidate pairs as rows: first a pass that keeps every pair that stands, then the store, trimmed to the asked overlap.

The ledger tells of every CHAT row: a row per pair it gave, or one with the reason why it gave none; where some of its answers
made no pair the note counts why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import PAIR, child_id
from pipeline.storage.ledger import Ledger
from stages.dpo import overlap
from stages.dpo.sides import Side

METRICS = ("dpo.similarity", "dpo.length_ratio", "dpo.student_tokens")
DRAFT = PAIR.append(pa.field("prompt_hash", pa.uint64()))
"""A pair that stood the checks, and its prompt's key."""
PROMPT_CAP = "dpo.prompt_cap"
BALANCE = "dpo.length_balance"


class Dropped(NamedTuple):
    """A CHAT row that gives no pair: its id, the reasons, and what was measured."""

    id: str
    reasons: tuple[str, ...]
    metrics: tuple[float, float, float] = (float("nan"),) * 3


def draft(sides: Sequence[Side], dropped: Iterable[Dropped], method: str) -> tuple[pa.Table, pa.Table]:
    """Pairs that stand (DRAFT) and the ledger of every chat, from all candidates of a shard and the chats that have none."""
    rows, entries = [], [_entry(one.id, None, one.reasons, one.metrics) for one in dropped]
    by_chat: dict[str, list[Side]] = {}
    for side in sides:
        by_chat.setdefault(side.chat.id, []).append(side)
    for name, mine in by_chat.items():
        survivors = [side for side in mine if not side.reasons]
        why = Counter(side.reasons[0] for side in mine if side.reasons)
        note = (
            ", ".join(f"{reason} {count}" for reason, count in sorted(why.items())) if why and len(mine) > 1 else None
        )
        for side in survivors:
            row = pair_row(side, method)
            rows.append(row)
            entries.append(_entry(name, row["id"], (), _metrics(side), note))
        if not survivors:
            first = mine[0]
            reasons = tuple(dict.fromkeys(reason for side in mine for reason in side.reasons))
            entries.append(_entry(name, None, reasons, _metrics(first), note))
    return pa.Table.from_pylist(rows, schema=DRAFT), ledger_of(entries)


def pair_row(side: Side, method: str) -> dict[str, Any]:
    """A PAIR row with its provenance: the chat it came from, that one's document, span and rule."""
    row = side.chat.row
    facts = {"sample": str(side.ordinal), "finish": side.finish, "student_tokens": str(side.tokens), **side.facts}
    return {
        "id": child_id(row["id"], "dpo", method, side.ordinal),
        "prompt": side.chat.prompt,
        "chosen": side.chat.answered(side.chosen, method == "student_reject" or facts.get("chosen_by") == "label"),
        "rejected": side.chat.answered(side.rejected, facts.get("rejected_by") == "label"),
        **{
            name: row.get(name)
            for name in ("tools", "lang", "source", "url", "licence", "doc_id", "span_start", "span_end", "rule")
        },
        "chat_id": row["id"],
        "method": method,
        "score_chosen": side.score_chosen,
        "score_rejected": side.score_rejected,
        "in_sft": side.chat.in_sft,
        "meta": [{"key": key, "value": facts[key]} for key in sorted(facts)],
        "prompt_hash": side.chat.key,
    }


def _metrics(side: Side) -> tuple[float, float, float]:
    return side.similarity, side.length_ratio, float(side.tokens)


def _entry(
    name: str, out: str | None, reasons: tuple[str, ...], metrics: tuple[float, float, float], note: str | None = None
) -> dict[str, Any]:
    return {"id": name, "out": out, "reasons": list(reasons), "note": note, **dict(zip(METRICS, metrics))}


def ledger_of(entries: list[dict[str, Any]]) -> pa.Table:
    return Ledger.rows(
        [entry["id"] for entry in entries],
        out=[entry["out"] for entry in entries],
        reason=[entry["reasons"][0] if entry["reasons"] else None for entry in entries],
        reasons=[entry["reasons"] for entry in entries],
        note=[entry["note"] for entry in entries],
        metrics={name: [entry[name] for entry in entries] for name in METRICS},
    )


class DraftedPairs(NamedTuple):
    """The drafted pairs of all shards: what the last choice is made from. Lists of one length, in store order."""

    id: list[str]
    key: list[int]
    in_sft: list[bool | None]


def drafted_pairs(tables: Iterable[pa.Table], without: dict[str, str] | None = None) -> DraftedPairs:
    found = DraftedPairs([], [], [])
    for table in tables:
        if without:
            table = table.filter(pa.array([name not in without for name in table["id"].to_pylist()], pa.bool_()))
        found.id.extend(table["id"].to_pylist())
        found.key.extend(table["prompt_hash"].to_pylist())
        found.in_sft.extend(table["in_sft"].to_pylist())
    return found


def final(
    found: DraftedPairs, share: float | None, cap: int, seed: int
) -> tuple[dict[str, str], overlap.Share, overlap.Share]:
    """Reasons by id of the pairs to drop after all, and the overlap of what stays: on prompts, and on pairs.

    No more than `cap` pairs a prompt, in store order; then prompts of the side that is too many, in the order of the same
    hash by which they were taken.
    """
    drop: dict[str, str] = {}
    taken: Counter[int] = Counter()
    for name, key in zip(found.id, found.key):
        taken[key] += 1
        if taken[key] > cap:
            drop[name] = PROMPT_CAP
    candidates = [overlap.PromptKey(key, side, None) for key, side in zip(found.key, found.in_sft)]
    chosen, measured = overlap.choose(candidates, share, None, seed)
    pairs = Counter()
    for name, key, side in zip(found.id, found.key, found.in_sft):
        if name not in drop and key not in chosen:
            drop[name] = overlap.OVERLAP
        if name not in drop:
            pairs[bool(side)] += 1
    return drop, measured, overlap.Share(pairs.total(), pairs[True])


def unbalanced(tables: Iterable[pa.Table], near: float, seed: int) -> dict[str, str]:
    """Reasons by id of the pairs to drop so that the share whose chosen answer is the longer is within `near` of one half.

    Those that go are of the side that is too many, in the order of a hash of seed and id. Pairs of equal lengths stay.
    """
    longer: dict[int, list[str]] = {1: [], -1: []}
    for table in tables:
        for name, sign in zip(
            table["id"].to_pylist(), np.sign(_lengths(table, "chosen") - _lengths(table, "rejected")).tolist()
        ):
            longer.setdefault(sign, []).append(name)
    many, few = sorted((longer[1], longer[-1]), key=len, reverse=True)
    # share = many / (many + few) <= 1/2 + near
    most = len(few) * (0.5 + near) / (0.5 - near) if near < 0.5 else len(many)
    order = sorted(many, key=lambda name: _hashed(seed, name))
    return dict.fromkeys(order[int(most + 1e-09) :], BALANCE)


def _hashed(seed: int, name: str) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(name.encode(), seed=seed & (2**64 - 1))


def without_dropped(table: pa.Table, ledger: pa.Table, drop: dict[str, str]) -> tuple[pa.Table, pa.Table]:
    """A drafted shard and its ledger without the pairs to drop; a chat all of whose pairs go keeps one row, with the reason."""
    kept = table.filter(pa.array(np.asarray([name not in drop for name in table["id"].to_pylist()], dtype=bool)))
    entries = ledger.select(["id", "out", "reasons", "note", *METRICS]).to_pylist()
    alive = {entry["id"] for entry in entries if entry["out"] is not None and entry["out"] not in drop}
    out, reported = [], set()
    for entry in entries:
        why = drop.get(entry["out"]) if entry["out"] is not None else None
        if why is None:
            out.append(entry)
        elif entry["id"] not in alive and entry["id"] not in reported:
            reported.add(entry["id"])
            out.append({**entry, "out": None, "reasons": [why]})
    return kept.select(PAIR.names), ledger_of(out)


def lengths(table: pa.Table) -> dict[str, Any]:
    """Numbers for the report, summed over shards: characters on both sides, and how often the chosen answer is the longer."""
    sides = {side: _lengths(table, side) for side in ("chosen", "rejected")}
    return {
        "pairs": len(table),
        "chosen_characters": int(sides["chosen"].sum()),
        "rejected_characters": int(sides["rejected"].sum()),
        "chosen_longer": int((sides["chosen"] > sides["rejected"]).sum()),
    }


def _lengths(table: pa.Table, side: str) -> np.ndarray:
    """Characters of one side's answer."""
    flat = pc.list_flatten(table[side])
    return pc.fill_null(pc.utf8_length(pc.struct_field(flat, "content")), 0).to_numpy()
