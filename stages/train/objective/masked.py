"""Masked language modelling: some tokens are hidden, and the model, reading both ways, says what they were.

Of the tokens of a row `share` are asked for; of those 80% are hidden behind the mask token, 10% are exchanged, 10% stay (BERT,
Devlin et al. 2019). Which ones is a function of (seed, step, row), so that workers, accumulation and resuming change nothing.

Next-sentence pairs need no head of their own: a document is split at a sentence's end, its second half replaced by another
document's in half of the cases, and its first token is asked for as the begin token (it goes on) or the end token (it does not).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from stages.models.chat.rows import IGNORED, Batch, Row, collate
from stages.models.inference.score import token_logps
from stages.train.objective.losses import LossSums, Objective

SHORTEST = 12
"""Tokens of a document below which it is not split into a pair."""


class Masked(Objective):
    """mlm: the mean negative log-likelihood of hidden tokens, in nats per hidden token."""

    def __init__(self, data: Any, tokenizer: Any, device: Any, *, seed: int, share: float, next_sentence: bool):
        self.data, self.device, self.seed, self.share = data, device, seed, share
        self.bos, self.eos, self.pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id or 0
        self.mask = mask_id(tokenizer)
        self.next_sentence = next_sentence
        if next_sentence and (self.bos is None or self.bos == self.eos):
            raise UsageError(
                "next_sentence needs a tokenizer whose begin and end tokens differ", "leave out next_sentence"
            )
        self.special = np.asarray(sorted({*tokenizer.all_special_ids, self.mask}), dtype=np.int32)
        self.words = np.setdiff1d(np.arange(len(tokenizer), dtype=np.int32), self.special)
        self.ends = _sentence_ends(tokenizer) if next_sentence else np.zeros(0, bool)
        self.rows, self.held_rows = len(data), data.held_rows
        self._made: dict[tuple[int, bool], Row] = {}
        self.step = 0

    def begin(self, step: int) -> None:
        """The loop's word that a step begins: rows are hidden anew."""
        self.step = step
        self._made.clear()

    def weight(self, index: int) -> int:
        return int((self._hidden(index, False).labels != IGNORED).sum())

    def length(self, index: int) -> int:
        return len(self._hidden(index, False).ids)

    def row_ids(self, indices: Sequence[int]) -> list[str]:
        return [self.data.row_id(index) for index in indices]

    def measure(self, model: Any, indices: Sequence[int], held: bool = False) -> LossSums:
        rows = [self._hidden(index, held) for index in indices]
        batch = both_ways(rows, self.pad, self.device, self.data.width)
        loss = -token_logps(model, batch).sum()
        return LossSums(loss, int((batch.labels != IGNORED).sum()), {})

    def _hidden(self, index: int, held: bool) -> Row:
        """The row as the model sees it this step; labels stand at the hidden tokens themselves."""
        if (index, held) not in self._made:
            # Held-out rows are hidden alike at every step, so that their losses can be compared.
            rng = np.random.default_rng([self.seed, index, int(held), 0 if held else self.step + 1])
            row = self.data.row(index, held)
            parts = [row.ids[row.segments == n] for n in np.unique(row.segments)]
            first: list[int | None] = [None] * len(parts)
            if self.next_sentence:
                parts, first = self._paired(parts, index, held, rng)
            self._made[index, held] = self._cover(parts, first, rng)
        return self._made[index, held]

    def _cover(self, parts: list[np.ndarray], first: list[int | None], rng: np.random.Generator) -> Row:
        ids = np.concatenate(parts).astype(np.int32)
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        segments = np.repeat(np.arange(1, len(parts) + 1, dtype=np.int32), [len(part) for part in parts])
        open_ = np.flatnonzero(~np.isin(ids, self.special))
        masked = rng.permutation(open_)[: max(1, round(self.share * len(open_)))]
        labels[masked] = ids[masked]
        chance = rng.random(len(masked))
        covered, exchanged = masked[chance < 0.8], masked[(chance >= 0.8) & (chance < 0.9)]
        ids[covered] = self.mask
        ids[exchanged] = rng.choice(self.words, len(exchanged))
        begins = np.concatenate([[0], np.cumsum([len(part) for part in parts])[:-1]])
        for at, answer in zip(begins, first):
            if answer is not None:
                labels[at] = answer
        return Row(ids, labels, segments)

    def _paired(
        self, parts: list[np.ndarray], index: int, held: bool, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[int | None]]:
        """Documents split in two at a sentence's end, half of them going on with another document's second half."""
        count = self.held_rows if held else self.rows
        other = self.data.row(int(rng.integers(count)), held)
        foreign = [other.ids[other.segments == n] for n in np.unique(other.segments)]
        made: list[np.ndarray] = []
        first: list[int | None] = []
        room = self.data.width - sum(len(part) for part in parts)
        for number, part in enumerate(parts):
            at = self._split(part)
            if at is None:
                made.append(part)
                first.append(None)
                continue
            pool = [p for n, p in enumerate(parts) if n != number] + foreign
            donors = [(p, cut) for p in pool if (cut := self._split(p)) is not None and not np.array_equal(p, part)]
            swap = bool(donors) and rng.random() < 0.5
            second = part[at:]
            if swap:
                donor, cut = donors[int(rng.integers(len(donors)))]
                second = donor[cut:][: len(second)]
            whole = np.concatenate([part[:at], [self.eos], second]).astype(np.int32)
            grown = len(whole) - len(part)
            whole = whole[: len(whole) - max(0, grown - room)]
            room -= len(whole) - len(part)
            made.append(whole)
            first.append(self.eos if swap else self.bos)
        return made, first

    def _split(self, part: np.ndarray) -> int | None:
        """The sentence end nearest to the middle; None for a piece without a begin token, or too short."""
        if len(part) < SHORTEST or part[0] != self.bos:
            return None
        found = np.flatnonzero(self.ends[part[2:-2]]) + 3
        return int(found[np.argmin(np.abs(found - len(part) / 2))]) if len(found) else None


def both_ways(rows: Sequence[Row], pad: int, device: Any, width: int | None) -> Batch:
    """`collate`, with every token seeing its whole segment."""
    batch = collate(rows, pad, device, width)
    segments = np.zeros(tuple(batch.ids.shape), dtype=np.int32)
    positions = np.zeros(tuple(batch.ids.shape), dtype=np.int64)
    for n, row in enumerate(rows):
        segments[n, : len(row.ids)] = row.segments
        starts = np.concatenate([[0], np.flatnonzero(np.diff(row.segments)) + 1])
        positions[n, : len(row.ids)] = np.arange(len(row.ids)) - np.repeat(starts, np.diff([*starts, len(row.ids)]))

    def mask() -> torch.Tensor:
        seg = torch.from_numpy(segments).to(device)
        return (seg[:, :, None] == seg[:, None, :])[:, None]

    return batch._replace(mask=mask, positions=torch.from_numpy(positions).to(device))


def mask_id(tokenizer: Any) -> int:
    """The tokenizer's mask token; else its unknown token, which a tokenizer that falls back on bytes never writes."""
    for name in ("mask_token_id", "unk_token_id"):
        if getattr(tokenizer, name, None) is not None:
            return int(getattr(tokenizer, name))
    raise UsageError(
        "the tokenizer has neither a mask token nor an unknown token", "add a mask_token to its tokenizer_config.json"
    )


def _sentence_ends(tokenizer: Any) -> np.ndarray:
    """bool per id: does the token end a sentence?"""
    texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    return np.asarray(
        [text.rstrip(" ")[-1:] in (".", "!", "?", "\n", "。") if text.strip(" ") else False for text in texts],
        dtype=bool,
    )
