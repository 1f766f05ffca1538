"""The broker of calls: a small process that makes an endpoint teacher's calls and journals them, and outlives a killed run.

A call that is under way when its run is killed has been sent and will be charged; if nobody waits for the answer, the rerun
has to buy it again. So the run makes no call itself: it hands requests over a Unix socket (`stages.models.teacher.broker_client`) to this
process, which stands in a session of its own, beside the run and not below it. It holds the journal's lock, makes the call,
fsyncs the result, and only then hands it back. A rerun finds it at work and waits for the same answer, or finds the answer
in the journal. It ends when no run is connected and what was on the wire has been answered; requests that wait for a
further try are then let go. Kill the broker itself and the calls on the wire at that moment may be made again.

Lines of JSON, to the broker: `hello`, `get` (a key), `ask` (a key and a request), `bye`; from it: `welcome` or `busy` or
`other`, `got`, `reply`, `fault`, `gone` or `lingers`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from pipeline.errors import MaetdolError

FIRST = 60.0
"""Seconds a broker waits for the run that started it; a run that was killed in between leaves nothing behind."""
GRACE = 2.0
"""Seconds a second run waits for the first one's socket to close before it is told that the journal is in use."""
LINE = 256 << 20
"""Bytes of one line; prompts are far below."""

ENDED = {"fault": ["WorkError", "the process that makes the teacher's calls was told to end", "run again"]}
"""What a run hears whose calls are not made because of SIGTERM."""


class Broker:
    """One endpoint, one journal, at most one run connected at a time."""

    def __init__(self, given: dict[str, Any]):
        from stages.models.teacher.base import TeacherOptions
        from stages.models.teacher.broker_client import identity_of
        from stages.models.teacher.endpoint import Endpoint
        from stages.models.teacher.journal import Journal

        options = TeacherOptions.model_validate(given["options"])
        self.endpoint = Endpoint(options)
        self.identity = identity_of(options)
        self.socket = Path(given["socket"])
        self.journal = Journal(Path(given["journal"]))
        self.flying: dict[str, asyncio.Task] = {}
        self.run: asyncio.StreamWriter | None = None
        self.left = asyncio.Event()
        self.left.set()
        self.ended = asyncio.Event()
        self.leaving = False
        self.telling: asyncio.Task | None = None

    async def serve(self, ready) -> None:
        """Listen, say so, and stay until there is nothing left to do. The socket's path is touched under the journal's lock only."""
        self.socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self.meet, str(self.socket), limit=LINE)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._leave)
        try:
            ready()
            asyncio.get_running_loop().call_later(FIRST, self._end_if_idle)
            async with self.endpoint.client() as self.http:
                await self.ended.wait()
        finally:
            server.close()
            self.socket.unlink(missing_ok=True)
            complaints = self.socket.with_suffix(".log")
            if complaints.is_file() and not complaints.stat().st_size:
                complaints.unlink()
            self.journal.close()
            if self.run is not None:
                await self._say(self.run, {"gone": True})
                self.run.close()

    # -- one run ---------------------------------------------------------------------------------------------------

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A run from its hello to its end."""
        try:
            hello = json.loads(await reader.readline() or b"null")
            if not isinstance(hello, dict) or not await self._free():
                await self._say(writer, {"busy": True})
                return
            if hello.get("hello") != self.identity or self.leaving or self.ended.is_set():
                await self._say(writer, {"other": True})
                return
            self.run = writer
            self.left.clear()
            self.endpoint.hope()
            await self._say(writer, {"welcome": os.getpid()})
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    break
                if not await self._hear(json.loads(line), writer):
                    return
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass  # a run that was killed in the middle of a line
        finally:
            if self.run is writer:
                self._part()
            if not self.ended.is_set() or self.run is not writer:
                writer.close()

    async def _free(self) -> bool:
        """Whether no run is connected; one whose process is gone is given a moment to be noticed."""
        try:
            await asyncio.wait_for(self.left.wait(), GRACE)
        except TimeoutError:
            return False
        return self.run is None

    async def _hear(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Do what the run asks; False when it takes its leave."""
        from stages.models.teacher import broker_client as client

        if "get" in message:
            found = self.journal.get(message["get"])
            await self._say(writer, {"got": client.packed_reply(found) if found else None})
        elif "ask" in message:
            key, request = message["ask"], client.unpacked_request(message["request"])
            known = self.journal.get(key)
            if known is not None:
                await self._say(writer, {"reply": client.packed_reply(known)})
            elif self.leaving:
                await self._say(writer, ENDED)
            elif key not in self.flying:
                self.flying[key] = asyncio.create_task(self._call(key, request))
        elif "bye" in message:
            self.run = None
            self._let_go()
            if self.flying:
                await self._say(writer, {"lingers": len(self.flying)})
                self.left.set()
            else:
                self.run = writer  # told `gone` when the lock is free
                self.ended.set()
            return False
        return True

    def _part(self) -> None:
        """The run is gone: what is on the wire is waited for, the rest let go."""
        if self.ended.is_set():
            return
        self.run = None
        self._let_go()
        self.left.set()
        self._end_if_idle()

    def _let_go(self) -> bool:
        """Cancel the calls that were not sent yet; whether there were any."""
        unsent = [key for key in self.flying if key not in self.endpoint.on_wire]
        for key in unsent:
            self.flying.pop(key).cancel()
        return bool(unsent)

    # -- one call --------------------------------------------------------------------------------------------------

    async def _call(self, key: str, request) -> None:
        from stages.models.teacher import broker_client as client
        from stages.models.teacher.base import echo_checked

        message: dict[str, Any]
        try:
            reply = echo_checked(
                await self.endpoint.one(self.http, key, request, lambda: self.run is not None), request
            )
            self.journal.append([(request, reply)])
            message = {"reply": client.packed_reply(reply)}
        except MaetdolError as fault:
            message = {"fault": [type(fault).__name__, fault.message, fault.hint]}
        except (
            Exception
        ) as fault:  # the run waits for this reply; its message may hold what was sent, so the log names lines
            traceback.print_tb(fault.__traceback__)
            hint = f"see {self.socket.with_suffix('.log')}"
            message = {"fault": ["WorkError", f"a teacher's call failed: {type(fault).__name__}", hint]}
        self.flying.pop(key, None)
        if self.run is not None:
            await self._say(self.run, message)
        self._end_if_idle()

    @staticmethod
    async def _say(writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
        try:
            writer.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")
            await writer.drain()
        except OSError:
            pass  # the run was killed: what it was to hear stands in the journal

    def _end_if_idle(self) -> None:
        if self.run is None and not self.flying:
            self.ended.set()

    def _leave(self) -> None:
        """SIGTERM: no further run is met and no further call made; what is on the wire is finished."""
        self.leaving = True
        if self._let_go() and self.run is not None:  # else it would wait for answers to calls that are never made
            self.telling = asyncio.get_running_loop().create_task(self._say(self.run, ENDED))
        self._end_if_idle()


def main() -> None:
    """Read what to keep from stdin, step out of the run's process tree, say `ready` or the fault on stdout, and serve."""
    given = json.loads(sys.stdin.buffer.read())
    if os.fork():
        os._exit(0)
    os.umask(0o077)

    def say(line: dict[str, Any]) -> None:
        try:
            os.write(1, json.dumps(line).encode() + b"\n")
        except OSError:
            pass  # the run that started it was killed
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(null, number)

    async def keep() -> None:
        try:
            broker = Broker(given)
        except MaetdolError as fault:
            say({"fault": [type(fault).__name__, fault.message, fault.hint]})
            return
        await broker.serve(lambda: say({"ready": os.getpid()}))

    asyncio.run(keep())


if __name__ == "__main__":
    main()
