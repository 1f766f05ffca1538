"""A folder of hosts, answered on loopback: the project's own small site under its own names, and sites made by tests.

`pages/<host>/` holds the files; the Host header chooses the host, so URLs stay free of ports and ids do not depend on
one. `site.yaml` beside it says which paths behave in another way:

    HOST:
      redirects:   {/old: {status: 301, to: /new}}
      types:       {/page: text/html}              # the Content-Type as it is to be sent; "" sends none
      unavailable: {/busy: 1}                      # so many times 503 before the page itself
      status:      {/gone: 410}                    # this status, with the page as its body
      headers:     {/page: {X-Robots-Tag: noai}}

The server is a child process on a leash (`crawl.leash`): it ends with the process that started it, also after kill -9.
Run by hand, `python -m stages.ingest.site configs/site` prints its address and ends with Ctrl-D.
"""

from __future__ import annotations

import json
import mimetypes
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.errors import SourceError, WorkError
from stages.ingest.crawl import leash

LOOPBACK = "127.0.0.1"


def hosts_of(folder: str | Path) -> list[str]:
    """The hosts a site folder holds, sorted. SourceError when it holds none."""
    pages = Path(folder) / "pages"
    hosts = sorted(p.name for p in pages.iterdir() if p.is_dir()) if pages.is_dir() else []
    if not hosts:
        raise SourceError(
            f"{folder}: no site here", "a site is a folder with pages/<host>/ in it, such as configs/site"
        )
    return hosts


class SiteServer:
    """`with SiteServer(folder, log=path) as server:` answers at `server.address` ("127.0.0.1:PORT") until the end.

    `log`: a file to which every request is appended as one JSON line: time (seconds since 1970), host, path, status.
    """

    def __init__(self, folder: str | Path, log: str | Path | None = None):
        self.folder = Path(folder).resolve()
        self.log = log
        self.hosts = hosts_of(self.folder)

    def __enter__(self) -> SiteServer:
        arguments = [str(self.folder)] + ([str(Path(self.log).resolve())] if self.log else [])
        self.child = leash.start("stages.ingest.site", *arguments, stdout=subprocess.PIPE)
        line = self.child.stdout.readline()
        if not line:
            leash.release(self.child)
            raise WorkError(
                f"the site server of {self.folder} did not start",
                "run `python -m stages.ingest.site FOLDER` to see why",
            )
        self.address = f"{LOOPBACK}:{json.loads(line)['port']}"
        return self

    def __exit__(self, *fault: object) -> None:
        leash.release(self.child)


class _Site:
    """What to answer: files, and the special cases of `site.yaml`."""

    def __init__(self, folder: Path):
        import yaml

        self.pages = (folder / "pages").resolve()
        self.hosts = set(hosts_of(folder))
        settings = folder / "site.yaml"
        self.settings: dict[str, dict[str, Any]] = (
            yaml.safe_load(settings.read_text("utf-8")) if settings.is_file() else None
        ) or {}
        self.busy = {
            (host, path): times
            for host, words in self.settings.items()
            for path, times in words.get("unavailable", {}).items()
        }
        self.lock = threading.Lock()

    def answer(self, host: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for `path` (still percent-encoded, without its query)."""
        words = self.settings.get(host, {})
        with self.lock:
            if self.busy.get((host, path), 0) > 0:
                self.busy[host, path] -= 1
                return 503, {"Retry-After": "0", "Content-Type": "text/plain"}, b"busy, come again\n"
        if path in words.get("redirects", {}):
            rule = words["redirects"][path]
            return rule["status"], {"Location": rule["to"]}, b""
        file = self.file(host, path)
        if file is None:
            return (
                404,
                {"Content-Type": "text/html; charset=utf-8"},
                b"<!DOCTYPE html><title>404</title><p>There is no such page.</p>\n",
            )
        kind = words.get("types", {}).get(path, _kind(file))
        headers = ({"Content-Type": kind} if kind else {}) | words.get("headers", {}).get(path, {})
        return words.get("status", {}).get(path, 200), headers, file.read_bytes()

    def file(self, host: str, path: str) -> Path | None:
        if host not in self.hosts:
            return None
        folder = self.pages / host
        inside = unquote(path).strip("/")
        for candidate in (inside, f"{inside}.html" if inside else "index.html", f"{inside}/index.html"):
            file = (folder / candidate).resolve()
            if file.is_relative_to(folder.resolve()) and file.is_file():
                return file
        return None


def _kind(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: _Site
    record: Any = None

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").split(":")[0].lower()
        path = urlsplit(self.path).path or "/"
        status, headers, body = self.site.answer(host, path)
        if self.record is not None:
            line = {"time": time.time(), "host": host, "path": self.path, "status": status}
            self.record.write(json.dumps(line).encode() + b"\n")
        head = [f"HTTP/1.1 {status} {self.responses.get(status, ('', ''))[0]}", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        payload = b"" if self.command == "HEAD" else body
        self.wfile.write(
            "\r\n".join(head).encode() + b"\r\n\r\n" + payload
        )  # one write: no wait for an acknowledgement

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        """The request log is `record`; nothing goes to stderr."""


def serve(folder: Path, log: Path | None) -> None:
    """Answer until stdin ends. Prints `{"port": N}` once it listens."""
    leash.obey()
    _Handler.site = _Site(folder)
    _Handler.record = open(log, "ab", buffering=0) if log else None
    server = ThreadingHTTPServer((LOOPBACK, 0), _Handler)
    server.daemon_threads = True
    print(
        json.dumps(
            {"port": server.server_port, "address": f"{LOOPBACK}:{server.server_port}", "hosts": hosts_of(folder)}
        ),
        flush=True,
    )
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
