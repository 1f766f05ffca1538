"""Answers in the form of OpenAI's chat completions and completions, whole or in chunks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from stages.models.chat.calls import ToolCall
from stages.models.inference.generate import Generation
from stages.models.inference.token_scores import TokenScore
from stages.serve.answering import SpokenPiece
from stages.serve.jobs import AnswerEvent, EchoedPrompt

LEAST = -9999.0
"""Written for the logarithm of a chance of nothing, as OpenAI does: JSON has no infinity."""


class ChatChoice:
    """One answer, from its events. `bytes_of`: the bytes of a token. `scored`: log-probabilities are wanted. `named`: it was told which
    tool to call, and its end is called `stop` then, as OpenAI calls it."""

    def __init__(self, index: int, bytes_of: Callable[[int], bytes], scored: bool, named: bool = False):
        self.index, self.bytes_of, self.scored, self.named = index, bytes_of, scored, named
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
        return "tool_calls" if self.calls and made.finish == "stop" and not self.named else made.finish

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


class CompletionChoice:
    """One continuation, from its events, the text it goes on with first where that is wanted."""

    def __init__(self, index: int, bytes_of: Callable[[int], bytes], scored: bool):
        self.index, self.bytes_of, self.scored = index, bytes_of, scored
        self.echoed: EchoedPrompt | None = None
        self.words: list[str] = []
        self._at = 0
        """Characters before the next token."""

    def add(self, event: AnswerEvent | EchoedPrompt) -> dict[str, Any]:
        """What the chunk of an event says."""
        if isinstance(event, EchoedPrompt):
            self.echoed = event
            return self._chunk(event.text, None, self._logprobs(event.scores, event.offsets, len(event.text)))
        text = event.part.text if isinstance(event.part, SpokenPiece) else ""
        self.words.append(text)
        return self._chunk(text, None, self._logprobs(event.scores))

    def opening(self) -> None:
        """There is no chunk before the text."""

    def closing(self, made: Generation) -> dict[str, Any]:
        """What the last chunk says."""
        return self._chunk("", made.finish, None)

    def whole(self, made: Generation) -> dict[str, Any]:
        """The choice of a reply that is not streamed."""
        self._at, echoed = 0, self.echoed or EchoedPrompt(self.index, "")
        parts = [self._logprobs(echoed.scores, echoed.offsets, len(echoed.text)), self._logprobs(made.scores or ())]
        joined = {name: [one for part in parts for one in part[name]] for name in parts[0]}
        return self._chunk(echoed.text + "".join(self.words), made.finish, joined)

    def _chunk(self, text: str, finish: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
        scored = logprobs if self.scored and logprobs and logprobs["tokens"] else None
        return {"index": self.index, "text": text, "logprobs": scored, "finish_reason": finish}

    def _logprobs(
        self, scores: Sequence[TokenScore], offsets: Sequence[int] = (), size: int | None = None
    ) -> dict[str, list[Any]]:
        """`offsets` where they are known, else by the bytes of the tokens; `size`: the characters of all of them together."""
        found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        begin = self._at
        for number, one in enumerate(scores):
            spelled = self.bytes_of(one.token)
            found["tokens"].append(self._token(spelled))
            found["token_logprobs"].append(None if one.logprob is None else max(one.logprob, LEAST))
            found["top_logprobs"].append(self._top(one))
            found["text_offset"].append(offsets[number] if offsets else self._at)
            self._at += sum(byte & 0xC0 != 0x80 for byte in spelled)
        if size is not None:
            self._at = begin + size
        return found

    def _top(self, one: TokenScore) -> dict[str, float] | None:
        """The likeliest tokens and the one that was taken."""
        if one.logprob is None:
            return None
        found = {self._token(self.bytes_of(token)): max(logprob, LEAST) for token, logprob in one.top}
        return found | {self._token(self.bytes_of(one.token)): max(one.logprob, LEAST)}

    @staticmethod
    def _token(spelled: bytes) -> str:
        """A token as text; one that is a part of a character as OpenAI writes its bytes, so that no two are alike."""
        try:
            return spelled.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelled)


def call_id() -> str:
    """An id for a call: nine letters and digits, which is all that Mistral's templates take."""
    return secrets.token_hex(5)[:9]


def usage_of(answers: Sequence[Generation], n: int) -> dict[str, int]:
    """Tokens of all prompts, each of which has `n` answers, and of all answers."""
    prompt, made = sum(answer.prompt_tokens for answer in answers[::n]), sum(answer.tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
