"""vLLM in this very run, as an actor on Ray: for a machine with accelerators and no server.

vLLM is not among the project's dependencies (it pins its own torch); where it is not installed, that is said at once. The
actor asks Ray for the accelerators it needs, so that it is placed on a node that has them. What it answers is journaled
like any other teacher's replies, window by window.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pipeline.errors import OptionError
from stages.models.teacher.base import BAD_ANSWER, REFUSED, TRUNCATED, Reply, Request, TeacherOptions, batches

AHEAD = 16
"""Windows of `max_in_flight` handed over at once: vLLM schedules them itself; a kill loses at most so many answers."""


class VllmTeacher:
    """Backend for `kind: vllm`. The model is loaded at the first request that no journal answers."""

    def __init__(self, options: TeacherOptions):
        missing = [name for name in ("ray", "vllm") if importlib.util.find_spec(name) is None]
        if missing:
            hint = "install it beside Maetdol on a machine with accelerators, or serve the model (`vllm serve`) and use kind: endpoint"
            raise OptionError(f"a teacher of kind vllm needs {' and '.join(missing)}, which is not installed", hint)
        self.options = options
        self.name = options.name()
        self._actor: Any = None

    def replies(self, requests: Iterable[tuple[str, Request]]) -> Iterator[list[Reply]]:
        import ray

        for window in batches(requests, self.options.max_in_flight * AHEAD):
            if self._actor is None:
                self._actor = self._start()
            calls = [
                ([{"role": r, "content": c} for r, c in request.messages], request.sampling.sent())
                for _, request in window
            ]
            began = time.monotonic()
            answers = ray.get(self._actor.answer.remote(calls))
            seconds = (time.monotonic() - began) / len(window)
            yield [self._reply(key, request, given, seconds) for (key, request), given in zip(window, answers)]

    def _start(self) -> Any:
        import ray

        if not ray.is_initialized():
            ray.init(address="local", log_to_driver=False)
        return ray.remote(num_gpus=self.options.gpus)(Engine).remote(self.options.folders()[0], self.options.gpus)

    def _reply(self, key: str, request: Request, given: dict[str, Any], seconds: float) -> Reply:
        base = Reply(
            request.id,
            key,
            model=self.name,
            finish_reason=given["finish"],
            tokens_in=given["tokens_in"],
            tokens_out=given["tokens_out"],
            seconds=seconds,
        )
        if given["fault"]:
            return replace(base, reason=REFUSED, note=given["fault"])
        if given["finish"] == "length":
            return replace(base, reason=TRUNCATED, note="the answer reached max_tokens")
        if given["finish"] != "stop" or not given["text"].strip():
            return replace(
                base,
                reason=BAD_ANSWER,
                note="the answer is empty" if given["finish"] == "stop" else "finish_reason is not stop",
            )
        return replace(base, text=given["text"].strip())


class Engine:
    """What runs in the actor: one vLLM engine. Conversations that it refuses are refused one by one."""

    def __init__(self, folder: str, gpus: int):
        from vllm import LLM

        self.model = LLM(model=folder, tensor_parallel_size=gpus, trust_remote_code=False)

    def answer(self, calls: list[tuple[list[dict], dict[str, Any]]]) -> list[dict[str, Any]]:
        try:
            return self._chat(calls)
        except ValueError as fault:
            if len(calls) == 1:
                return [
                    {
                        "text": "",
                        "finish": "",
                        "tokens_in": None,
                        "tokens_out": None,
                        "fault": f"vLLM refuses the prompt: {type(fault).__name__}",
                    }
                ]
            return [self.answer([one])[0] for one in calls]

    def _chat(self, calls: list[tuple[list[dict], dict[str, Any]]]) -> list[dict[str, Any]]:
        from vllm import SamplingParams

        made = self.model.chat(
            [messages for messages, _ in calls], [SamplingParams(**sampling) for _, sampling in calls], use_tqdm=False
        )
        return [
            {
                "text": one.outputs[0].text, "finish": one.outputs[0].finish_reason or "", "tokens_in": len(one.prompt_token_ids or ()),
                "tokens_out": len(one.outputs[0].token_ids), "fault": "",
            }
            for one in made
        ]  # fmt: skip
