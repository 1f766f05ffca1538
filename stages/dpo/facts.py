"""What is said of the pairs as a whole: how their sides are told apart, and how near their prompts are to what SFT saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.storage.store import Store


def sides(drafts: Store, shards: list[int], drop: dict[str, str]) -> dict[str, Any]:
    """How well a surface probe, and length alone, tell chosen from rejected: of the pairs that stay, the first by hash."""
    from stages.dpo.probe import MOST, separability

    found: list[tuple[int, str, str]] = []
    for row in _kept(drafts, shards, drop, ("prompt_hash", "chosen", "rejected")):
        found.append((row["prompt_hash"], row["chosen"][-1]["content"], row["rejected"][-1]["content"]))
        if len(found) > 2 * MOST:
            found = sorted(found)[:MOST]
    return separability([one[1] for one in found], [one[2] for one in found], [one[0] for one in found])


def near_share(sft: list[Store], drafts: Store, shards: list[int], drop: dict[str, str]) -> float | None:
    """Share of the prompts that stand in the SFT store or have a near-copy there."""
    from stages.dpo.near import near_copies

    prompts = {row["prompt_hash"]: row for row in _kept(drafts, shards, drop, ("prompt_hash", "prompt", "in_sft"))}
    others = (
        first_question(messages)
        for store in sft
        for shard in store.shards()
        for batch in store.batches(shard)
        for messages in batch.column("messages").to_pylist()
        if messages
    )
    if not prompts:
        return None
    near = near_copies([first_question(row["prompt"]) for row in prompts.values()], others)
    return sum(bool(hit or row["in_sft"]) for hit, row in zip(near, prompts.values())) / len(prompts)


def first_question(messages: list[dict[str, Any]]) -> str:
    """The text of the first user message, which a prompt is known by."""
    return next((message["content"] or "" for message in messages if message["role"] == "user"), "")


def _kept(drafts: Store, shards: list[int], drop: dict[str, str], columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        for batch in drafts.batches(shard):
            for row in batch.select(["id", *columns]).to_pylist():
                if row["id"] not in drop:
                    yield row
