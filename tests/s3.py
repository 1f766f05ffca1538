"""A bucket on a moto server of its own process, for tests and benchmarks of object storage."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

app, log = DomainDispatcherApplication(create_backend_app), open(sys.argv[2], "a", buffering=1)

def counted(environ, start):
    state = {}
    def begin(status, headers, *more):
        state["status"] = status[:3]
        return start(status, headers, *more)
    body = [bytes(piece) for piece in app(environ, begin)]
    sent = sum(map(len, body)) if environ["REQUEST_METHOD"] != "HEAD" else 0
    print(environ["REQUEST_METHOD"], state["status"], environ.get("CONTENT_LENGTH") or 0, sent,
          environ["PATH_INFO"], environ.get("QUERY_STRING") or "-", sep="\\t", file=log)
    return body

run_simple("127.0.0.1", int(sys.argv[1]), counted, threaded=False)
"""


@contextmanager
def served(bucket: str, log: str | Path = os.devnull) -> Iterator[str]:
    """`s3://bucket`, to which the environment points while the block lasts; the server writes a line a request into `log`. It takes one
    request after another: S3 decides a conditional put in one step, and moto looks first and writes then."""
    import fsspec

    port, saved = free_port(), dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-c", SERVER, str(port), str(log)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listens(server, port)
        fsspec.filesystem("s3", client_kwargs={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}).mkdir(bucket)
        yield f"s3://{bucket}"
    finally:
        server.kill()
        server.wait()
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def spoiled(share: float, log: Path, seed: int = 17) -> Iterator[str]:
    """Within `served`: the endpoint of a proxy before that server (see faulty_proxy.py), to which the environment points while the
    block lasts. A share of all requests goes wrong; `faults_of(log)` says how many and how."""
    port, before = free_port(), os.environ["AWS_ENDPOINT_URL"]
    script = str(Path(__file__).with_name("faulty_proxy.py"))
    upstream = before.rpartition(":")[2]
    proxy = subprocess.Popen([sys.executable, script, str(port), upstream, str(share), str(seed), str(log)])
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    try:
        listens(proxy, port)
        yield os.environ["AWS_ENDPOINT_URL"]
    finally:
        os.environ["AWS_ENDPOINT_URL"] = before
        proxy.kill()
        proxy.wait()


def faults_of(log: Path) -> Counter[str]:
    """How many requests a proxy has spoiled, by kind; `-`: how many it let through."""
    return Counter(line.split("\t", 1)[0] for line in log.read_text("utf-8").splitlines())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(server: subprocess.Popen, port: int) -> None:
    """Wait until the server takes connections, or has ended."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
