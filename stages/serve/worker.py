"""One thread that computes: requests that wait are answered together, where they draw alike.

What an answer is depends on its own prompt, sampling and seed (`stages.models.inference.generate`), so that it is the same alone and
beside others.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from stages.models.chat.calls import CHANNELS, ToolCall
from stages.models.chat.templates import ChatFault
from stages.models.inference.generate import Generation, Generator, SamplingParams
from stages.models.inference.grammar import Grammar
from stages.models.inference.token_scores import TokenScore
from stages.serve.answering import WHY, AnswerReader, SpokenPiece, opens_thinking
from stages.serve.requests import RequestFault


class AnswerEvent(NamedTuple):
    """A part of an answer, and the scores of the tokens that came since the part before it."""

    sample: int
    part: SpokenPiece | ToolCall | None
    """None where only scores are left."""
    scores: tuple[TokenScore, ...] = ()


@dataclass
class ChatJob:
    """A request on its way. `tell` is called from the worker's thread: with an AnswerEvent for each part while answers are made, at last
    with the answers, or with an exception."""

    messages: list[dict[str, Any]]
    sampling: SamplingParams
    seed: int
    n: int
    tell: Callable[[Any], None]
    tools: str | None = None
    """Schemas of the tools it may call, as JSON text."""
    answer_schema: dict[str, Any] | None = None
    """A JSON schema that the answers are held to."""
    wanted: bool = True
    """Set to false where the client is gone."""
    readers: list[AnswerReader] = field(default_factory=list)
    scores: list[list[TokenScore]] = field(default_factory=list)
    """Of tokens whose text is not handed on yet."""
    grammar: Grammar | None = None

    def hear(self, sample: int, text: str, last: bool = False) -> bool:
        """Hand on a piece; false where no more is wanted."""
        for part in self.readers[sample].add(text, last):
            self._tell(sample, part)
        if last and self.scores[sample]:
            self._tell(sample, None)
        return self.wanted

    def _tell(self, sample: int, part: SpokenPiece | ToolCall | None) -> None:
        scores, self.scores[sample] = tuple(self.scores[sample]), []
        self.tell(AnswerEvent(sample, part, scores))


class ChatWorker(threading.Thread):
    """Answers jobs until `end`."""

    def __init__(self, generator: Generator, waiting: int):
        super().__init__(name="answers", daemon=True)
        self.generator = generator
        self.jobs: queue.Queue[ChatJob | None] = queue.Queue(waiting)
        self._next: ChatJob | None = None
        self._ended = False
        self._door = threading.Lock()
        """Held while a job comes in, or nothing more is to come."""

    def submit(self, job: ChatJob) -> bool:
        """Put a job in the queue; false where it is full, or nothing is answered any more."""
        with self._door:
            if self._ended:
                return False
            try:
                self.jobs.put_nowait(job)
            except queue.Full:
                return False
            return True

    def end(self) -> None:
        """No more jobs; those that wait are told, what is under way is answered."""
        with self._door:
            self._ended = True
            try:
                while True:
                    self._turn_away(self.jobs.get_nowait())
            except queue.Empty:
                self.jobs.put_nowait(None)

    @staticmethod
    def _turn_away(job: ChatJob | None) -> None:
        if job is not None:
            job.tell(RequestFault(503, "the server is ending: ask again later", "ending"))

    def run(self) -> None:
        while not self._ended:
            job = self._next or self.jobs.get()
            self._next = None
            if job is None:
                break
            together = self._alike(job)
            ready = [one for one in together if one.wanted and self._ready(one)]
            if not ready:
                continue
            try:
                made = self._answers(ready)
            except Exception as fault:  # one batch that fails (out of memory) does not end the server
                for one in ready:
                    one.tell(fault)
                continue
            for one, answers in zip(ready, made):
                self._close(one, answers)
        self._turn_away(self._next)

    def _answers(self, ready: list[ChatJob]) -> list[list[Generation]]:
        prompts, seeds = [one.messages for one in ready], [one.seed for one in ready]

        def on_text(row: int, sample: int, text: str) -> bool:
            return ready[row].hear(sample, text)

        def on_score(row: int, sample: int, score: TokenScore) -> None:
            ready[row].scores[sample].append(score)

        return self.generator.chat(
            prompts, ready[0].sampling, ready[0].n, [one.tools for one in ready], on_text=on_text, seeds=seeds,
            read_calls=True, grammars=[one.grammar for one in ready], on_score=on_score,
        )  # fmt: skip

    def _alike(self, job: ChatJob) -> list[ChatJob]:
        """`job` and those behind it that draw alike, as many as are answered at a time."""
        found = [job]
        while len(found) * job.n < self.generator.batch:
            try:
                other = self.jobs.get_nowait()
            except queue.Empty:
                break
            if other is None or (other.sampling, other.n) != (job.sampling, job.n):
                self._next = other
                self._ended |= other is None
                break
            found.append(other)
        return found

    def _ready(self, job: ChatJob) -> bool:
        """Can the job be answered? If not it is told why."""
        try:
            self._prepare(job)
            return True
        except ChatFault as fault:
            job.tell(RequestFault(400, f"{WHY.get(fault.reason, fault.reason)} ({fault.reason})"))
        except Exception as fault:  # a template or tokenizer that fails on one conversation does not end the server
            job.tell(fault)
        return False

    def _prepare(self, job: ChatJob) -> None:
        """RequestFault or ChatFault where the job cannot be answered."""
        template = self.generator.chat_template
        prompt = template.prompt(job.messages, job.tools)
        if job.tools and np.array_equal(prompt, template.prompt(job.messages)):
            raise RequestFault(400, "tools: the model's template shows none")
        if job.tools and template.notation is None:
            raise RequestFault(400, "tools: the model's template writes calls in no notation that can be read here")
        if len(prompt) >= self.generator.context:
            words = f"the prompt has {len(prompt):,} tokens, the context {self.generator.context:,}"
            raise RequestFault(400, words, "context_length_exceeded")
        thinks = opens_thinking(self.generator, job.messages, job.tools)
        job.grammar = self._grammar(job.answer_schema, thinks)
        job.readers = [AnswerReader(thinks, template.notation if job.tools else None, job.tools) for _ in range(job.n)]
        job.scores = [[] for _ in range(job.n)]

    def _grammar(self, schema: dict[str, Any] | None, thinks: bool) -> Grammar | None:
        if schema is None:
            return None
        if self.generator.tokenizer.get_added_vocab().keys() >= set(CHANNELS):
            raise RequestFault(400, "response_format: answers of a model that speaks in channels cannot be held to one")
        try:
            return self.generator.grammars.compile(schema)._replace(after_reasoning=thinks)
        except UsageError as fault:
            raise RequestFault(400, f"response_format: {fault.message}: {fault.hint}") from None

    def _close(self, job: ChatJob, answers: list[Generation]) -> None:
        for sample in range(job.n):
            job.hear(sample, "", last=True)
        job.tell(answers)
