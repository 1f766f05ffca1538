"""A proxy before an S3 server that spoils a share of the requests, for tests of object storage as it is on bad days.

    python tests/faulty_proxy.py PORT UPSTREAM_PORT SHARE SEED LOG

Whether a request is spoiled, and how, follows from the seed, the request and how often the same one came before, whatever else is
under way; it writes a line a request into LOG: the kind of fault or `-`, the method, the path.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import sys
from collections import Counter
from typing import NamedTuple

KINDS = "500", "503", "reset", "lost", "truncated"
"""Answers of 500 InternalError and 503 SlowDown and connections reset, all before the server hears of the request; and answers
that are lost, or cut in the middle of the body, after the server has done what was asked."""
NO_BODY = "HEAD", "DELETE"
ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>put on for a test</Message></Error>"


class Asked(NamedTuple):
    """A request: its first line's words, and all of its bytes as they are sent on."""

    method: str
    path: str
    data: bytes


class Faults:
    """Draws what happens to each request."""

    def __init__(self, share: float, seed: int):
        self.share, self.seed, self.seen = share, seed, Counter()

    def draw(self, asked: Asked) -> str:
        """A kind of fault, or `-`."""
        request = f"{asked.method} {asked.path}"
        self.seen[request] += 1
        drawn = hashlib.sha256(f"{self.seed} {request} {self.seen[request]}".encode()).digest()
        at, kind = struct.unpack(">QQ", drawn[:16])
        return KINDS[kind % len(KINDS)] if at < self.share * 2**64 else "-"


async def read(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> Asked | None:
    """The next request of a connection, None at its end."""
    try:
        head = await client.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("expect", "").lower() == "100-continue":
        answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((line := await client.readuntil(b"\r\n")).split(b";")[0], 16):
            body += line + await client.readexactly(size + 2)
        body += line + await client.readuntil(b"\r\n")
    else:
        body = await client.readexactly(int(fields.get("content-length") or 0))
    kept = [line for line in lines if line.partition(":")[0].lower() not in ("expect", "connection")]
    method, path, _ = first.split(" ", 2)
    return Asked(method, path, "\r\n".join([first, "Connection: close", *kept]).encode("latin-1") + body)


async def forwarded(asked: Asked, port: int) -> bytes:
    """What the server answers."""
    server, to = await asyncio.open_connection("127.0.0.1", port)
    to.write(asked.data)
    answer = await server.read()
    to.close()
    return answer


async def served(client: asyncio.StreamReader, answer: asyncio.StreamWriter, faults: Faults, port: int, log) -> None:
    try:
        if (asked := await read(client, answer)) is None:
            return
        kind = faults.draw(asked)
        log.write(f"{kind}\t{asked.method}\t{asked.path}\n")
        if kind in ("500", "503"):
            code, words = ("InternalError", "Internal Server Error") if kind == "500" else ("SlowDown", "Slow Down")
            body = b"" if asked.method in NO_BODY else ERROR.format(code=code).encode()
            head = f"HTTP/1.1 {kind} {words}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            answer.write(head.encode() + body)
        elif kind == "reset":
            reset(answer)
        else:
            whole = await forwarded(asked, port)
            head, _, body = whole.partition(b"\r\n\r\n")
            if kind == "lost" or (kind == "truncated" and not body):
                reset(answer)
            else:
                answer.write(whole if kind == "-" else head + b"\r\n\r\n" + body[: len(body) // 2])
        await answer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        return  # who asked is gone
    finally:
        answer.close()


def reset(answer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    answer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    answer.transport.abort()


async def main(port: int, upstream: int, share: float, seed: int, log_path: str) -> None:
    faults = Faults(share, seed)
    with open(log_path, "a", buffering=1, encoding="utf-8") as log:
        server = await asyncio.start_server(
            lambda client, answer: served(client, answer, faults, upstream, log), "127.0.0.1", port, limit=1 << 20
        )
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
