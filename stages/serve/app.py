"""The HTTP side of `maetdol serve`: OpenAI's /v1/chat/completions and /v1/models, and /health.

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
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

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
from stages.serve.replies import ChatChoice, usage_of
from stages.serve.requests import MAX_BODY, ChatRequest, RequestFault, read
from stages.serve.worker import ChatJob, ChatWorker

BACKLOG = 2048
"""Connections that may wait to be taken (uvicorn's number)."""
LATER = (429, 503)
"""Statuses after which a client may ask again."""


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
            Route("/v1/chat/completions", self.complete, methods=["POST"]),
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

    async def complete(self, request: Request) -> Response:
        self._let_in(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestFault(415, "send the request as application/json")
        chat_request = read(await _body(request), self.name)
        events: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(event: Any) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        job = ChatJob(
            [message.row() for message in chat_request.messages], chat_request.sampling(self.usual), chat_request.drawn_from(), chat_request.n,
            tell, chat_request.schemas(), chat_request.answer_schema(),
        )  # fmt: skip
        if not self.worker.submit(job):
            raise RequestFault(429, "too many requests are waiting: try again later", "overloaded")
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self.name}
        watch = asyncio.create_task(_gone(request, job, events))
        try:
            if chat_request.stream:
                first = _sound(await events.get())
                body = self._streamed(first, events, job, head, chat_request)
                return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
            choices = self._choices(chat_request)
            while not isinstance(event := _sound(await events.get()), list):
                choices[event.sample].add(event)
        finally:
            watch.cancel()
        body = {"object": "chat.completion", "choices": [one.whole(made) for one, made in zip(choices, event)]}
        return JSONResponse(head | body | {"usage": usage_of(event)})

    def _choices(self, chat_request: ChatRequest) -> list[ChatChoice]:
        return [ChatChoice(number, self.bytes_of, bool(chat_request.logprobs)) for number in range(chat_request.n)]

    async def _streamed(
        self, first: Any, events: asyncio.Queue, job: ChatJob, head: dict[str, Any], chat_request: ChatRequest
    ) -> AsyncIterator[bytes]:
        head = head | {"object": "chat.completion.chunk"}
        usage = bool(chat_request.stream_options and chat_request.stream_options.include_usage)
        more = {"usage": None} if usage else {}
        choices = self._choices(chat_request)
        try:
            for one in choices:
                yield _event(head | {"choices": [one.opening()]} | more)
            event = first
            while not isinstance(event, (list, Exception)):
                yield _event(head | {"choices": [choices[event.sample].add(event)]} | more)
                event = await events.get()
            if isinstance(event, Exception):
                yield _event({"error": _error(event)[1]})
                return
            for one, made in zip(choices, event):
                yield _event(head | {"choices": [one.closing(made)]} | more)
            if usage:
                yield _event(head | {"choices": [], "usage": usage_of(event)})
            yield b"data: [DONE]\n\n"
        finally:
            job.wanted = False

    def _let_in(self, request: Request) -> None:
        if self.key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key.encode()):
            raise RequestFault(401, "the key is missing or wrong: send it as a bearer token", "invalid_api_key")


def _sound(event: Any) -> Any:
    """An event of a job; RequestFault for one that failed."""
    if isinstance(event, Exception):
        status, error = _error(event)
        raise RequestFault(status, error["message"], error["code"])
    return event


async def _gone(request: Request, job: ChatJob, events: asyncio.Queue) -> None:
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
