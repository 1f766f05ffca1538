"""How much a question helps with its answer: IFD and perplexity of conversations under a local model.

Instruction-following difficulty (Li et al. 2023, "From Quantity to Quality", Cherry LLM): the model's mean loss on the answer
after the question, over its mean loss on the same answer alone. Near 0 the question gives the answer away, above 1 it does
not help at all; what is worth training on lies high but below 1. Three things decide whether the number means anything, and
are kept here: the conversation is rendered by the model's own template; both terms ask for exactly the same tokens, the one
that ends the turn included; and padding takes no part, so that a row's score is the same in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.models.chat.rows import Row, join, segment
from stages.models.chat.templates import Chat, ChatFault


class Score(NamedTuple):
    """Of one conversation's last answer; nan where it could not be scored, with the reason."""

    after: float
    """Mean loss on the answer after all that was said before it, nats per token."""
    alone: float
    """Mean loss on the same tokens behind nothing but the opening of an assistant's turn."""
    tokens: int
    reason: str | None = None

    @property
    def ifd(self) -> float:
        return self.after / self.alone if self.alone > 0 else float("nan")

    @property
    def perplexity(self) -> float:
        return float(np.exp(self.after))


class Terms(NamedTuple):
    """Both terms of one conversation as rows that ask for the same tokens."""

    after: Row
    alone: Row
    tokens: int


def terms(chat: Chat, messages: Sequence[dict[str, str]], width: int, tools: str | None = None) -> Terms:
    """The last answer after its conversation, and alone. ChatFault where there is none or it does not fit."""
    if not messages or messages[-1]["role"] != "assistant":
        raise ChatFault("chat.no_answer")
    encoded = chat.encode(messages, 1, tools)
    if len(encoded.ids) > width:
        raise ChatFault("chat.over_context")
    positions = np.flatnonzero(encoded.trained)
    if not len(positions):
        raise ChatFault("chat.all_masked")
    first, last = int(positions[0]), int(positions[-1]) + 1
    opening = encoded.ids[max(0, first - opening_size(chat, messages, tools)) : first]
    bos = chat.tokenizer.bos_token_id
    front = [] if bos is None or int(encoded.ids[0]) != bos or (len(opening) and int(opening[0]) == bos) else [bos]
    answer, trained = encoded.ids[first:last], encoded.trained[first:last].copy()
    before = np.concatenate([np.asarray(front, np.int32), opening]).astype(np.int32)
    counted = encoded.trained.copy()
    if not len(before):
        # Nothing stands in front of the answer when it is alone: its first token cannot be asked for there, so nowhere.
        trained[0] = counted[first] = False
    if not trained.any():
        raise ChatFault("chat.all_masked")
    alone = segment(np.concatenate([before, answer]), np.concatenate([np.zeros(len(before), bool), trained]))
    return Terms(join([segment(encoded.ids[:last], counted[:last])]), join([alone]), int(trained.sum()))


def opening_size(chat: Chat, messages: Sequence[dict[str, str]], tools: str | None = None) -> int:
    """Tokens by which the template opens an assistant's turn."""
    counted = list(messages[:-1])
    if not counted:
        return 0
    opened = chat.tokenizer(chat.render(counted, True, tools), add_special_tokens=False)["input_ids"]
    closed = chat.tokenizer(chat.render(counted, False, tools), add_special_tokens=False)["input_ids"]
    return len(opened) - len(closed) if opened[: len(closed)] == closed else 0


def score(
    model: Any,
    chat: Chat,
    conversations: Sequence[Sequence[dict[str, str]]],
    batch: int,
    device: Any,
    width: int,
    tools: Sequence[str | None] | None = None,
) -> list[Score]:
    """The score of every conversation's last answer, in the order given; `tools` holds the schemas of each, as JSON text."""
    found: list[Score | None] = []
    todo: list[tuple[int, Terms]] = []
    for number, messages in enumerate(conversations):
        try:
            todo.append((number, terms(chat, messages, width, tools[number] if tools else None)))
            found.append(None)
        except ChatFault as fault:
            found.append(Score(float("nan"), float("nan"), 0, fault.reason))
    after = _means(model, [one.after for _, one in todo], batch, device, chat.tokenizer.pad_token_id)
    alone = _means(model, [one.alone for _, one in todo], batch, device, chat.tokenizer.pad_token_id)
    for (number, one), with_it, without in zip(todo, after.tolist(), alone.tolist()):
        found[number] = Score(with_it, without, one.tokens)
    return found  # type: ignore[return-value]


def _means(model: Any, rows: Sequence[Row], batch: int, device: Any, pad: int) -> np.ndarray:
    """Mean loss per row (float64), longest rows together."""
    import torch

    from stages.models.chat.rows import IGNORED, collate
    from stages.models.inference.score import token_logps

    found = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda n: (-len(rows[n].ids), n))
    with torch.no_grad():
        for at in range(0, len(order), batch):
            some = order[at : at + batch]
            packed = collate([rows[n] for n in some], pad, device)
            count = (packed.labels != IGNORED).sum(dim=1)
            found[some] = (-token_logps(model, packed).double().sum(dim=1) / count).cpu().numpy()
    return found
