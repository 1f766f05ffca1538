"""Requests on their way to the model: what is asked of it for each, and who hears of the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from stages.models.chat.call_grammar import CallGrammar, UnheldCall, call_form
from stages.models.chat.calls import CHANNELS, ToolCall
from stages.models.chat.templates import ChatFault, schemas
from stages.models.inference.generate import Generator, Prompt, SamplingParams
from stages.models.inference.grammar import Grammar
from stages.models.inference.token_scores import TokenScore, scores_of
from stages.serve.answering import WHY, AnswerReader, SpokenPiece, opens_thinking
from stages.serve.requests import DemandedCall, RequestFault

BEHIND = 8
"""Ids of a text that what goes on with it is decoded behind."""


class AnswerEvent(NamedTuple):
    """A part of an answer, and the scores of the tokens that came since the part before it."""

    sample: int
    part: SpokenPiece | ToolCall | None
    """None where only scores are left."""
    scores: tuple[TokenScore, ...] = ()


class EchoedPrompt(NamedTuple):
    """The text that answer `sample` goes on with; where scores are wanted, those of its tokens, and the characters of a text they begin
    at."""

    sample: int
    text: str
    scores: tuple[TokenScore, ...] = ()
    offsets: tuple[int, ...] = ()


@dataclass
class Job(ABC):
    """A request on its way. `tell` is called from the worker's thread: with an event for each part while answers are made, at last with
    the answers, or with an exception. Answers are numbered through: `n` to the first prompt, `n` to the next."""

    sampling: SamplingParams
    seed: int
    n: int
    tell: Callable[[Any], None]
    wanted: bool = field(default=True, kw_only=True)
    """Set to false where the client is gone."""
    prompts: list[Prompt] = field(default_factory=list, kw_only=True)
    scores: list[list[TokenScore]] = field(default_factory=list, kw_only=True)
    """Of tokens whose text is not handed on yet."""

    @property
    def size(self) -> int:
        """How many answers are made."""
        return self.n

    @abstractmethod
    def prepare(self, generator: Generator) -> None:
        """Make the prompts. RequestFault or ChatFault where the job cannot be answered."""

    def hear(self, sample: int, text: str, last: bool = False) -> bool:
        """Hand on a piece; false where no more is wanted."""
        for part in self.parts(sample, text, last):
            self._tell(sample, part)
        if last and self.scores[sample]:
            self._tell(sample, None)
        return self.wanted

    def parts(self, sample: int, text: str, last: bool) -> Any:
        """What is sure by now of an answer that goes on with `text`."""
        return [SpokenPiece(text, False)] if text else []

    def _tell(self, sample: int, part: SpokenPiece | ToolCall | None) -> None:
        scores, self.scores[sample] = tuple(self.scores[sample]), []
        self.tell(AnswerEvent(sample, part, scores))


@dataclass
class ChatJob(Job):
    """Answers to a conversation."""

    messages: list[dict[str, Any]]
    tools: str | None = None
    """Schemas of the tools it may call, as JSON text."""
    answer_schema: dict[str, Any] | None = None
    """A JSON schema that the answers are held to."""
    demanded: DemandedCall | None = None
    """The call that the answers have to make."""
    readers: list[AnswerReader] = field(default_factory=list)

    def parts(self, sample: int, text: str, last: bool) -> Any:
        return self.readers[sample].add(text, last)

    def prepare(self, generator: Generator) -> None:
        template = generator.chat_template
        prompt = template.prompt(self.messages, self.tools)
        if self.tools and np.array_equal(prompt, template.prompt(self.messages)):
            raise RequestFault(400, "tools: the model's template shows none")
        if self.tools and template.notation is None:
            raise RequestFault(400, "tools: the model's template writes calls in no notation that can be read here")
        check_room(generator, prompt, 1)
        thinks = opens_thinking(generator, self.messages, self.tools)
        notation = template.notation if self.tools else None
        self.prompts = [Prompt(prompt, notation, self._grammar(generator, thinks))]
        self.readers = [AnswerReader(thinks, notation, self.tools) for _ in range(self.n)]

    def _grammar(self, generator: Generator, thinks: bool) -> Grammar | None:
        if self.demanded is not None:
            return self._held_to_calls(generator, self.demanded, thinks)._replace(after_reasoning=thinks)
        if self.answer_schema is None:
            return None
        if generator.tokenizer.get_added_vocab().keys() >= set(CHANNELS):
            raise RequestFault(400, "response_format: answers of a model that speaks in channels cannot be held to one")
        try:
            return generator.grammars.compile(self.answer_schema)._replace(after_reasoning=thinks)
        except UsageError as fault:
            raise RequestFault(400, f"response_format: {fault.message}: {fault.hint}") from None

    def _held_to_calls(self, generator: Generator, demanded: DemandedCall, thinks: bool) -> Grammar:
        form = call_form(generator.chat_template)
        if form is None:
            raise RequestFault(400, "tool_choice: the model's template writes calls in a way that cannot be demanded")
        tools = [tool for tool in schemas(self.tools) or [] if demanded.name in (None, tool["function"]["name"])]
        added = generator.tokenizer.added_tokens_decoder
        special = {token.content: number for number, token in added.items() if token.special}
        try:
            lark = CallGrammar(form, tools, special).lark(demanded.several, thinks)
            return generator.grammars.compile_lark(lark)
        except UnheldCall as fault:
            raise RequestFault(400, f"tool_choice: {fault}") from None
        except UsageError as fault:
            raise RequestFault(400, f"tool_choice: {fault.message}: {fault.hint}") from None


@dataclass
class CompletionJob(Job):
    """Continuations of texts, or of token ids."""

    texts: list[str | list[int]]
    echo: bool = False
    opening: bool = True
    """A text begins with what texts of this model begin with."""

    @property
    def size(self) -> int:
        return self.n * len(self.texts)

    def prepare(self, generator: Generator) -> None:
        encoded = [self._encoded(generator, text) for text in self.texts]
        for ids, _, _ in encoded:
            check_room(generator, ids, min(1, self.sampling.max_new_tokens))
        self.prompts = [Prompt(ids, behind=_behind(generator.tokenizer, ids)) for ids, _, _ in encoded]
        if self.echo:
            for number, (ids, text, offsets) in enumerate(encoded):
                top = self.sampling.logprobs
                scores = () if top is None else scores_of(generator.model, ids, top, generator.threads)
                for sample in range(self.n):
                    echoed = EchoedPrompt(self.n * number + sample, text, scores, offsets if scores else ())
                    self.tell(echoed)

    def _encoded(self, generator: Generator, text: str | list[int]) -> tuple[np.ndarray, str, tuple[int, ...]]:
        """Ids, text, and, where a text was given, the character that each id begins at. Control tokens in a text are read as such: no turns are
        forged in a prompt that is all the client's own."""
        tokenizer = generator.tokenizer
        if isinstance(text, str):
            opening = generator.opening if self.opening else []
            found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids, offsets = found["input_ids"], [start for start, _ in found["offset_mapping"]]
            if ids[: len(opening)] == opening:  # the text has it already
                opening = []
            return np.asarray(opening + ids, np.int32), text, (*[0] * len(opening), *offsets)
        size = generator.model.get_input_embeddings().weight.shape[0]
        if not all(0 <= one < size for one in text):
            raise RequestFault(400, f"prompt: token ids of this model are 0 to {size - 1:,}")
        return np.asarray(text, np.int32), tokenizer.decode(text), ()


def check_room(generator: Generator, prompt: np.ndarray, more: int) -> None:
    """RequestFault where a prompt is empty, or no room is left behind it for `more` tokens."""
    if not len(prompt):
        raise RequestFault(400, "the prompt is empty")
    if len(prompt) + more > generator.context:
        words = f"the prompt has {len(prompt):,} tokens, the context {generator.context:,}"
        raise RequestFault(400, words, "context_length_exceeded")


def _behind(tokenizer: Any, ids: np.ndarray) -> tuple[int, ...]:
    """The last ids, where they end with a whole character."""
    last = tuple(ids[-BEHIND:].tolist())
    return () if tokenizer.decode(last, skip_special_tokens=True).endswith("\ufffd") else last


def why_not(fault: ChatFault) -> RequestFault:
    """A conversation that its template refuses, as clients are told."""
    return RequestFault(400, f"{WHY.get(fault.reason, fault.reason)} ({fault.reason})")
