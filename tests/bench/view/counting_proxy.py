"""A proxy before an S3 server (http, path style) that counts what is asked of it and lets every answer wait, as real object storage does.

    python tests/bench/view/counting_proxy.py PORT http://127.0.0.1:UPSTREAM_PORT DELAY_MS LOG

A line a request in LOG: seconds at which it came and was answered, method, bytes of the answer's body, range or `-`, path.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import NamedTuple

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from yarl import URL

OWN = "transfer-encoding", "connection", "keep-alive"
"""Headers that are of one connection."""


class Counted(NamedTuple):
    """What was asked."""

    requests: int
    in_turn: int
    """Of them, the most of which each came when the one before was answered: with the delay, what the wall waits for at least."""
    megabytes: float


def counted(lines: list[str]) -> Counted:
    """Of lines of the log."""
    rows = [line.split("\t") for line in lines]
    turns, last = 0, 0.0
    for came, answered in sorted(((float(row[0]), float(row[1])) for row in rows), key=lambda span: span[1]):
        if came >= last:
            turns, last = turns + 1, answered
    return Counted(len(rows), turns, sum(int(row[3]) for row in rows) / 1e6)


async def main(port: int, upstream: str, delay: float, log_path: str) -> None:
    log = open(log_path, "a", buffering=1, encoding="utf-8")
    session = ClientSession(
        auto_decompress=False, cookie_jar=DummyCookieJar(), connector=TCPConnector(limit=0), timeout=ClientTimeout(None)
    )

    async def passed(request: web.BaseRequest) -> web.StreamResponse:
        came, size = time.monotonic(), 0
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OWN}
        url = URL(upstream + request.raw_path, encoded=True)
        await asyncio.sleep(delay)
        sent = web.StreamResponse()
        try:
            async with session.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                # `rclone serve s3` says 200 of a part; polars takes none but 206
                status = 206 if answer.status == 200 and "Content-Range" in answer.headers else answer.status
                more = {name: value for name, value in answer.headers.items() if name.lower() not in OWN}
                sent = web.StreamResponse(status=status, headers=more)
                await sent.prepare(request)
                async for piece in answer.content.iter_any():
                    size += len(piece)
                    await sent.write(piece)
                await sent.write_eof()
        except ConnectionError:
            pass  # who asked has read enough
        print(f"{came:.4f}", f"{time.monotonic():.4f}", request.method, size, request.headers.get("Range", "-"), request.raw_path,
              sep="\t", file=log)  # fmt: skip
        return sent

    runner = web.ServerRunner(web.Server(passed))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1000, sys.argv[4]))
