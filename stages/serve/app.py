"""The HTTP side of `maetdol serve`: OpenAI's /v1/chat/completions, /v1/completions and /v1/models, and /health.

Not `transformers serve`: that one loads any model a client names, has no key, gives what a user writes as a control token to the model as
one, and knows one adapter (5.23). Here one chain of adapters answers, under the template it was trained with.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pipeline.errors import UsageError
from stages.models.inference.generate import Generator, SamplingParams
from stages.models.inference.token_scores import TokenBytes
from stages.serve.jobs import ChatJob, CompletionJob, Job
from stages.serve.replies import ChatChoice, CompletionChoice, usage_of
from stages.serve.requests import MAX_BODY, ChatRequest, CompletionRequest, DrawingRequest, R, RequestFault, read
from stages.serve.worker import ChatWorker

BACKLOG = 2048
"""Connections that may wait to be taken (uvicorn's number)."""
LATER = (429, 503)
"""Statuses after which a client may ask again."""


class ServedReply(NamedTuple):
    """What is said to a request: its id, what it is called as a whole and as a chunk, the request, and its choices."""

    id: str
    whole: str
    chunk: str
    parsed: DrawingRequest
    choices: Sequence[ChatChoice | CompletionChoice]


class ChatApi:
    """The routes over a worker. `usual`: how answers are drawn where a request does not say."""

    def __init__(self, worker: ChatWorker, usual: SamplingParams, name: str, key: str | None):
        self.worker, self.usual, self.name, self.key = worker, usual, name, key
        self.created = int(time.time())

    @cached_property
    def _token_bytes(self) -> TokenBytes:
        return TokenBytes(self.worker.generator.tokenizer)

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token that log-probabilities are given for."""
        return self._token_bytes(token)

    def app(self, local: bool) -> Starlette:
        """`local`: only requests that name this machine are answered, so that no page in a browser gets here under a name of its own."""
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]
        hosts = [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])] if local else []
        return Starlette(routes=routes, middleware=hosts, exception_handlers={RequestFault: refused})

    async def health(self, request: Request) -> Response:
        if self.worker.is_alive():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "ended"}, status_code=503)

    async def models(self, request: Request) -> Response:
        self._let_in(request)
        one = {"id": self.name, "object": "model", "created": self.created, "owned_by": "maetdol"}
        return JSONResponse({"object": "list", "data": [one]})

    async def chat(self, request: Request) -> Response:
        parsed = await self._read(request, ChatRequest)
        demanded = parsed.demanded()
        scored, named = bool(parsed.logprobs), demanded is not None and demanded.name is not None
        reply = ServedReply(f"chatcmpl-{uuid.uuid4().hex}", "chat.completion", "chat.completion.chunk", parsed, [
            ChatChoice(number, self.bytes_of, scored, named) for number in range(parsed.n)
        ])  # fmt: skip
        messages = [message.row() for message in parsed.messages]
        return await self._answer(request, reply, lambda tell: ChatJob(
            parsed.sampling(self.usual), parsed.drawn_from(), parsed.n, tell, messages, parsed.schemas(), parsed.answer_schema(), demanded
        ))  # fmt: skip

    async def complete(self, request: Request) -> Response:
        parsed = await self._read(request, CompletionRequest)
        texts, scored = parsed.prompts(), parsed.logprobs is not None
        reply = ServedReply(f"cmpl-{uuid.uuid4().hex}", "text_completion", "text_completion", parsed, [
            CompletionChoice(number, self.bytes_of, scored) for number in range(parsed.n * len(texts))
        ])  # fmt: skip
        return await self._answer(request, reply, lambda tell: CompletionJob(
            parsed.sampling(self.usual), parsed.drawn_from(), parsed.n, tell, texts, parsed.echo, parsed.add_special_tokens
        ))  # fmt: skip

    async def _read(self, request: Request, kind: type[R]) -> R:
        self._let_in(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestFault(415, "send the request as application/json")
        return read(await _body(request), self.name, kind)

    async def _answer(
        self, request: Request, reply: ServedReply, job_of: Callable[[Callable[[Any], None]], Job]
    ) -> Response:
        events: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(event: Any) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        job = job_of(tell)
        if not self.worker.submit(job):
            raise RequestFault(429, "too many requests are waiting: try again later", "overloaded")
        head = {"id": reply.id, "created": int(time.time()), "model": self.name}
        watch = asyncio.create_task(_gone(request, job, events))
        try:
            if reply.parsed.stream:
                first = _sound(await events.get())
                body = streamed(first, events, job, head | {"object": reply.chunk}, reply)
                return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
            while not isinstance(event := _sound(await events.get()), list):
                reply.choices[event.sample].add(event)
        finally:
            watch.cancel()
        choices = [one.whole(made) for one, made in zip(reply.choices, event)]
        return JSONResponse(
            head | {"object": reply.whole, "choices": choices, "usage": usage_of(event, reply.parsed.n)}
        )

    def _let_in(self, request: Request) -> None:
        if self.key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key.encode()):
            raise RequestFault(401, "the key is missing or wrong: send it as a bearer token", "invalid_api_key")


async def streamed(
    first: Any, events: asyncio.Queue, job: Job, head: dict[str, Any], reply: ServedReply
) -> AsyncIterator[bytes]:
    """The body of a streamed reply whose first event is there. Closed early, its job is wanted no more."""
    options = reply.parsed.stream_options
    usage = bool(options and options.include_usage)
    more = {"usage": None} if usage else {}
    try:
        for one in reply.choices:
            if (chunk := one.opening()) is not None:
                yield _event(head | {"choices": [chunk]} | more)
        event = first
        while not isinstance(event, (list, Exception)):
            yield _event(head | {"choices": [reply.choices[event.sample].add(event)]} | more)
            event = await events.get()
        if isinstance(event, Exception):
            yield _event({"error": _error(event)[1]})
            return
        for one, made in zip(reply.choices, event):
            yield _event(head | {"choices": [one.closing(made)]} | more)
        if usage:
            yield _event(head | {"choices": [], "usage": usage_of(event, reply.parsed.n)})
        yield b"data: [DONE]\n\n"
    finally:
        job.wanted = False


def _sound(event: Any) -> Any:
    """An event of a job; RequestFault for one that failed."""
    if isinstance(event, Exception):
        status, error = _error(event)
        raise RequestFault(status, error["message"], error["code"])
    return event


async def _gone(request: Request, job: Job, events: asyncio.Queue) -> None:
    """End a job when its client is gone. Not for an answer that is streamed, whose body is closed then."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
    job.wanted = False
    events.put_nowait(RequestFault(499, "the client is gone", "closed"))


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise RequestFault(413, f"the request is larger than {MAX_BODY >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"


def _error(fault: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of a fault; of one nobody foresaw, its kind alone."""
    if isinstance(fault, RequestFault):
        return fault.status, {"message": fault.message, "type": "invalid_request_error", "code": fault.code}
    return 500, {"message": f"the answer failed: {type(fault).__name__}", "type": "server_error", "code": "failed"}


async def refused(request: Request, fault: Exception) -> Response:
    status, error = _error(fault)
    headers = {"Retry-After": "1"} if status in LATER else {}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at `host`; who connects waits until somebody answers. UsageError where it cannot: only a socket that listens
    keeps others from its port."""
    found = None
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(where)
        found.listen(BACKLOG)
    except OSError as fault:
        if found is not None:
            found.close()
        raise UsageError(f"cannot listen at {host}:{port}: {fault.strerror or fault}", "give another port") from None
    return found


class EndingServer(uvicorn.Server):
    """A server whose worker ends with it: requests that wait are told, and do not keep it until they are answered."""

    def __init__(self, config: uvicorn.Config, worker: ChatWorker):
        super().__init__(config)
        self.worker = worker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.worker.end()
        await super().shutdown(sockets)


def serve(
    generator: Generator,
    usual: SamplingParams,
    name: str,
    key: str | None,
    at: socket.socket,
    waiting: int,
    local: bool,
) -> None:
    """Answer until a signal ends it, and what is under way then."""
    worker = ChatWorker(generator, waiting)
    worker.start()
    app = ChatApi(worker, usual, name, key).app(local)
    try:
        EndingServer(uvicorn.Config(app, log_level="warning", access_log=False), worker).run(sockets=[at])
    finally:
        worker.end()
