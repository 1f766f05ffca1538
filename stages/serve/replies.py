"""Answers in the form of OpenAI's chat completions, whole or in chunks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from stages.models.chat.calls import ToolCall
from stages.models.inference.generate import Generation
from stages.models.inference.token_scores import TokenScore
from stages.serve.worker import AnswerEvent

LEAST = -9999.0
"""Written for the logarithm of a chance of nothing, as OpenAI does: JSON has no infinity."""


class ChatChoice:
    """One answer, from its events. `bytes_of`: the bytes of a token. `scored`: log-probabilities are wanted."""

    def __init__(self, index: int, bytes_of: Callable[[int], bytes], scored: bool):
        self.index, self.bytes_of, self.scored = index, bytes_of, scored
        self.words: dict[bool, list[str]] = {True: [], False: []}
        self.calls: list[dict[str, Any]] = []

    def add(self, event: AnswerEvent) -> dict[str, Any]:
        """What the chunk of an event says."""
        return self._chunk(self._delta(event), None, event.scores)

    def opening(self) -> dict[str, Any]:
        """What the first chunk says."""
        return self._chunk({"role": "assistant", "content": ""}, None, ())

    def closing(self, made: Generation) -> dict[str, Any]:
        """What the last chunk says."""
        return self._chunk({}, self._finish(made), ())

    def whole(self, made: Generation) -> dict[str, Any]:
        """The choice of a reply that is not streamed."""
        reasoning, content = "".join(self.words[True]).strip(), "".join(self.words[False])
        message: dict[str, Any] = {"role": "assistant", "content": content}
        message |= {"reasoning_content": reasoning} if reasoning else {}
        if self.calls:
            calls = [{name: value for name, value in call.items() if name != "index"} for call in self.calls]
            message |= {"content": content.strip() or None, "tool_calls": calls}
        return {
            "index": self.index,
            "message": message,
            "finish_reason": self._finish(made),
            "logprobs": self._logprobs(made.scores or ()) if self.scored else None,
        }

    def _delta(self, event: AnswerEvent) -> dict[str, Any]:
        if event.part is None:
            return {}
        if isinstance(event.part, ToolCall):
            self.calls.append(
                {"index": len(self.calls), "id": call_id(), "type": "function", "function": event.part._asdict()}
            )
            return {"tool_calls": self.calls[-1:]}
        self.words[event.part.thought].append(event.part.text)
        return {"reasoning_content" if event.part.thought else "content": event.part.text}

    def _finish(self, made: Generation) -> str:
        return "tool_calls" if self.calls and made.finish == "stop" else made.finish

    def _chunk(self, delta: dict[str, Any], finish: str | None, scores: Sequence[TokenScore]) -> dict[str, Any]:
        more = {"logprobs": self._logprobs(scores) if scores else None} if self.scored else {}
        return {"index": self.index, "delta": delta, "finish_reason": finish, **more}

    def _logprobs(self, scores: Sequence[TokenScore]) -> dict[str, Any]:
        content = [
            self._token(one.token, one.logprob) | {"top_logprobs": [self._token(*pair) for pair in one.top]}
            for one in scores
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        spelled = self.bytes_of(token)
        return {
            "token": spelled.decode("utf-8", "replace"), "logprob": max(logprob, LEAST), "bytes": list(spelled),
        }  # fmt: skip


def call_id() -> str:
    """An id for a call: nine letters and digits, which is all that Mistral's templates take."""
    return secrets.token_hex(5)[:9]


def usage_of(answers: Sequence[Generation]) -> dict[str, int]:
    prompt, made = answers[0].prompt_tokens, sum(answer.tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
