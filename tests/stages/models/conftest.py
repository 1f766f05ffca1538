"""A real HTTP server on loopback that speaks the chat protocol, or does not."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

import pytest


class ChatServer:
    """`script(question, attempt, headers)` -> (status, headers, body) or None to hang up; every request is counted."""

    def __init__(self, script: Callable[..., Any]):
        self.script, self.lock = script, threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.tries: dict[str, int] = {}
        self.in_flight = self.most_in_flight = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][-1]["content"]
                with outer.lock:
                    outer.in_flight += 1
                    outer.most_in_flight = max(outer.most_in_flight, outer.in_flight)
                    outer.tries[question] = outer.tries.get(question, 0) + 1
                    attempt = outer.tries[question]
                    outer.requests.append({"path": self.path, "body": body, "headers": dict(self.headers), "at": time.monotonic()})
                try:
                    answer = outer.script(question, attempt, self.headers)
                finally:
                    with outer.lock:
                        outer.in_flight -= 1
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, headers, data = answer
                data = data if isinstance(data, bytes) else data.encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def chat_server():
    """`chat_server(script)` -> a running ChatServer, stopped when the test ends."""
    running = []

    def start(script):
        running.append(ChatServer(script))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def completion():
    """`completion(text, finish="stop", **usage)` -> the body of a chat completion."""

    def body(text: Any, finish: Any = "stop", **usage: int) -> str:
        answer = {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
        return json.dumps(answer | ({"usage": usage} if usage else {}), ensure_ascii=False)

    return body


@pytest.fixture(scope="session")
def asked():
    """`asked(text, id=text, **more)` -> a Request with one user message."""
    from stages.models.teacher import Request

    return lambda text, **more: Request(more.pop("id", text), (("user", text),), **more)
