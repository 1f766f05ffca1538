"""Between the spider and the network: robots.txt, pauses, page limits, back-off, and what of an answer is wanted."""

from __future__ import annotations

import asyncio
from typing import Any

from scrapy import Request, signals
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.exceptions import StopDownload
from scrapy.http import Response

from stages.ingest.crawl import reasons
from stages.ingest.crawl.faults import NO_ANSWER, Skipped, reason_of
from stages.ingest.crawl.robots import Answer, Robots, Unreachable, product_token
from stages.ingest.crawl.urls import host_of, origin_of

ROBOTS_BYTES = 8 << 20
"""A robots.txt larger than this counts as no answer."""
LONGEST_BACKOFF = 120.0
"""Seconds waited at most before a request is tried again, whatever Retry-After says."""


class Politeness:
    """Downloader middleware: no page before its host's robots.txt, no sooner than the host likes, no more than asked for."""

    def __init__(self, crawler: Any):
        self.crawler = crawler
        self.options = crawler.settings["CRAWL_OPTIONS"]
        agent = product_token(self.options.user_agent)
        self.robots = Robots(self.ask, agent, self.options.obey_robots)
        crawler.signals.connect(self.headers, signals.headers_received)

    @classmethod
    def from_crawler(cls, crawler: Any) -> Politeness:
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        if request.meta.get("robots"):
            return
        host = host_of(request.url)
        rules = await self.robots.rules(origin_of(request.url))
        if refusal := rules.refusal(request.url):
            raise Skipped(refusal)
        pause = max(self.options.delay, rules.pause())
        if pause > max(self.options.max_delay, self.options.delay):
            raise Skipped(reasons.SLOW_HOST)
        self.slow_down(host, pause)
        if not request.meta.get("counted"):
            if not self.crawler.spider.frontier.claim(request.meta["visit"].url):
                raise Skipped(reasons.PAGE_LIMIT)
            request.meta["counted"] = True

    def slow_down(self, host: str, pause: float) -> None:
        """One request at a time and `pause` seconds from one to the next, where there is a pause."""
        downloader = self.crawler.engine.downloader
        words = {"delay": pause, "concurrency": 1 if pause else self.options.per_host, "jitter": 0.0}
        downloader.per_slot_settings[host] = words
        if slot := downloader.slots.get(host):
            slot.delay, slot.concurrency = pause, words["concurrency"]

    async def ask(self, url: str) -> Answer:
        """One request for a robots.txt, through the same gate as everything else."""
        request = Request(url, meta={"robots": True, "download_maxsize": ROBOTS_BYTES}, dont_filter=True)
        try:
            response = await self.crawler.engine.download_async(request)
        except NO_ANSWER as fault:
            reason = reason_of(fault, url, self.crawler.settings["CRAWL_GATE"])[0]
            raise Unreachable(
                reason if reason in (reasons.PRIVATE_ADDRESS, reasons.DNS) else reasons.ROBOTS_UNREACHABLE
            ) from None
        to = response.headers.get(b"Location")
        return Answer(response.status, response.body, to.decode("latin-1") if to else None)

    def headers(self, headers: Any, request: Request, **_: Any) -> None:
        """Stop an answer that is not a page before its body comes."""
        if request.meta.get("robots"):
            return
        kind = (headers.get(b"Content-Type") or b"").split(b";")[0].strip().decode("latin-1").lower()
        request.meta["content_type"] = kind
        if kind and kind not in self.options.types:
            raise StopDownload(fail=False)


class BackOff(RetryMiddleware):
    """Scrapy's retries, each after a longer wait; a host that says `Retry-After` is taken at its word."""

    async def process_response(self, request: Request, response: Response) -> Request | Response:
        if "download_stopped" in response.flags:  # there is no body, so nothing to decompress
            response.headers.pop(b"Content-Encoding", None)
        outcome = super().process_response(request, response)
        if isinstance(outcome, Request):
            await self.wait(outcome, response.headers.get(b"Retry-After"))
        return outcome

    async def process_exception(self, request: Request, exception: Exception) -> Request | Response | None:
        if host_of(request.url) in self.crawler.settings["CRAWL_GATE"].refused:
            return None
        outcome = super().process_exception(request, exception)
        if isinstance(outcome, Request):
            await self.wait(outcome, None)
        return outcome

    async def wait(self, request: Request, after: bytes | None) -> None:
        first = self.crawler.settings["CRAWL_OPTIONS"].backoff
        pause = first * 2 ** (request.meta["retry_times"] - 1)
        if after and after.strip().isdigit():
            pause = max(pause, float(after))
        await asyncio.sleep(min(pause, LONGEST_BACKOFF))
