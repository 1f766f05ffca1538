"""The crawl of one group of hosts: `python -m stages.ingest.crawl.spider CONFIG.json`, a child process of a pool task.

Scrapy lives here and nowhere else, since its reactor runs once per process. The spider asks what the frontier holds,
writes each page to WARC and then to the frontier, and ends with `skipped.jsonl` and, last of all, `finished.json`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response
from twisted.python.failure import Failure

from pipeline.errors import MaetdolError
from stages.ingest.crawl import LOCK, NO_ROOM, CrawlConfig, leash, reasons
from stages.ingest.crawl.address import Gate
from stages.ingest.crawl.faults import Skipped, reason_of
from stages.ingest.crawl.finish import finish
from stages.ingest.crawl.frontier import Frontier, Visit, last_link, links_to
from stages.ingest.crawl.links import Links, links_of
from stages.ingest.crawl.recorder import Recorder
from stages.ingest.crawl.urls import host_of, resolved

ON_THEIR_WAY = 256
"""Requests that Scrapy holds at once at most, waiting ones included, so that many hosts are asked side by side."""


class GroupSpider(scrapy.Spider):
    """One process's part of a group's crawl. Scrapy holds what is on its way, the frontier everything else."""

    name = "group"

    def __init__(self, config: CrawlConfig):
        super().__init__()
        self.config = config
        self.options = config.options
        folder = Path(config.folder)
        self.frontier = Frontier(
            folder, config.hosts, config.others, self.options.depth, self.options.max_pages, self.options.scope
        )
        self.recorder = Recorder(folder, self.options.user_agent)
        self.frontier.forget(self.recorder.cut_back(self.frontier.last_end))
        self.read: dict[str, int] = {}
        self.faults: list[Failure] = []

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> GroupSpider:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.broken, signals.spider_error)
        return spider

    async def start(self) -> AsyncIterator[scrapy.Request]:
        self.frontier.offer(Visit(url) for url in self.config.seeds)
        for group in sorted(set(self.config.others.values())):
            folder = Path(self.config.folder).parent / group
            self.read[group] = last_link(folder)
            self.frontier.offer(visit for visit, _ in links_to(folder, self.config.hosts, scope=self.options.scope))
        for request in self.requests():
            yield request

    def requests(self, host: str | None = None) -> Iterator[scrapy.Request]:
        """What may be asked now that a request to `host` has ended (None: at the start)."""
        room = max(ON_THEIR_WAY, self.options.concurrency) - len(self.frontier.on_their_way)
        for visit in self.frontier.take(room, self.options.per_host + 1, host):
            yield scrapy.Request(
                visit.url,
                self.arrived,
                errback=self.failed,
                meta={"visit": visit},
                priority=-visit.depth,
                dont_filter=True,
            )

    def arrived(self, response: Response) -> Iterator[scrapy.Request]:
        visit: Visit = response.meta["visit"]
        try:
            self.record(visit, response)
        except (OSError, MaetdolError, sqlite3.Error):
            raise  # no fault of the page: the disk's or the frontier's
        except Exception as fault:  # the guard around one page: whatever it holds, the crawl of its host goes on
            self.frontier.record(visit.url, reasons.ERROR, status=response.status, note=type(fault).__name__)
        yield from self.requests(host_of(visit.url))

    def record(self, visit: Visit, response: Response) -> None:
        """Write down what came of a visit."""
        if 300 <= response.status < 400 and b"Location" in response.headers:
            self.redirected(visit, response)
        elif not 200 <= response.status < 300:
            self.frontier.record(visit.url, reasons.http(response.status), status=response.status)
        elif "download_stopped" in response.flags:
            note = response.meta.get("content_type", "")[:100]
            self.frontier.record(visit.url, reasons.CONTENT_TYPE, status=response.status, note=note)
        else:
            self.recorded(visit, response)

    def recorded(self, visit: Visit, response: Response) -> None:
        links, note = self.links(response)
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, vs in response.headers.items() for v in vs]
        address = str(response.ip_address) if response.ip_address else None
        number, end = self.recorder.add(visit.url, response.status, headers, response.body, address)
        found = [Visit(url, visit.depth + 1) for url in links.addresses]
        facts = {"status": response.status, "warc": number, "end": end, "barred": links.barred or None, "note": note}
        self.frontier.record(visit.url, None, found, beyond=links.beyond, **facts)

    def links(self, response: Response) -> tuple[Links, str | None]:
        """A page whose links cannot be read is recorded all the same, with the fault's name as a note."""
        try:
            return links_of(response, self.options.user_agent, self.options.max_links), None
        except Exception as fault:  # the guard around one page's links
            return Links([]), f"links: {type(fault).__name__}"

    def redirected(self, visit: Visit, response: Response) -> None:
        target = resolved(visit.url, response.headers[b"Location"].decode("utf-8", "replace"))
        chain = (*visit.via, visit.url)
        facts: dict[str, Any] = {"status": response.status, "to": target}
        if target is None:
            self.frontier.record(visit.url, reasons.SCHEME, **facts)
        elif target in chain:
            self.frontier.record(visit.url, reasons.REDIRECT_LOOP, **facts)
        elif len(chain) > self.options.redirects:
            self.frontier.record(visit.url, reasons.REDIRECT_LIMIT, **facts)
        else:
            reason = reasons.REDIRECT if self.frontier.follows(host_of(target)) else reasons.OUTSIDE
            self.frontier.record(visit.url, reason, [Visit(target, visit.depth, chain)], **facts)

    def failed(self, failure: Failure) -> Iterator[scrapy.Request]:
        url = failure.request.meta["visit"].url
        reason, note = reason_of(failure.value, url, self.crawler.settings["CRAWL_GATE"])
        self.frontier.record(url, reason, note=note, durable=not isinstance(failure.value, Skipped))
        yield from self.requests(host_of(url))

    def broken(self, failure: Failure, **_: Any) -> None:
        """A fault of ours, or a full disk: stop, say so, and leave the group unfinished."""
        self.faults.append(failure)
        self.crawler.engine.close_spider(self, "fault")


NOT_NEEDED = (
    "httperror.HttpErrorMiddleware",
    "referer.RefererMiddleware",
    "urllength.UrlLengthMiddleware",
    "depth.DepthMiddleware",
)
"""Spider middlewares whose work the frontier does."""


def settings_of(config: CrawlConfig, gate: Gate) -> dict[str, Any]:
    """Scrapy's settings. Cookies, caches, proxies, consoles and its own robots, redirect and retry rules are off."""
    options = config.options
    return {
        "CRAWL_OPTIONS": options,
        "CRAWL_GATE": gate,
        "TWISTED_DNS_RESOLVER": "stages.ingest.crawl.resolver.GatedResolver",
        "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
        "DOWNLOADER_MIDDLEWARES": {
            "stages.ingest.crawl.politeness.Politeness": 100,
            "stages.ingest.crawl.politeness.BackOff": 600,  # nearer to the network than decompression
            "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
        },
        "SPIDER_MIDDLEWARES": {f"scrapy.spidermiddlewares.{name}": None for name in NOT_NEEDED},
        "USER_AGENT": options.user_agent,
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "text/html,application/xhtml+xml,text/plain;q=0.5",
            "Accept-Language": "ko,en;q=0.8,*;q=0.5",
            "Accept-Encoding": "gzip, deflate",
        },
        "CONCURRENT_REQUESTS": options.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": options.per_host,
        "DOWNLOAD_DELAY": options.delay,
        "DOWNLOAD_DELAY_JITTER": 0.0,
        "DOWNLOAD_MAXSIZE": options.max_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_TIMEOUT": options.timeout,
        "RETRY_TIMES": options.retries,
        "RETRY_GIVE_UP_LOG_LEVEL": "INFO",
        "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
        "HTTPPROXY_ENABLED": False,
        "COOKIES_ENABLED": False,
        "REDIRECT_ENABLED": False,
        "METAREFRESH_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "WARNING",
        "LOGSTATS_INTERVAL": 0,
    }


def crawl(config: CrawlConfig) -> int:
    """Crawl the group to its end. Exit status 0; `NO_ROOM` on a full disk; 1 after a fault of ours."""
    folder = Path(config.folder)
    with open(folder / LOCK, "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the process of a killed run may be about to end
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        gate = Gate(config.mapped, config.options.allow_private)
        process = AsyncCrawlerProcess(settings_of(config, gate))
        crawler = process.create_crawler(GroupSpider)
        process.crawl(crawler, config=config)
        process.start()
        if status := verdict(crawler.spider):
            return status
        crawler.spider.recorder.close()
        finish(folder, config.group, crawler.spider.frontier, crawler.spider.read)
        crawler.spider.frontier.close()
    return 0


def verdict(spider: GroupSpider | None) -> int:
    """The exit status that the process has earned; 0 only when nothing is left to ask."""
    if spider is None:
        print("the spider did not start", file=sys.stderr)
        return 1
    if spider.faults:
        print(spider.faults[0].getTraceback(), file=sys.stderr)
        fault = spider.faults[0].value
        return NO_ROOM if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT) else 1
    if left := spider.frontier.left():
        print(f"stopped with {left} addresses still to ask", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    leash.obey()
    sys.exit(crawl(CrawlConfig.model_validate(json.loads(Path(sys.argv[1]).read_text("utf-8")))))
