"""Pauses between requests, on a clock of our own: Scrapy's downloader and our middleware, without a network and without waiting."""

from __future__ import annotations

import asyncio
import selectors
from types import SimpleNamespace

import pytest

from stages.ingest.crawl import CrawlConfig, CrawlOptions
from stages.ingest.crawl.address import Gate


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: the time that would be waited is passed at once."""

    now = 1_000.0

    def select(self, timeout=None):
        self.now += timeout or 0.0
        return super().select(0)


@pytest.fixture
def asked(monkeypatch):
    """`asked(robots, paths, answer_takes, **options)` -> seconds at which robots.txt and then each path were asked for."""
    from scrapy import Request
    from scrapy.core import downloader as module
    from scrapy.http import Response
    from scrapy.utils.test import get_crawler

    from stages.ingest.crawl.frontier import Visit
    from stages.ingest.crawl.spider import GroupSpider, settings_of

    def run(robots: bytes, paths: int, answer_takes: list[float], **options) -> list[float]:
        selector, sent = _Jump(), []
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now
        monkeypatch.setattr(module, "monotonic", loop.time)

        async def answered(request):
            sent.append(loop.time())
            await asyncio.sleep(answer_takes[len(sent) % len(answer_takes)])
            return Response(request.url, body=robots if request.meta.get("robots") else b"a page")

        async def crawled():
            config = CrawlConfig(
                group="a",
                folder="",
                hosts=["a.example"],
                seeds=[],
                others={},
                mapped={},
                options=CrawlOptions(seeds=("http://a.example/",), **options),
            )
            crawler = get_crawler(GroupSpider, settings_of(config, Gate({}, ())))
            crawler.spider = SimpleNamespace(frontier=SimpleNamespace(claim=lambda url: True))
            downloader = module.Downloader(crawler)
            downloader.handlers.download_request_async = answered

            async def download(request):
                return await downloader.fetch(request).asFuture(loop)

            crawler.engine = SimpleNamespace(downloader=downloader, download_async=download)
            urls = [f"http://a.example/{number}" for number in range(paths)]
            await asyncio.gather(*(download(Request(url, meta={"visit": Visit(url)})) for url in urls))
            downloader.close()

        try:
            loop.run_until_complete(crawled())
        finally:
            loop.close()
        return sent

    return run


@pytest.mark.parametrize(
    ("robots", "delay", "pause"),
    [
        (b"User-agent: *\nCrawl-delay: 7", 0.0, 7.0),
        (b"User-agent: *\nCrawl-delay: 7", 9.0, 9.0),
        (b"User-agent: *\nRequest-rate: 1/5", 1.0, 5.0),
        (b"", 3.0, 3.0),
    ],
)
def test_a_crawl_delay_is_kept(asked, robots, delay, pause):
    """So long from each request to the next, from that for robots.txt on, whether answers are slow or fast."""
    sent = asked(robots, 6, [0.0, 20.0, 0.5], delay=delay, max_delay=60)
    pauses = [later - sooner for sooner, later in zip(sent, sent[1:])]
    assert len(sent) == 7 and min(pauses) == pytest.approx(pause), pauses


def test_without_a_delay_nothing_waits(asked):
    sent = asked(b"User-agent: *\nDisallow: /x", 2, [0.0], delay=0)
    assert len(sent) == 3 and sent[-1] == sent[0]
