"""Conversations (CHAT) and preference pairs (PAIR) as training rows: rendered, masked, measured, and packed.

Every row of the store is either trained on, held out, or named in the ledger with the reason it could not be used. Nothing
is cut to fit: a conversation longer than the context loses its answer when cut, so it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.models.chat.answers import Pair, encode_chat, encode_pair, trained_tokens
from stages.models.chat.rows import EncodedSegment, Row, best_fit, join
from stages.models.chat.templates import Chat
from stages.models.holdout import held_out, prompt_key

LONGEST = 4096
"""Tokens of a row at most where `max_length` is not given."""
USED = (None, "train.held_out")
"""Reasons of rows that are trained on or measured on."""


class Conversations:
    """CHAT rows for SFT: answers are asked for, everything else is context. Rows of one or (packed) several conversations, of `width`
    tokens at most; where that is `measured`, as long as the longest conversation that fits into it."""

    def __init__(
        self,
        stores: Sequence[Store],
        chat: Chat,
        width: int,
        share: float,
        *,
        pack: bool,
        turns: int | None = None,
        measured: bool = False,
    ):
        self.width = width
        self.ids: list[str] = []
        self.reasons: list[str | None] = []
        self._parts: list[EncodedSegment | None] = []
        for table in _tables(stores, ("id", "messages"), ("tools",)):
            keys = [prompt_key(messages) for messages in table["messages"]]
            for row_id, messages, tools, out in zip(
                table["id"], table["messages"], table["tools"], held_out(keys, share)
            ):
                part, reason = encode_chat(chat, messages or [], width, turns, tools)
                self.ids.append(row_id)
                self._parts.append(part)
                self.reasons.append(reason or ("train.held_out" if out else None))
        if measured:
            self.width = _longest([part for part, why in zip(self._parts, self.reasons) if why in USED], width)
        self._train = self._pack([n for n, why in enumerate(self.reasons) if why is None], pack)
        self._held = self._pack([n for n, why in enumerate(self.reasons) if why == "train.held_out"], pack)

    def __len__(self) -> int:
        return len(self._train)

    @property
    def held_rows(self) -> int:
        return len(self._held)

    def weight(self, index: int, held: bool = False) -> int:
        """Tokens asked for in a row."""
        return sum(trained_tokens(self._parts[n]) for n in (self._held if held else self._train)[index])

    def row(self, index: int, held: bool = False) -> Row:
        return join([self._parts[n] for n in (self._held if held else self._train)[index]])  # type: ignore[misc]

    def row_id(self, index: int) -> str:
        return self.ids[self._train[index][0]]

    def ledger(self, used: np.ndarray) -> pa.Table:
        """A row per conversation; `used` (bool per training row) says which rows were reached."""
        reasons = list(self.reasons)
        for members, reached in zip(self._train, used):
            for n in members:
                reasons[n] = None if reached else "train.not_reached"
        counts = [trained_tokens(part) if why is None else 0 for part, why in zip(self._parts, reasons)]
        return Ledger.rows(
            self.ids,
            out=[None] * len(reasons),
            reason=reasons,
            note=_notes(self.unseen()),
            metrics={"train.tokens": counts},
        )

    def unseen(self) -> list[bool]:
        """Per conversation of the store: is it used, and without reasoning that it has?"""
        return [part is not None and why in USED and part.unseen > 0 for part, why in zip(self._parts, self.reasons)]

    def _pack(self, members: list[int], pack: bool) -> list[list[int]]:
        if not pack:
            return [[n] for n in members]
        lengths = np.asarray([len(self._parts[n].ids) for n in members], dtype=np.int64)  # type: ignore[index]
        return [[members[at] for at in row] for row in best_fit(lengths, self.width)]


class Pairs:
    """PAIR rows for DPO and the reward model: sides of `width` tokens at most; where that is `measured`, of the longest that fits into it."""

    def __init__(self, stores: Sequence[Store], chat: Chat, width: int, share: float, measured: bool = False):
        self.width = width
        self.ids: list[str] = []
        self.reasons: list[str | None] = []
        self._pairs: list[Pair | None] = []
        self._chat, self._texts = chat, []
        scores: list[tuple[float | None, float | None]] = []
        for table in _tables(
            stores, ("id", "prompt", "chosen", "rejected"), ("score_chosen", "score_rejected", "tools")
        ):
            keys = [prompt_key(messages) for messages in table["prompt"]]
            scores += zip(table["score_chosen"], table["score_rejected"])
            for row_id, prompt, good, bad, tools, out in zip(
                table["id"], table["prompt"], table["chosen"], table["rejected"], table["tools"], held_out(keys, share)
            ):
                pair, reason = encode_pair(chat, prompt or [], good or [], bad or [], width, tools)
                self.ids.append(row_id)
                self._pairs.append(pair)
                self._texts.append((_last(good), _last(bad)))
                self.reasons.append(reason or ("train.held_out" if out else None))
        if measured:
            self.width = _longest(
                [side for pair, why in zip(self._pairs, self.reasons) if pair and why in USED for side in pair], width
            )
        self.scores = [found for found, why in zip(scores, self.reasons) if why is None]
        self._train = [n for n, why in enumerate(self.reasons) if why is None]
        self._held = [n for n, why in enumerate(self.reasons) if why == "train.held_out"]

    def __len__(self) -> int:
        return len(self._train)

    @property
    def held_rows(self) -> int:
        return len(self._held)

    def weight(self, index: int, held: bool = False) -> int:
        """One: every pair counts the same."""
        return 1

    def pair(self, index: int, held: bool = False) -> Pair:
        return self._pairs[(self._held if held else self._train)[index]]  # type: ignore[return-value]

    def answers(self, index: int) -> tuple[str, str]:
        """The last message of both sides, as the store has them."""
        return self._texts[self._train[index]]

    def spell(self, row: Row) -> str:
        """The tokens a side asks for, as text without control tokens."""
        return self._chat.tokenizer.decode(row.labels[row.labels >= 0].tolist(), skip_special_tokens=True)

    def row_id(self, index: int) -> str:
        return self.ids[self._train[index]]

    def ledger(self, used: np.ndarray) -> pa.Table:
        """A row per pair; `used` (bool per training pair) says which were reached."""
        reasons = list(self.reasons)
        for n, reached in zip(self._train, used):
            reasons[n] = None if reached else "train.not_reached"
        counts = [
            trained_tokens(p.chosen) + trained_tokens(p.rejected) if p and why is None else 0
            for p, why in zip(self._pairs, reasons)
        ]
        return Ledger.rows(
            self.ids,
            out=[None] * len(reasons),
            reason=reasons,
            note=_notes(self.unseen()),
            metrics={"train.tokens": counts},
        )

    def unseen(self) -> list[bool]:
        """Per pair of the store: is it used, and a side of it without reasoning that it has?"""
        return [
            pair is not None and why in USED and any(side.unseen for side in pair)
            for pair, why in zip(self._pairs, self.reasons)
        ]


def _longest(found: Sequence[Any], width: int) -> int:
    """Tokens of the longest segment; `width` where there is none."""
    return max((len(one.ids) for one in found), default=width)


def _notes(unseen: list[bool]) -> list[str | None]:
    return ["reasoning that the template leaves out" if one else None for one in unseen]


def _last(messages: list[dict] | None) -> str:
    return (messages[-1]["content"] or "") if messages else ""


def _tables(stores: Sequence[Store], columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Any:
    """Batches as dicts of `columns`, and of `optional` ones (null where a store has none). UsageError where one of `columns` is missing."""
    for store in stores:
        missing = [name for name in columns if store.shards() and name not in store.schema.names]
        if missing:
            raise UsageError(
                f"{store.name} has no column {', '.join(missing)}",
                "give a store made by this house, or one whose columns stand in `pipeline.schema`",
            )
        for shard in store.shards():
            for batch in store.batches(shard):
                kept = [name for name in (*columns, *optional) if name in batch.schema.names]
                yield {**{name: [None] * len(batch) for name in optional}, **batch.select(kept).to_pydict()}
