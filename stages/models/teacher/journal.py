"""The journal of calls: append-only JSON lines, fsynced before a result counts.

One line per finished call: key, model, messages, parameters, text, finish_reason, tokens, seconds, failure reason, and the
document it was made for. Calls that never finished (unreachable, rate-limited) are journaled too, for the count, and do not
answer a key. A line that a kill tore in half has no newline: it is cut away when the journal is opened again. No header of
a request and no key of an endpoint is ever written.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedStore, RootLocked
from pipeline.storage.files import disk_error, sync_folder
from stages.models.teacher.base import Reply, Request

FORMAT = 1


class Journal:
    """Opens (and locks) the journal at `path`; keeps only offsets in memory. RootLocked when another run holds it."""

    def __init__(self, path: Path):
        self.path = path
        fresh = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b")
        except OSError as fault:
            raise disk_error(fault, path) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise RootLocked(
                f"{path} is in use by another run", "wait for it to end, or give this step a journal of its own"
            ) from None
        if fresh:
            sync_folder(path.parent)
        self._offsets: dict[bytes, int] = {}
        self._end = self._scan()

    def _scan(self) -> int:
        """Index every line; cut off a torn last one. Returns the length."""
        self._file.seek(0)
        at = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                os.ftruncate(self._file.fileno(), at)
                break
            entry = _entry(line, self.path, at)
            if entry.get("final", True):
                self._offsets[bytes.fromhex(entry["key"])] = at
            at += len(line)
        self._file.seek(0, os.SEEK_END)
        return at

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: str) -> Reply | None:
        """The journaled result under `key`, or None where no call was finished."""
        at = self._offsets.get(bytes.fromhex(key))
        if at is None:
            return None
        self._file.seek(at)
        return reply_of(_entry(self._file.readline(), self.path, at))

    def append(self, results: Sequence[tuple[Request, Reply]]) -> None:
        """Write the results and fsync once; only after this do they count. DiskFull when there is no room."""
        if not results:
            return
        lines = [line_of(request, reply) for request, reply in results]
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as fault:
            raise disk_error(fault, self.path) from None
        for (_, reply), line in zip(results, lines):
            if reply.final:
                self._offsets[bytes.fromhex(reply.key)] = self._end
            self._end += len(line)

    def close(self) -> None:
        self._file.close()


def line_of(request: Request, reply: Reply) -> bytes:
    """One journal line."""
    entry: dict[str, Any] = {
        "format": FORMAT,
        "key": reply.key,
        "model": reply.model,
        "task": request.task,
        "url": request.url,
        "doc_id": request.doc_id,
        "messages": [list(message) for message in request.messages],
        "sampling": request.sampling.sent(),
        "text": reply.text,
        "reason": reply.reason,
        "note": reply.note,
        "finish_reason": reply.finish_reason,
        "tokens_in": reply.tokens_in,
        "tokens_out": reply.tokens_out,
        "seconds": round(reply.seconds, 3),
        "final": reply.final,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def reply_of(entry: dict[str, Any]) -> Reply:
    """The reply a journal line holds (without an id)."""
    return Reply(
        id="",
        key=entry["key"],
        text=entry.get("text"),
        reason=entry.get("reason"),
        note=entry.get("note") or "",
        finish_reason=entry.get("finish_reason") or "",
        tokens_in=entry.get("tokens_in"),
        tokens_out=entry.get("tokens_out"),
        seconds=entry.get("seconds") or 0.0,
        model=entry.get("model") or "",
    )


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a journal, without locking it. DamagedStore names a line that cannot be read."""
    with open(path, "rb") as lines:
        at = 0
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield _entry(line, path, at)
            at += len(line)


def _entry(line: bytes, path: Path, at: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        key = entry["key"]
        if len(key) != 32 or entry.get("format", FORMAT) > FORMAT:
            raise ValueError("key")
        bytes.fromhex(key)
        return entry
    except (ValueError, KeyError, TypeError):
        raise DamagedStore(
            f"{path}: the line at byte {at} is no journal entry of format {FORMAT}",
            "remove that line; its call will be made again",
        ) from None
