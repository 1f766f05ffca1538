"""robots.txt as RFC 9309 has it: asked before anything else of a host, and asked again after a day.

What an answer means: 2xx is read; 4xx closes nothing; 5xx, 429 and no answer close everything; five redirects are
followed, further ones close nothing. Parsing is protego's; the pauses a host asks for (Crawl-delay, Request-rate) come
out of the same file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stages.ingest.crawl import reasons
from stages.ingest.crawl.urls import resolved

READ = 512 * 1024
"""Bytes of a robots.txt that are read; the RFC asks for at least 500 KiB."""
KEPT = 24 * 3600.0
"""Seconds after which a robots.txt is asked again (RFC 9309, 2.4)."""
HOSTS = 4_096
"""Answers kept in memory; the oldest goes first and is asked again when its host is."""
HOPS = 5
"""Redirects followed; the RFC asks for at least five."""


@dataclass(frozen=True)
class Answer:
    """What came back for a robots.txt: its status, body and, for a redirect, where to."""

    status: int
    body: bytes = b""
    to: str | None = None


class Unreachable(Exception):
    """No answer; `reason` is why, in the crawl's vocabulary."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Rules:
    """What one host allows. `closed`: the reason for which nothing may be asked, or None."""

    def __init__(self, text: str | None, agent: str, closed: str | None = None):
        from protego import Protego

        self.agent = agent
        self.closed = closed
        self.parsed = Protego.parse(text) if text else None

    def refusal(self, url: str) -> str | None:
        """The reason for which `url` may not be asked, or None."""
        if self.closed:
            return self.closed
        if self.parsed is not None and not self.parsed.can_fetch(url, self.agent):
            return reasons.ROBOTS
        return None

    def pause(self) -> float:
        """Seconds between two requests that the host asks for; 0 where it does not."""
        if self.parsed is None:
            return 0.0
        delay = self.parsed.crawl_delay(self.agent) or 0.0
        rate = self.parsed.request_rate(self.agent)
        return max(float(delay), rate.seconds / rate.requests if rate and rate.requests else 0.0)


class Robots:
    """The rules of each origin, asked once a day.

    ask: a coroutine function from an address to an `Answer`; it raises `Unreachable`. agent: the product token that
    robots.txt files name. obey: False reads nothing and closes nothing. clock: seconds, from any beginning.
    """

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Answer]],
        agent: str,
        obey: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.ask = ask
        self.agent = agent
        self.obey = obey
        self.clock = clock
        self.fetches: dict[str, tuple[float, asyncio.Task[Rules]]] = {}

    async def rules(self, origin: str) -> Rules:
        """The rules of `origin` (scheme://host[:port]); those who ask together wait for one answer."""
        if not self.obey:
            return Rules(None, self.agent)
        if origin not in self.fetches or self.clock() - self.fetches[origin][0] > KEPT:
            self.fetches.pop(origin, None)
            self.fetches[origin] = self.clock(), asyncio.ensure_future(self._fetch(origin))
            if len(self.fetches) > HOSTS:
                self.fetches.pop(next(iter(self.fetches)))
        return await asyncio.shield(self.fetches[origin][1])

    async def _fetch(self, origin: str) -> Rules:
        url: str | None = f"{origin}/robots.txt"
        for _ in range(HOPS + 1):
            try:
                answer = await self.ask(url)
            except Unreachable as fault:
                return Rules(None, self.agent, closed=fault.reason)
            if not 300 <= answer.status < 400:
                return self._read(answer)
            url = resolved(url, answer.to or "")
            if url is None:
                break
        return Rules(None, self.agent)

    def _read(self, answer: Answer) -> Rules:
        if answer.status >= 500 or answer.status == 429:
            return Rules(None, self.agent, closed=reasons.ROBOTS_UNREACHABLE)
        if answer.status >= 400:
            return Rules(None, self.agent)
        return Rules(answer.body[:READ].decode("utf-8-sig", errors="replace"), self.agent)


def product_token(user_agent: str) -> str:
    """The name that robots.txt files call a crawler by: what stands before the first slash or blank.

    >>> product_token("maetdol/0.1 (+https://example.org/crawler)")
    'maetdol'
    """
    return user_agent.split("/")[0].split()[0] if user_agent.split("/")[0].strip() else "maetdol"
