"""The run's end of the broker (`stages.models.teacher.broker`): find it or start it, look up, ask, and take replies.

To `Journaled` it is a journal and a backend like any other; only that here the broker has journaled a reply before it is
handed over, so that appending is nothing. The socket stands in a folder that only its owner may enter.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pipeline
from pipeline import errors
from pipeline.errors import MaetdolError, RootLocked, WorkError
from stages.models.teacher.base import Reply, Request, Sampling, TeacherOptions, secret

log = logging.getLogger("maetdol.broker")

PATIENCE = 0.1
"""Seconds between looks at a broker that still has another teacher's calls to finish."""


class Client:
    """A connection to the broker of one journal; starts a broker where there is none."""

    def __init__(self, options: TeacherOptions, journal: Path):
        self.journal = journal.absolute()
        self.options = options
        self.path = socket_path(self.journal)
        self.broker_pid = 0
        """Its process."""
        self._socket, self._lines = self._connect()
        self.lost = False

    def _connect(self) -> tuple[socket.socket, Any]:
        logged = False
        while True:
            made = self._dial() or self._start()
            if made is not None:
                got = self._greet(made)
                if "welcome" in got:
                    self.broker_pid = int(got["welcome"])
                    return made, made.makefile("rb")
                made.close()
                if "busy" in got:
                    raise RootLocked(
                        f"{self.journal} is in use by another run",
                        "wait for it to end, or give this step a journal of its own",
                    )
                if "other" in got and not logged:
                    log.warning("%s: waiting for calls of an earlier run that are still under way", self.journal)
                    logged = True
            time.sleep(PATIENCE)

    def _dial(self) -> socket.socket | None:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(self.path))
            return made
        except OSError:
            made.close()
            return None

    def _greet(self, made: socket.socket) -> dict[str, Any]:
        """What the broker says to a hello; empty when it is just ending."""
        try:
            made.sendall(json.dumps({"hello": identity_of(self.options)}).encode() + b"\n")
            got = b""
            while not got.endswith(b"\n"):
                part = made.recv(4096)
                if not part:
                    return {}
                got += part
            return json.loads(got)
        except OSError:
            return {}

    def _start(self) -> socket.socket | None:
        """A broker of this journal, connected; None when one that is ending still holds the lock."""
        given = {
            "options": self.options.model_dump(mode="json"),
            "journal": str(self.journal),
            "socket": str(self.path),
        }
        root = str(Path(pipeline.__file__).parents[1])
        before = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        log = self.path.with_suffix(".log")
        with open(log, "wb") as complaints:
            started = subprocess.run(
                [sys.executable, "-P", "-m", "stages.models.teacher.broker"], input=json.dumps(given).encode(), stdout=subprocess.PIPE,
                stderr=complaints, start_new_session=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(before)}, check=False,
            )  # fmt: skip
        got = json.loads(started.stdout.partition(b"\n")[0] or b"{}")
        if "ready" not in got and log.is_file() and not log.stat().st_size:
            log.unlink(missing_ok=True)
        if "fault" in got:
            fault = fault_of(got["fault"])
            if isinstance(fault, RootLocked) and self.path.exists():
                return None
            raise fault
        if "ready" not in got:
            raise WorkError(
                "the process that makes a teacher's calls did not start", f"see {log}, or set teacher.broker to false"
            )
        return self._dial()

    def say(self, line: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(line, ensure_ascii=True).encode() + b"\n")
        except OSError:
            raise self._gone() from None

    def hear(self) -> dict[str, Any]:
        """The next line. Raises the fault it tells of; WorkError when the broker is gone."""
        try:
            line = self._lines.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._gone()
        got = json.loads(line)
        if "fault" in got:
            raise fault_of(got["fault"])
        return got

    def _gone(self) -> WorkError:
        self.lost = True
        return WorkError(
            "the process that makes the teacher's calls has ended", "run again: what was finished stands in the journal"
        )

    def close(self) -> None:
        """Take leave. With calls still on the wire the broker stays for them; else it is gone when this returns."""
        try:
            if not self.lost:
                self.say({"bye": True})
                while not {"gone", "lingers"} & set(json.loads(self._lines.readline() or b'{"gone": true}')):
                    pass
        except (OSError, MaetdolError, ValueError):
            pass  # gone already
        self._lines.close()
        self._socket.close()


class BrokerJournal:
    """The journal as the broker holds it."""

    def __init__(self, client: Client):
        self._client = client

    def get(self, key: str) -> Reply | None:
        self._client.say({"get": key})
        while "got" not in (got := self._client.hear()):
            pass  # a reply nobody waits for any more: it stands in the journal
        return unpacked_reply(got["got"]) if got["got"] else None

    def append(self, results: Sequence[tuple[Request, Reply]]) -> None:
        """Nothing: the broker journals before it replies."""

    def close(self) -> None:
        self._client.close()


class BrokerBackend:
    """A backend whose calls the broker makes, up to `max_in_flight` at once."""

    def __init__(self, client: Client):
        self._client = client

    def replies(self, requests: Iterable[tuple[str, Request]]) -> Iterator[list[Reply]]:
        pairs = iter(requests)
        waiting: dict[str, Request] = {}
        more = True
        while more or waiting:
            while more and len(waiting) < self._client.options.max_in_flight:
                pair = next(pairs, None)
                if pair is None:
                    more = False
                    continue
                key, request = pair
                waiting[key] = request
                self._client.say({"ask": key, "request": packed_request(request)})
            if waiting:
                got = self._client.hear()
                reply = unpacked_reply(got["reply"]) if "reply" in got else None
                if reply is not None and reply.key in waiting:
                    yield [replace(reply, id=waiting.pop(reply.key).id)]


def socket_path(journal: Path) -> Path:
    """Where the broker of a journal listens: a short path (systems allow some hundred bytes) in a folder of the user's own."""
    temporary = Path(tempfile.gettempdir())
    folder = (temporary if len(str(temporary)) < 60 else Path("/tmp")) / f"maetdol-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise WorkError(
            f"{folder} is not a folder that only you may enter",
            "remove it, point TMPDIR elsewhere, or set teacher.broker to false",
        )
    return folder / (hashlib.blake2b(os.fsencode(journal.resolve()), digest_size=10).hexdigest() + ".sock")


def identity_of(options: TeacherOptions) -> str:
    """What two runs must share to share a broker: every option, and the key's value (hashed)."""
    key = secret(options.key_env) or ""
    return hashlib.blake2b(f"{options.model_dump_json()}\0{key}".encode(), digest_size=16).hexdigest()


def packed_request(request: Request) -> dict[str, Any]:
    return asdict(replace(request, sampling=None)) | {"sampling": request.sampling.model_dump(mode="json")}


def unpacked_request(given: dict[str, Any]) -> Request:
    messages = tuple((role, content) for role, content in given["messages"])
    return Request(**(given | {"messages": messages, "sampling": Sampling.model_validate(given["sampling"])}))


def packed_reply(reply: Reply) -> dict[str, Any]:
    return asdict(reply)


def unpacked_reply(given: dict[str, Any]) -> Reply:
    return Reply(**given)


def fault_of(given: Sequence[str]) -> MaetdolError:
    """The broker's error as one of this process."""
    name, message, hint = given
    kind = getattr(errors, name, WorkError)
    return (
        kind(message, hint) if isinstance(kind, type) and issubclass(kind, MaetdolError) else WorkError(message, hint)
    )
