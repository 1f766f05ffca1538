"""Any OpenAI-compatible server as a teacher: many requests in flight, back-off, strict reading of what comes back.

A server may be down, slow, rate-limiting or lying. What it sends is read up to a size, parsed strictly and turned into an
answer or a reason; nothing it does raises, except a refusal that would meet every request alike (401, 403, 404), which
ends the work with one clear error. The API key goes into the one header it belongs in and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pipeline.errors import WorkError
from stages.models.teacher.base import (
    BAD_ANSWER,
    RATE_LIMITED,
    REFUSED,
    TRUNCATED,
    UNREACHABLE,
    Reply,
    Request,
    TeacherOptions,
    secret,
    whole_unicode,
)

if TYPE_CHECKING:
    import httpx

MAX_BODY = 8 << 20
"""Bytes of one response; more is an endless answer."""
MAX_WAIT = 60.0
"""Seconds: the longest back-off, and the longest Retry-After that is honoured before the request counts as rate-limited."""
MOST_TOKENS = 1 << 24
"""Tokens of one prompt or answer that are believed; a count above it is cut to it."""
DIGITS = 400
"""Digits of an integer in a response that is read as one."""
LOST = 8
"""So many requests given up as unreachable in a row, with no answer between, and the server is taken to be down."""


@dataclass(frozen=True)
class Trouble:
    """A try that gave no result but may be repeated."""

    reason: str
    note: str
    wait: float | None = None


class Endpoint:
    """Backend for `kind: endpoint`."""

    def __init__(self, options: TeacherOptions):
        self.options = options
        self.target = f"{options.url}/chat/completions"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = secret(options.key_env)
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._not_before = 0.0
        self._lost = 0
        self.on_wire: set[str] = set()
        """Keys of requests sent and not yet answered."""

    def __repr__(self) -> str:
        return f"Endpoint({self.options.url!r}, {self.options.model!r})"

    def replies(self, requests: Iterable[tuple[str, Request]]) -> Iterator[list[Reply]]:
        loop = asyncio.new_event_loop()
        stream = self._flow(iter(requests))
        try:
            while True:
                try:
                    yield loop.run_until_complete(anext(stream))
                except StopAsyncIteration:
                    return
        finally:
            loop.run_until_complete(stream.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def client(self) -> httpx.AsyncClient:
        """Connections for up to `max_in_flight` requests."""
        import httpx

        limits = httpx.Limits(
            max_connections=self.options.max_in_flight, max_keepalive_connections=self.options.max_in_flight
        )
        timeout = httpx.Timeout(self.options.timeout, connect=min(30.0, self.options.timeout), pool=None)
        return httpx.AsyncClient(
            headers=self._headers, limits=limits, timeout=timeout, follow_redirects=False, trust_env=False
        )

    def hope(self) -> None:
        """Forget that the server was down: another run asks."""
        self._lost = 0

    async def _flow(self, pairs: Iterator[tuple[str, Request]]) -> Any:
        """Groups of finished replies, with up to `max_in_flight` requests under way."""
        async with self.client() as client:
            flying: set[asyncio.Task] = set()
            try:
                more = True
                while more or flying:
                    while more and len(flying) < self.options.max_in_flight:
                        pair = next(pairs, None)
                        if pair is None:
                            more = False
                        else:
                            flying.add(asyncio.ensure_future(self.one(client, *pair)))
                    if flying:
                        done, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                        good = [task.result() for task in done if task.exception() is None]
                        if good:
                            yield good
                        for task in done:
                            if task.exception() is not None:
                                raise task.exception()
            finally:
                for task in flying:
                    task.cancel()
                await asyncio.gather(*flying, return_exceptions=True)

    async def one(
        self, client: httpx.AsyncClient, key: str, request: Request, wanted: Callable[[], bool] = lambda: True
    ) -> Reply:
        """One request with its further tries, as long as somebody wants it."""
        began = time.monotonic()
        base = Reply(request.id, key, model=self.options.name())
        dice = random.Random(key)
        trouble = Trouble(UNREACHABLE, "the server is down")
        for attempt in range(self.options.retries + 1):
            if self._lost >= LOST:
                break
            await self._pause()
            self.on_wire.add(key)
            try:
                outcome = await self._try(client, request, base)
            finally:
                self.on_wire.discard(key)
            if isinstance(outcome, Reply):
                self._lost = 0
                return replace(outcome, seconds=time.monotonic() - began)
            trouble = outcome
            if not wanted():
                break
            if attempt < self.options.retries:
                if trouble.wait is not None and trouble.wait > MAX_WAIT:
                    break
                await self._back_off(trouble, attempt, dice)
        if trouble.reason == UNREACHABLE:
            self._lost += 1
        else:
            self._lost = 0
        return replace(base, reason=trouble.reason, note=trouble.note, seconds=time.monotonic() - began)

    async def _pause(self) -> None:
        """Wait while the server has asked everyone to."""
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _back_off(self, trouble: Trouble, attempt: int, dice: random.Random) -> None:
        jitter = dice.random() * min(MAX_WAIT, self.options.backoff * 2**attempt)
        if trouble.wait is not None:
            self._not_before = max(self._not_before, time.monotonic() + trouble.wait)
            jitter = dice.random() * self.options.backoff
        await asyncio.sleep(jitter)

    async def _try(self, client: httpx.AsyncClient, request: Request, base: Reply) -> Reply | Trouble:
        import httpx

        body = {
            "model": self.options.model,
            "messages": [{"role": r, "content": c} for r, c in request.messages],
            **request.sampling.sent(),
            **self.options.extra_body,
        }
        body = {name: value for name, value in body.items() if value is not None}
        try:
            async with asyncio.timeout(self.options.timeout):
                async with client.stream(
                    "POST", self.target, content=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
                ) as response:
                    data = await _read(response)
                    return self._judge(response, data, base)
        except (TimeoutError, httpx.TimeoutException):
            return Trouble(UNREACHABLE, f"no answer within {self.options.timeout:g} s")
        except httpx.HTTPError as fault:
            return Trouble(UNREACHABLE, f"connection failed: {type(fault).__name__}")
        except (httpx.InvalidURL, UnicodeError):
            fault = f"the teacher's url {self.options.url} cannot be used: its host or port is none"
            raise WorkError(fault, "check `url`") from None

    def _judge(self, response: httpx.Response, data: bytes | None, base: Reply) -> Reply | Trouble:
        status = response.status_code
        if status == 429:
            return Trouble(RATE_LIMITED, "HTTP 429", retry_after(response.headers.get("Retry-After")))
        if status in HINTS or 300 <= status < 400:
            raise WorkError(f"the teacher at {self.options.url} refuses every request: HTTP {status}", _hint(status))
        if status >= 500 or status == 408:
            return Trouble(UNREACHABLE, f"HTTP {status}", retry_after(response.headers.get("Retry-After")))
        if status >= 400:
            return replace(base, reason=REFUSED, note=f"HTTP {status}{_words_of(data)}")
        if data is None:
            return replace(base, reason=BAD_ANSWER, note=f"the response is larger than {MAX_BODY >> 20} MiB")
        return parse(data, base)


async def _read(response: httpx.Response) -> bytes | None:
    """The body, or None when it is larger than MAX_BODY."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


HINTS = {
    401: "check key_env: the server does not accept the key",
    402: "the account has no credit left: top it up and run again; what was answered is journaled",
    403: "check key_env: the key may not use this model",
    404: "check `url` (it should end with /v1) and `model`",
    405: "check `url`: it should be an OpenAI-compatible base URL ending with /v1",
    407: "a proxy between here and the server asks for credentials: give an `url` that needs none",
}
"""Statuses that would meet every request alike, and what to do. A server that redirects is another."""
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,47}")
"""What may be quoted of an error's `code` and `param`: they are identifiers, its message may repeat the prompt."""


def _hint(status: int) -> str:
    return HINTS.get(status, "check `url`: the server redirects, give the address it redirects to")


def _words_of(data: bytes | None) -> str:
    """The `code` (else `type`) and `param` of an error's body, as `: unsupported_parameter max_tokens`; empty where there are none."""
    try:
        error = json.loads(data or b"").get("error")
        found = [error.get("code") or error.get("type"), error.get("param")]
    except (ValueError, AttributeError, RecursionError):
        return ""
    words = [word for word in found if isinstance(word, str) and WORD.fullmatch(word)]
    return f": {' '.join(words)}" if words else ""


def retry_after(value: str | None) -> float | None:
    """Seconds a Retry-After header asks for (a number or an HTTP date); None when absent or not understood."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None


def parse(data: bytes, base: Reply) -> Reply:
    """A chat completion read strictly: one choice with a text and a finish_reason, or a reason why not."""

    def bad(note: str) -> Reply:
        return replace(base, reason=BAD_ANSWER, note=note)

    try:
        body = json.loads(data.decode("utf-8-sig", "replace"), parse_int=_whole)
    except (ValueError, RecursionError):
        return bad("the response is not JSON")
    if not isinstance(body, dict):
        return bad("the response is not a JSON object")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return bad("the response is an error without a status" if body.get("error") else "the response has no choices")
    message = choices[0].get("message")
    message = message if isinstance(message, dict) else {}
    text = _text(message.get("content"))
    finish = choices[0].get("finish_reason")
    counted = replace(
        base, finish_reason=whole_unicode(finish[:64]) if isinstance(finish, str) else "", **_usage(body.get("usage"))
    )
    if finish == "length":
        return replace(counted, reason=TRUNCATED, note="the answer reached max_tokens")
    if not text.strip():
        alone = any(_text(message.get(name)).strip() for name in REASONING)
        return replace(
            counted, reason=BAD_ANSWER, note="the answer is reasoning alone" if alone else "the answer is empty"
        )
    if finish not in ("stop", "eos", "end_turn"):
        return replace(counted, reason=BAD_ANSWER, note="finish_reason is not stop")
    return replace(counted, text=text.strip())


REASONING = ("reasoning_content", "reasoning", "thinking")
"""Where servers put what a model thought before it answered."""


def _text(content: Any) -> str:
    """The text of a message's content: a string, or the text of its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (
        part.get("text")
        for part in parts
        if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text")
    )
    return "".join(part for part in texts if isinstance(part, str))


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS else float("-inf" if digits.startswith("-") else "inf")


def _usage(usage: Any) -> dict[str, int]:
    """Tokens as the server counts them, at most `MOST_TOKENS`; what is no count (text, NaN, below zero) is not known."""
    if not isinstance(usage, dict):
        return {}
    names = {"tokens_in": usage.get("prompt_tokens"), "tokens_out": usage.get("completion_tokens")}
    good = {
        name: value
        for name, value in names.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    }
    return {name: int(min(value, MOST_TOKENS)) for name, value in good.items()}
