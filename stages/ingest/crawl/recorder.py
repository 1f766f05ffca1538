"""Pages to WARC: one record per gzip member, each whole on the disk before the frontier says so.

A record's id is made of its address and its payload, so that the same page recorded twice has the same id and no id
depends on time, order or machine. The date of the record is the time of the crawl: a crawl is a recording.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from http.client import responses
from io import BytesIO
from pathlib import Path
from typing import Any

ROTATE = 1 << 30
"""Bytes after which the next file is begun (1 GiB, the customary size)."""
REWRITTEN = frozenset({"content-length", "transfer-encoding"})
"""Headers that describe the bytes as sent. The payload is stored decoded, so they are kept as `X-Crawler-...`, as Common Crawl does."""


def warc_name(number: int) -> str:
    return f"{number:05d}.warc.gz"


def record_id(url: str, payload: bytes) -> str:
    """`<urn:uuid:...>` of an address and its payload (a version 8 UUID over BLAKE2b)."""
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(url.encode())
    hasher.update(b"\0")
    hasher.update(payload)
    raw = bytearray(hasher.digest())
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return f"<urn:uuid:{uuid.UUID(bytes=bytes(raw))}>"


class Recorder:
    """Appends to `NNNNN.warc.gz` in `folder`, and begins the next file when one holds `rotate` bytes."""

    def __init__(self, folder: Path, user_agent: str, rotate: int = ROTATE):
        self.folder = folder
        self.user_agent = user_agent
        self.rotate = rotate
        self.number = 0
        self.file: Any = None

    def cut_back(self, last_end: Callable[[int, int], int]) -> dict[int, int]:
        """Cut each file back to the last whole record that counts. Gives what each file holds then, in bytes.

        last_end: (file number, its size) -> where its last record that counts ends. What follows was written by a process
        that was killed before it could say so: that page is asked again.
        """
        lengths: dict[int, int] = {}
        for path in sorted(self.folder.glob("*.warc.gz")):
            number = int(path.name.partition(".")[0])
            size = path.stat().st_size
            keep = last_end(number, size)
            if keep < size:
                with open(path, "rb+") as file:
                    file.truncate(keep)
                    os.fsync(file.fileno())
            lengths[number] = keep
            self.number = number
        return lengths

    def add(
        self, url: str, status: int, headers: list[tuple[str, str]], payload: bytes, address: str | None
    ) -> tuple[int, int]:
        """Record one response; gives (file number, where the record ends). Durable when it returns."""
        from warcio.statusandheaders import StatusAndHeaders
        from warcio.warcwriter import WARCWriter

        self._open()
        writer = WARCWriter(self.file, gzip=True)
        kept = [(f"X-Crawler-{name}" if name.lower() in REWRITTEN else name, value) for name, value in headers]
        http = StatusAndHeaders(
            f"{status} {responses.get(status, '')}".strip(),
            [*kept, ("Content-Length", str(len(payload)))],
            protocol="HTTP/1.1",
        )
        facts = {"WARC-Record-ID": record_id(url, payload)} | ({"WARC-IP-Address": address} if address else {})
        record = writer.create_warc_record(
            url, "response", payload=BytesIO(payload), length=len(payload), http_headers=http, warc_headers_dict=facts
        )
        writer.write_record(record)
        return self.number, self._sync()

    def _open(self) -> None:
        if self.file is not None and self.file.tell() >= self.rotate:
            self.close()
            self.number += 1
        if self.file is None:
            self.file = open(self.folder / warc_name(self.number), "ab")
            if self.file.tell() == 0:
                self._describe()

    def _describe(self) -> None:
        from warcio.warcwriter import WARCWriter

        name = warc_name(self.number)
        writer = WARCWriter(self.file, gzip=True)
        facts = {
            "software": "maetdol",
            "format": "WARC File Format 1.0",
            "robots": "RFC 9309",
            "http-header-user-agent": self.user_agent,
        }
        record = writer.create_warcinfo_record(name, facts)
        record.rec_headers.replace_header("WARC-Record-ID", record_id(name, repr(sorted(facts.items())).encode()))
        writer.write_record(record)

    def _sync(self) -> int:
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.tell()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
