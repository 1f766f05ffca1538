"""How likely the model found each token of an answer, or of a text: natural logarithms of chances, before temperature, penalties and grammars."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from stages.models.byte_letters import letters, read

BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""A byte that a SentencePiece tokenizer knows no character for."""


class TokenScore(NamedTuple):
    """A token made, its log-probability, and the likeliest tokens in its position with theirs."""

    token: int
    logprob: float | None
    """None: of the first token of a text."""
    top: tuple[tuple[int, float], ...]


class TokenScores:
    """Takes them down while answers are made: the first logits processor, and a streamer. `top`: how many of the likeliest are kept."""

    def __init__(self, rows: int, top: int):
        self.top = top
        self.rows: list[list[TokenScore]] = [[] for _ in range(rows)]
        self._last: Any = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        self._last = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def put(self, tokens: Any) -> None:
        """The tokens taken in this step, one a row; what comes before the first step is the prompt."""
        if self._last is None:
            return
        chosen = self._last.gather(-1, tokens[:, None].to(self._last.device))[:, 0].tolist()
        found = self._last.topk(min(self.top, self._last.shape[-1])) if self.top else None
        for row, (token, logprob) in enumerate(zip(tokens.tolist(), chosen)):
            top = tuple(zip(found.indices[row].tolist(), found.values[row].tolist())) if found else ()
            self.rows[row].append(TokenScore(token, logprob, top))

    def end(self) -> None:
        """All tokens are made."""


def scores_of(model: Any, ids: np.ndarray, top: int, threads: int) -> tuple[TokenScore, ...]:
    """The scores of all tokens of a text, by one forward pass over it."""
    import torch

    from stages.models.chat.rows import collate, join, segment
    from stages.models.inference.device import arithmetic
    from stages.models.inference.score import likeliest

    with arithmetic(threads), torch.inference_mode():
        logps, *found = likeliest(model, collate([join([segment(ids)])], 0, model.device), top)
    tops = [tuple(zip(*pair)) for pair in zip(*(part.tolist() for part in found))]
    rest = [TokenScore(*one) for one in zip(ids[1:].tolist(), logps.tolist(), tops)]
    return TokenScore(int(ids[0]), None, ()), *rest


class TokenBytes:
    """The bytes of single tokens, which may be a part of a character."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self._added = tokenizer, tokenizer.get_added_vocab()
        self._by_letters = letters()[0x20] in tokenizer.get_vocab()

    def __call__(self, token: int) -> bytes:
        word = self.tokenizer.convert_ids_to_tokens(token)
        if word is None:  # an entry of the last layer beyond the vocabulary
            return b""
        if word in self._added:
            return word.encode()
        if BYTE.fullmatch(word):
            return bytes([int(word[3:5], 16)])
        if self._by_letters and (found := read(word)) is not None:
            return found
        return word.replace("▁", " ").encode()
