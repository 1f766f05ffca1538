"""The HTTP side of `maetdol view`: who is let in, what a browser may do with a page, and which function answers a path.

A page is answered only to who opened the link with the token (kept as a cookie of this address alone). Pages load their own style and
script and nothing else; a request that changes something must come from such a page.
"""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from pipeline.errors import MaetdolError, UsageError
from pipeline.inspection.page import TEMPLATES
from stages.view.corpus import NotInRoot, ShownRoot
from stages.view.documents import PAGES as DOCUMENTS
from stages.view.keeping import PAGES as KEEPING
from stages.view.pages import PAGES
from stages.view.render import page
from stages.view.words import page_words

STATIC = {
    "view.css": ("text/css", TEMPLATES / "parts.css", Path(__file__).parent / "static/view.css"),
    "view.js": ("text/javascript", TEMPLATES / "parts.js", Path(__file__).parent / "static/view.js"),
}
"""Style and script: those of every page, then those of these."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # under no-referrer a form would not say where it comes from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FORM = 64 << 10
"""Bytes of a form."""


class ViewApp:
    """The routes over a corpus. `language`: of the pages; auto: as the browser asks."""

    def __init__(self, corpus: ShownRoot, token: str, language: str, port: int):
        self.corpus, self.token, self.language = corpus, token, language
        self.cookie = f"maetdol-view-{port}"

    def app(self) -> Starlette:
        routes = [Route("/static/{name}", self.static), Route("/favicon.ico", self.no_icon)]
        routes += [
            Route(path, self._answers(function), methods=[method])
            for path, method, function in [*PAGES, *DOCUMENTS, *KEEPING]
        ]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
        return Starlette(routes=routes, middleware=[hosts], exception_handlers={404: self._nothing})

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return _with_headers(PlainTextResponse("not found", 404))
        kind, *parts = STATIC[name]
        return _with_headers(Response(b"".join(part.read_bytes() for part in parts), media_type=kind))

    async def no_icon(self, request: Request) -> Response:
        return _with_headers(Response(status_code=204))

    def _answers(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            if (given := request.query_params.get("token")) is not None:
                return _with_headers(self._opened(request, given))
            if not hmac.compare_digest(request.cookies.get(self.cookie, "").encode(), self.token.encode()):
                return _with_headers(PlainTextResponse("open the link that `maetdol view` printed\n", 403))
            form: dict[str, str] = {}
            if request.method == "POST":
                if request.headers.get("origin") != str(request.base_url).rstrip("/"):
                    return _with_headers(PlainTextResponse("from another page\n", 403))
                if int(request.headers.get("content-length") or FORM + 1) > FORM:
                    return _with_headers(PlainTextResponse("too large\n", 413))
                form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
            return _with_headers(await run_in_threadpool(self._made, function, request, form))

        return answer

    def _opened(self, request: Request, given: str) -> Response:
        """The link with the token: it is kept as a cookie, and leaves the address bar."""
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return PlainTextResponse("the token is not that of this run\n", 403)
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
        # One slash: what begins with two would name another host.
        answer = RedirectResponse(
            "/" + quote(request.url.path.lstrip("/"), safe="/") + (f"?{rest}" if rest else ""), 303
        )
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return answer

    def _made(self, function: Callable[..., Any], request: Request, form: dict[str, str]) -> Response:
        words = page_words(self._language(request))
        try:
            made = function(self.corpus, {**dict(request.query_params), **form, **request.path_params}, words)
        except MaetdolError as fault:
            (fitted,) = self.corpus.fit([fault.message])
            shown = page("fault.jinja", self.corpus, words, message=fitted, hint=fault.hint)
            return HTMLResponse(shown, 404 if isinstance(fault, NotInRoot) else 400)
        answer = made if isinstance(made, Response) else HTMLResponse(made)
        if (chosen := request.query_params.get("language")) in ("en", "ko"):
            answer.set_cookie("maetdol-language", chosen, samesite="strict")
        return answer

    def _language(self, request: Request) -> str:
        if (chosen := request.query_params.get("language") or request.cookies.get("maetdol-language")) in ("en", "ko"):
            return chosen
        if self.language != "auto":
            return self.language
        return "ko" if request.headers.get("accept-language", "").lower().startswith("ko") else "en"

    async def _nothing(self, request: Request, fault: Exception) -> Response:
        return _with_headers(PlainTextResponse("not found\n", 404))


def _with_headers(answer: Response) -> Response:
    for name, value in HEADERS.items():
        answer.headers[name] = value
    return answer


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at `host`. UsageError where it cannot."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(where)
        found.listen()  # whoever opens the link at once waits until the server is there
    except OSError as fault:
        raise UsageError(f"cannot listen at {host}:{port}: {fault.strerror or fault}", "give another port") from None
    return found


def serve(corpus: ShownRoot, token: str, language: str, at: socket.socket) -> None:
    """Answer until a signal ends it."""
    # What masks personal data is loaded beside the first page, not by it.
    threading.Thread(target=corpus.fit, args=(["a text"],), daemon=True).start()
    app = ViewApp(corpus, token, language, at.getsockname()[1]).app()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[at])
