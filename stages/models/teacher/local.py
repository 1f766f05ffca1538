"""A local Hugging Face model as a teacher: batched, journaled after every batch, one bad prompt never kills its batch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.errors import WorkError
from stages.models.teacher.base import BAD_ANSWER, REFUSED, TRUNCATED, Reply, Request, Sampling, TeacherOptions, batches

PROBES = 4
"""Prompts answered with and without the draft model before it is trusted."""
AHEAD = 16
"""Batches looked at together, so that the generator can pair prompts of like length."""


class LocalTeacher:
    """Backend for `kind: local`. The model is loaded at the first request that no journal answers."""

    def __init__(self, options: TeacherOptions):
        self.options = options
        self.name = options.name()
        self._generator = None
        self._proven = False

    def replies(self, requests: Iterable[tuple[str, Request]]) -> Iterator[list[Reply]]:
        size = self.options.max_in_flight
        for window in batches(requests, size * AHEAD):
            for sampling in dict.fromkeys(request.sampling for _, request in window):
                same = [pair for pair in window if pair[1].sampling == sampling]
                same.sort(key=lambda pair: (-sum(len(content) for _, content in pair[1].messages), pair[0]))
                for group in batches(same, size):
                    yield self._batch(group, sampling)

    def _batch(self, group: list[tuple[str, Request]], sampling: Sampling) -> list[Reply]:
        from stages.models.inference.generate import Generator, SamplingParams

        if self._generator is None:
            model, *adapters = (artefact_of(Path(folder)) for folder in self.options.folders())
            draft = artefact_of(Path(self.options.draft)) if self.options.draft else None
            self._generator = Generator(model, adapters, batch=self.options.max_in_flight, draft=draft)
        drawn = SamplingParams(
            sampling.max_tokens,
            sampling.temperature,
            sampling.top_p,
            sampling.seed or 0,
            sampling.stop,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        )
        began = time.monotonic()
        conversations = [
            [{"role": role, "content": content} for role, content in request.messages] for _, request in group
        ]
        if self._generator.draft is not None and drawn.assistable() and not self._proven:
            self._prove(conversations[:PROBES], drawn)
        answers = self._generator.chat(conversations, drawn)
        seconds = (time.monotonic() - began) / len(group)
        return [self._reply(key, request, made[0], seconds) for (key, request), made in zip(group, answers)]

    def _prove(self, conversations: list, drawn) -> None:
        """Answer the first prompts with the draft model and without: the same tokens, or the draft is refused."""
        helped = self._generator.chat(conversations, drawn)
        draft, self._generator.draft = self._generator.draft, None
        alone = self._generator.chat(conversations, drawn)
        self._generator.draft = draft
        if helped != alone:
            raise WorkError(
                "with the draft model the teacher answers otherwise than without it",
                "leave teacher.draft out; nothing was journaled",
            )
        self._proven = True

    def _reply(self, key: str, request: Request, made, seconds: float) -> Reply:
        base = Reply(
            request.id,
            key,
            model=self.name,
            finish_reason=made.finish,
            tokens_in=made.prompt_tokens,
            tokens_out=made.tokens,
            seconds=seconds,
        )
        if made.finish == "length":
            return replace(base, reason=TRUNCATED, note="the answer reached max_tokens")
        if made.finish == "over_context":
            return replace(base, reason=REFUSED, note="the prompt is longer than the model's context")
        if made.finish != "stop":
            return replace(base, reason=REFUSED, note=f"the prompt cannot be rendered: {made.finish}")
        if not made.text.strip():
            return replace(base, reason=BAD_ANSWER, note="the answer is empty")
        return replace(base, text=made.text.strip())


def artefact_of(folder: Path) -> Path:
    """The model folder inside a store made by a train step; any other folder as it is."""
    return folder / "artefact" if (folder / "receipts" / "artefact.json").is_file() else folder
