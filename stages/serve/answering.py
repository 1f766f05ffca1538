"""What `chat` and `serve` have in common: a model with the adapters on it, how answers are drawn, reasoning told from answers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pipeline.errors import UsageError
from stages.models.chat.calls import CallNotation, CallReader, ToolCall
from stages.models.chat.templates import schemas
from stages.models.inference.chain import ChainLink, chain_in
from stages.models.inference.generate import Generator, SamplingParams
from stages.models.teacher.reply import TAG

TEMPERATURE = 0.7
"""Of a model that names none (`generation_config.json`)."""
LONGEST_TAG = 13
"""Characters of the longest mark that `TAG` finds, and one more."""
WHY = {
    "chat.control_token": "the text spells a control token of the model's template",
    "chat.system": "the model's template takes no system turn",
    "chat.role": "the model's template does not know one of the roles",
    "chat.tools": "the tools, or the arguments of a call, are no JSON that the model's template takes",
    "chat.template": "the model's template refuses this conversation",
    "chat.empty": "there is an empty message",
    "over_context": "the conversation is longer than the model's context",
}
"""Reasons of `Generation.finish` in words."""


def chain_of_writers(refs: Sequence[str]) -> list[ChainLink]:
    """A model and adapters (stores, folders, addresses on the Hub) as a chain. UsageError for what cannot write."""
    chain = chain_in(refs)
    for link in chain:
        if link.card.get("objective") in ("mlm", "reward"):
            raise UsageError(
                f"the model in {link.path} was trained with objective {link.card['objective']}, so it cannot answer",
                "give one trained with objective clm, sft, dpo or rl",
            )
    return chain


def loaded(refs: Sequence[str], **options: Any) -> Generator:
    """The generator over them."""
    chain = chain_of_writers(refs)
    return Generator(chain[0], chain[1:], **options)


def drawn_as(generator: Generator, temperature: float | None, top_p: float | None, seed: int | None) -> SamplingParams:
    """How answers are drawn: as asked, else as the model's own `generation_config.json` says. Without a seed, another one each time."""
    own = generator.model.generation_config
    if temperature is None:
        temperature = own.temperature if own.do_sample and own.temperature is not None else TEMPERATURE
    return SamplingParams(
        temperature=temperature,
        top_p=top_p or own.top_p or 1.0,
        seed=secrets.randbits(32) if seed is None else seed,
    )


class SpokenPiece(NamedTuple):
    """A piece of what a model says."""

    text: str
    thought: bool
    """Is it reasoning, which stands before the answer?"""


class Parting:
    """Tells reasoning from the answer while both come in pieces: what stands before the answer between `<think>` and `</think>` or the
    like. `open`: the template has opened it already."""

    def __init__(self, open: bool = False):
        self.thinks, self._begun, self._waiting = open, False, ""

    def add(self, text: str, last: bool = False) -> Iterator[SpokenPiece]:
        """The pieces that are sure by now; what may be the beginning of a mark waits, unless it is the `last`."""
        self._waiting += text
        while tag := None if self._begun else TAG.search(self._waiting):
            before, self._waiting = self._waiting[: tag.start()], self._waiting[tag.end() :]
            if not self.thinks and before.strip():  # the answer itself speaks of the mark
                text, self._waiting = before + tag[0] + self._waiting, ""
                yield from self._piece(text)
                return
            yield from self._piece(before)
            self.thinks = not any(tag.groups())
        held = 0 if last or self._begun else self._uncertain()
        out, self._waiting = self._waiting[: len(self._waiting) - held], self._waiting[len(self._waiting) - held :]
        yield from self._piece(out)

    def _uncertain(self) -> int:
        """Characters at the end that a mark may begin with."""
        tail = self._waiting[-LONGEST_TAG:]
        at = max(tail.rfind(mark) for mark in "<[◁")
        return len(tail) - at if at >= 0 and not set("]>▷") & set(tail[at:]) else 0

    def _piece(self, text: str) -> Iterator[SpokenPiece]:
        if not self.thinks and not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        if text:
            yield SpokenPiece(text, self.thinks)


class AnswerReader:
    """Tells reasoning, words and calls of tools apart while all of them come in pieces. `tools`: the schemas of those it may call, as JSON
    text; without a `notation` nothing is a call."""

    def __init__(self, open: bool = False, notation: CallNotation | None = None, tools: str | None = None):
        self.part = Parting(open)
        self.calls = CallReader(notation.field, schemas(tools) or []) if notation and tools else None

    def add(self, text: str, last: bool = False) -> Iterator[SpokenPiece | ToolCall]:
        """What is sure by now; all that is left with the `last`."""
        for piece in self.part.add(text, last):
            if piece.thought or self.calls is None:
                yield piece
            else:
                yield from self._read(self.calls.add(piece.text))
        if last and self.calls is not None:
            yield from self._read(self.calls.add("", last=True))

    @staticmethod
    def _read(found: Iterator[str | ToolCall]) -> Iterator[SpokenPiece | ToolCall]:
        for one in found:
            yield SpokenPiece(one, False) if isinstance(one, str) else one


def opens_thinking(generator: Generator, messages: Sequence[dict[str, Any]], tools: str | None = None) -> bool:
    """Does the template open the reasoning itself, so that its mark does not stand in the answer?"""
    tags = list(TAG.finditer(generator.chat_template.render(messages, True, tools)[-64:]))
    return bool(tags) and not any(tags[-1].groups())
