"""Answers while they are made: pieces of text as soon as their characters are whole, up to the end mark or a stop string.

The pieces of an answer, joined, are the text that `Generator.chat` returns for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import UsageError
from stages.models.chat.calls import CHANNELS, CallNotation
from stages.models.inference.token_scores import TokenScore, TokenScores

PENDING = 16
"""Tokens that may wait for the rest of a character; bytes that are none are given out after them."""

REASONS = "analysis"
"""The channel of what is thought before an answer."""
RECIPIENT = re.compile(r"to=functions\.([^\s<]+)")
"""Whom a message in a channel goes to: the tool it calls."""


class Channels:
    """Tells text from the marks and names of channels, which decoding would leave out (the marks) and leave in (the names). Reasoning is
    put between `<think>` and `</think>`, which whoever reads an answer here knows.

    `calls`: calls of tools are wanted: the marks they are made of are kept, and one in a channel is written as Hermes writes it."""

    def __init__(self, tokenizer: Any, calls: CallNotation | None = None):
        words = tokenizer.get_added_vocab()
        self.tokenizer = tokenizer
        self.marks = {words[mark]: mark for mark in CHANNELS} if words.keys() >= set(CHANNELS) else {}
        self.kept = {words[mark]: mark for mark in calls.marks} if calls else {}
        self.calls = calls is not None
        self.header: list[int] | None = [] if self.marks and self.calls else None  # the prompt has opened it
        self.thinks = self.in_call = False
        self._role = ""

    def add(self, token: int) -> str | None:
        """What is said in the place of `token`; None where it is text."""
        if token in self.kept:
            return self.kept[token]
        if not self.marks:
            return None
        mark = self.marks.get(token)
        if mark in ("<|channel|>", "<|start|>"):
            self._role = self._named() if mark == "<|channel|>" else ""
            self.header = []
            return self._end_call()
        if mark == "<|message|>" and self.header is not None:
            return self._end_call() + self._begin(self._role + " " + self._named())
        if mark is None and self.header is None:
            return None
        if mark is None:
            self.header.append(token)  # type: ignore[union-attr]
            return ""
        return self._end_call()

    def left(self) -> str:
        """What stands at the end of an answer for what is not over."""
        rest = self._named() if self.calls and not self._role else ""
        return rest + self._end_call()

    def _named(self) -> str:
        return self.tokenizer.decode(self.header or [], skip_special_tokens=True)

    def _begin(self, header: str) -> str:
        """A message begins. What its header says: reasoning, a call, or an answer."""
        self.header, self._role = None, ""
        was, self.thinks = self.thinks, REASONS in header.split()
        written = "" if was == self.thinks else "<think>" if self.thinks else "</think>"
        called = RECIPIENT.search(header) if self.calls else None
        if called is None:
            return written
        self.in_call = True
        return f'{written}<tool_call>{{"name": {json.dumps(called[1])}, "arguments": '

    def _end_call(self) -> str:
        was, self.in_call = self.in_call, False
        return "}</tool_call>" if was else ""


def spelled(
    tokenizer: Any, ids: Sequence[int], calls: CallNotation | None = None, behind: Sequence[int] | None = None
) -> str:
    """The text of an answer, without control tokens but those that `calls` are made of; `behind`: the ids of a text it goes on with."""
    if behind is not None:
        before = tokenizer.decode(behind, skip_special_tokens=True)
        return tokenizer.decode([*behind, *ids], skip_special_tokens=True)[len(before) :]
    channels = Channels(tokenizer, calls)
    if not channels.marks and not channels.kept:
        return tokenizer.decode(ids, skip_special_tokens=True)
    parts: list[str] = []
    text: list[int] = []
    for token in ids:
        if (instead := channels.add(token)) is None:
            text.append(token)
            continue
        parts += [tokenizer.decode(text, skip_special_tokens=True), instead]
        text = []
    return "".join(parts) + tokenizer.decode(text, skip_special_tokens=True) + channels.left()


class Pieces:
    """Tokens of one answer, one after another, into pieces of text.

    Cost per token does not grow with the answer: what is decoded are the tokens since the piece before the last one (without those a
    decoder takes away the blank in front of a word). `words`: strings that end the answer; what may be the beginning of one waits.
    `behind`: the ids of a text it goes on with, channels and calls being words there.
    """

    def __init__(
        self,
        tokenizer: Any,
        words: Sequence[str] = (),
        calls: CallNotation | None = None,
        behind: Sequence[int] | None = None,
    ):
        self.tokenizer, self.words = tokenizer, words
        self.channels = Channels(tokenizer, calls) if behind is None else None
        self.ids = list(behind or ())
        self._before, self._given = 0, len(self.ids)
        self._waiting = ""
        self.emitted = ""
        """The pieces so far."""
        self.ended = False
        """Was a stop string met?"""

    def add(self, token: int) -> str:
        """The piece that `token` makes whole; often empty."""
        if self.ended:
            return ""
        if self.channels and (instead := self.channels.add(token)) is not None:
            rest = self._text(self.ids[self._before :])[len(self._text(self.ids[self._before : self._given])) :]
            self._before = self._given = len(self.ids)
            return self._out(rest + instead)
        self.ids.append(token)
        old, new = self._text(self.ids[self._before : self._given]), self._text(self.ids[self._before :])
        if len(new) <= len(old) or (new.endswith("\ufffd") and len(self.ids) - self._given < PENDING):
            return ""
        self._before, self._given = self._given, len(self.ids)
        return self._out(new[len(old) :])

    def ends_at(self, ids: Sequence[int]) -> int:
        """How many of the tokens it takes until a stop string is met; all where none is."""
        for count, token in enumerate(ids, 1):
            self.add(token)
            if self.ended:
                return count
        return len(ids)

    def rest(self, text: str) -> str:
        """What is left of the whole answer `text`."""
        left = text[len(self.emitted) :] if text.startswith(self.emitted) else ""
        self.emitted += left
        return left

    def _text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _out(self, piece: str) -> str:
        self._waiting += piece
        sure = len(self._waiting) - begun(self._waiting, self.words)
        upto = min((at for word in self.words if (at := self._waiting.find(word)) >= 0), default=sure + 1)
        self.ended = upto <= sure  # one that begins later waits: an earlier one may be on its way
        upto = min(upto, sure)
        out, self._waiting = self._waiting[:upto], self._waiting[upto:]
        self.emitted += out
        return out


def begun(text: str, words: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `words`.

    >>> begun("so\\n", ["\\n\\nUser:"]), begun("so", ["User:"]), begun("aaU", ["Us", "aUx"])
    (1, 0, 2)
    """
    sizes = (
        size for word in words for size in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:size])
    )
    return max(sizes, default=0)


class Listener:
    """Hears every token of a batch: a streamer and a stopping criterion of transformers in one.

    `told[row](piece)` gets each piece of a row's answer and says whether any more is wanted; generation ends where no row wants more.
    """

    def __init__(
        self,
        rows: Sequence[Pieces],
        on_text: Sequence[Callable[[str], bool]],
        ends: set[int],
        scores: TokenScores | None = None,
        on_score: Sequence[Callable[[TokenScore], None]] | None = None,
    ):
        self.rows, self.on_text, self.ends = rows, on_text, ends
        self.open = [True] * len(on_text)
        self.scores, self.on_score = scores, on_score
        self._prompt = True

    def put(self, tokens: Any) -> None:
        if self.scores is not None:
            self.scores.put(tokens)
        if self._prompt:
            self._prompt = False
            return
        for row, token in enumerate(tokens.tolist()):
            if self.open[row]:
                self.open[row] = token not in self.ends and self._add(row, token)
                self.open[row] &= not self.rows[row].ended

    def _add(self, row: int, token: int) -> bool:
        if self.scores is not None and self.on_score is not None:
            self.on_score[row](self.scores.rows[row][-1])
        return self._tell(row, self.rows[row].add(token))

    def end(self) -> None:
        """All tokens are made."""

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        return torch.full((len(input_ids),), not any(self.open), dtype=torch.bool, device=input_ids.device)

    def close(self, row: int, text: str) -> None:
        """Tell the rest of a row whose answer is `text`."""
        self._tell(row, self.rows[row].rest(text))

    def _tell(self, row: int, piece: str) -> bool:
        return not piece or self.on_text[row](piece)


def check_alone(draft: Any) -> None:
    """UsageError where a draft model is given: it hands out tokens that may be taken back."""
    if draft is not None:
        raise UsageError("answers are not streamed with a draft model", "leave out `draft`")
