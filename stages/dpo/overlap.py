"""Which prompts preference pairs are made for: how many of them fine-tuning has seen, by construction.

A prompt is its key (`stages.models.holdout.prompt_key`): letters and digits of the first user message, so that spelling of
blanks and punctuation does not count. With R the prompts of the SFT store and P those of the pairs, `sft_overlap` is
|P and R| / |P|. It is reached twice: before anything is generated, so that no answer is made in vain, and again after the
checks, because a student answers the prompts it was trained on otherwise than the rest and they fall to the checks unevenly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.errors import UsageError
from pipeline.schema import speaks
from pipeline.storage.store import Store
from stages.models.holdout import prompt_key

TOLERANCE = 0.001
"""How far the share may be off; a few prompts are given up to come closer."""
NO_LABEL = "dpo.no_label"
TOOL_CALL = "dpo.tool_call"
OVERLAP = "dpo.overlap"
BEYOND = "dpo.beyond_max"


class PromptKey(NamedTuple):
    """One CHAT row: its prompt's key (64 bits) and whether the SFT store has that prompt (None: no SFT store given)."""

    key: int
    in_sft: bool | None
    reason: str | None
    """Why no pair can be made of it, else None."""


class Share(NamedTuple):
    """The overlap as measured: prompts in all, and of them in the SFT store."""

    prompts: int
    in_sft: int

    @property
    def share(self) -> float | None:
        return self.in_sft / self.prompts if self.prompts else None


def keys_of(stores: Sequence[Store]) -> set[int]:
    """The prompt keys of CHAT stores."""
    found: set[int] = set()
    for store in stores:
        for shard in store.shards():
            for batch in store.batches(shard):
                found.update(
                    hashed(prompt_key(messages)) for messages in batch.column("messages").to_pylist() if messages
                )
    return found


def hashed(key: str) -> int:
    """64 bits of a prompt key."""
    import xxhash

    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"))


def candidate(messages: list[dict] | None, sft: set[int] | None, beyond: bool = False) -> PromptKey:
    """A row as a candidate: it needs a prompt and, as its last message, an answer to it. `beyond`: its tools are out of the teacher's reach."""
    key = hashed(prompt_key(messages))
    return PromptKey(key, None if sft is None else key in sft, _unfit(messages or [], beyond))


def _unfit(messages: list[dict], beyond: bool) -> str | None:
    """Why no pair can be made of a row: what students write is text, which is not held against a call of a tool."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant" or not speaks(messages[-1]):
        return NO_LABEL
    return TOOL_CALL if beyond or messages[-1].get("tool_calls") else None


def counts(inside: int, outside: int, overlap: float, most: int | None = None) -> tuple[int, int]:
    """How many prompts to take of `inside` (in the SFT store) and `outside`: as many as give the share, at most `most`.

    >>> counts(700, 300, 0.5), counts(700, 300, 0.0), counts(700, 300, 1.0), counts(1000, 10, 0.3)
    ((301, 300), (0, 300), (700, 0), (3, 7))
    """
    top = min(
        inside / overlap if overlap > 0 else float("inf"),
        outside / (1 - overlap) if overlap < 1 else float("inf"),
        float("inf") if most is None else most,
    )
    best, off = (0, 0), 2.0
    for total in range(int(top + 1), 0, -1):
        take = int(np.floor(total * overlap + 0.5))
        if take > inside or total - take > outside or (most is not None and total > most):
            continue
        if abs(take / total - overlap) < off - 1e-12:
            best, off = (take, total - take), abs(take / total - overlap)
        if off <= TOLERANCE:
            break
    return best


def choose(
    candidates: Iterable[PromptKey], overlap: float | None, most: int | None, seed: int
) -> tuple[set[int], Share]:
    """The prompts to make pairs for, and their share in the SFT store. UsageError where one side is empty that is needed.

    Prompts are taken in the order of a hash of seed and key: the same ones for a smaller `most`, and nested in it.
    """
    sides: dict[bool, set[int]] = {True: set(), False: set()}
    for one in candidates:
        if one.reason is None:
            sides[bool(one.in_sft)].add(one.key)
    inside, outside = (ranked(sides[side], seed) for side in (True, False))
    if overlap is None:
        taken = ranked([*inside, *outside], seed)[:most]
        chosen = set(taken)
        return chosen, Share(len(chosen), len(chosen & sides[True]))
    lacking = [
        side
        for side, needed, there in (("inside", overlap > 0, inside), ("outside", overlap < 1, outside))
        if needed and not there
    ]
    if lacking and (inside or outside):
        raise UsageError(
            f"sft_overlap {overlap:g} needs prompts {lacking[0]} the SFT set, and of the {len(inside) + len(outside)} prompts none is",
            "train SFT on a part of the prompts (`- split: {share: 0.7}`) and give that step as `sft`, or change sft_overlap",
        )
    n_in, n_out = counts(len(inside), len(outside), overlap, most)
    return {*inside[:n_in], *outside[:n_out]}, Share(n_in + n_out, n_in)


def ranked(keys: Iterable[int], seed: int) -> list[int]:
    """Keys in the order of a hash of seed and key."""
    import xxhash

    return sorted(
        keys, key=lambda key: (xxhash.xxh3_64_intdigest(key.to_bytes(8, "little"), seed=seed & (2**64 - 1)), key)
    )
