"""The crawler: seeds in, WARC files out, and an account of every address that was left out.

`crawl(options, folder, pool)` is what the ingest stage calls. It splits the seeds' hosts into groups, gives each group to
one pool task, and each task starts Scrapy in a child process (its reactor runs once per process). Below `folder`:

    <fingerprint>/<group>/00000.warc.gz ...   one response a record, one record a gzip member; URLs without ports
    <fingerprint>/<group>/skipped.jsonl       url, reason (stages.ingest.crawl.reasons) and, where known, status, to, note
    <fingerprint>/<group>/frontier.sqlite     what was seen, finished and is to do; on the disk before the next step is taken
    <fingerprint>/<group>/finished.json       written last; a finished crawl is not repeated without `refresh`

After kill -9 the same call goes on: what is recorded stays, what was on its way is asked once more. Other options have
another fingerprint and so a folder of their own. Nothing heavy is imported here; Scrapy is imported in the child.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pipeline.errors import DiskFull, InfraError, SourceError, WorkError
from pipeline.options import CONTENT, UNKEYED, Options
from pipeline.storage import recordings

LOG = "crawl.log"
LOCK = "lock"
"""Held by the child process that crawls the group; names it."""
NO_ROOM = 28
"""Exit status of a child that met a full disk."""
REQUESTS = "requests.jsonl"
"""What a served site was asked."""


class CrawlOptions(Options):
    """What is crawled, how far, and how politely. A crawl is a recording: a finished one is not repeated."""

    version: ClassVar[int] = 1

    seeds: list[str] = Field(default_factory=list)
    "Addresses to begin at (http or https); with `site`, each of its hosts' front pages when none is given."
    site: Annotated[str | None, CONTENT] = None
    "Folder of a site (pages/<host>/...) served on loopback under its own host names while the crawl runs; such as configs/site."
    hosts: Annotated[dict[str, str], UNKEYED] = Field(default_factory=dict)
    "Host name -> ADDRESS:PORT it is answered at, whatever the name service says; private addresses are allowed here."
    allow_private: list[str] = Field(default_factory=list)
    "Host names that may lead to addresses that are not public (loopback, private, link-local)."
    scope: Literal["host", "domain"] = "host"
    "Links followed: to the seeds' hosts (with or without www.), or to every host of their registered names."
    depth: int = Field(default=16, ge=0)
    "Links from a seed at most; further addresses are left out (crawl.depth)."
    max_pages: int = Field(default=10_000, ge=1)
    "Addresses asked for per host at most, redirects and errors included (crawl.page_limit); ten times as many are remembered."
    max_links: int = Field(default=5_000, ge=1)
    "Links of one page that are looked at, in the page's order; further ones are counted."
    max_bytes: int = Field(default=16 << 20, ge=1024)
    "Bytes of a page at most, as sent and decompressed, enforced while it comes (crawl.too_large)."
    types: list[str] = Field(default_factory=lambda: ["text/html", "application/xhtml+xml", "text/plain"])
    "Content types that are recorded; an answer without one is recorded too (crawl.content_type)."
    delay: Annotated[float, UNKEYED] = Field(default=1.0, ge=0)
    "Seconds between two requests to a host; a longer Crawl-delay or Request-rate of its robots.txt wins."
    max_delay: float = Field(default=60.0, ge=0)
    "Seconds; a host that asks for longer pauses is left alone (crawl.slow_host)."
    concurrency: Annotated[int, UNKEYED] = Field(default=16, ge=1)
    "Requests on their way at once in a group of hosts."
    per_host: Annotated[int, UNKEYED] = Field(default=4, ge=1)
    "Requests on their way at once to a host that has no delay."
    retries: int = Field(default=3, ge=0)
    "Further tries after a connection error or status 408, 429, 500, 502, 503, 504."
    backoff: Annotated[float, UNKEYED] = Field(default=1.0, ge=0)
    "Seconds before the first further try, doubled each time; a longer Retry-After wins, up to two minutes."
    timeout: Annotated[float, UNKEYED] = Field(default=60.0, gt=0)
    "Seconds a host may take to answer one request (crawl.timeout)."
    redirects: int = Field(default=8, ge=0)
    "Redirects in a row at most (crawl.redirect_limit)."
    user_agent: str = Field(default="maetdol/0.1", pattern=r"^[!-~][ -~]*$")
    "How the crawler calls itself; what stands before the slash is the name that robots.txt files know. Add an address to write to."
    obey_robots: bool = True
    "Read robots.txt and keep to it (RFC 9309). Turn it off only for hosts of your own."
    groups: int = Field(default=16, ge=1)
    "Groups of hosts crawled side by side at most; hosts of one registered name are always together."
    refresh: Annotated[bool, UNKEYED] = False
    "Crawl anew although a finished crawl is there; the old recording is deleted first."

    @field_validator("seeds")
    @classmethod
    def _addresses(cls, seeds: list[str]) -> list[str]:
        for seed in seeds:
            parts = urlsplit(seed)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"seed {seed!r} is not an http or https address")
            if parts.username or parts.password:
                raise ValueError("a seed must not carry a user name or password")
        return seeds

    @field_validator("hosts")
    @classmethod
    def _host_addresses(cls, hosts: dict[str, str]) -> dict[str, str]:
        for name, target in hosts.items():
            address, colon, port = target.rpartition(":")
            if not colon or not address or not port.isdigit():
                raise ValueError(f"{name}: {target!r} is not ADDRESS:PORT")
        return hosts

    @model_validator(mode="after")
    def _something(self) -> CrawlOptions:
        if not self.seeds and not self.site:
            raise ValueError("nothing to crawl: give `seeds`, or `site` for a folder of pages")
        return self


class CrawlConfig(Options):
    """What a group's child process is told (its CONFIG.json)."""

    group: str
    folder: str
    hosts: list[str]
    seeds: list[str]
    others: dict[str, str]
    "Host -> the group that follows it."
    mapped: dict[str, tuple[str, int]]
    options: CrawlOptions


@dataclass(frozen=True)
class CrawlTask:
    """One group of hosts, ready for a pool."""

    name: str
    folder: str
    hosts: tuple[str, ...]
    seeds: tuple[str, ...]
    others: tuple[tuple[str, str], ...]
    options: str
    """CrawlOptions as JSON, `site` as an absolute path."""


@dataclass(frozen=True)
class CrawlSummary:
    """What a finished group gave."""

    group: str
    folder: str
    warcs: tuple[str, ...]
    """Paths of its WARC files, in order."""
    recorded: int
    skipped: dict[str, int]
    """Reason -> addresses; the rows are in `skipped_file`."""
    skipped_file: str
    outside: int
    """Links to hosts that are not crawled, each time one was met."""
    beyond: int = 0
    """Links that were not looked at: past `max_links` of their page, or past what is remembered of their host."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Of its files, by name; of a crawl of before there are none."""


def crawl(options: CrawlOptions, folder: str | Path, pool: Any) -> list[CrawlSummary]:
    """Crawl to the end and give every group's summary, sorted by group. Goes on where a killed crawl stopped.

    Groups hand each other the links they find; a group that is finished is asked again only when it got links it does not know.
    A failed group does not stop the others; its error is raised when they have ended.
    """
    if options.refresh:
        shutil.rmtree(recording(options, folder), ignore_errors=True)
    while tasks := crawl_tasks(options, folder):
        failed = [outcome for outcome in pool.each(crawl_group, tasks) if not isinstance(outcome, CrawlSummary)]
        if failed:
            message = f"crawl of {failed[0].task}: {failed[0].message}"
            raise failed[0].error or WorkError(message, "run again to go on where it stopped")
    return summaries(options, folder)


def recording(options: CrawlOptions, folder: str | Path) -> Path:
    """The folder below `folder` that holds the crawl with these options."""
    return Path(folder) / options.fingerprint()[:16]


def crawl_tasks(options: CrawlOptions, folder: str | Path) -> list[CrawlTask]:
    """The groups that are not finished, or have links from other groups to read. Creates their folders."""
    from stages.ingest.crawl.urls import canonical, host_of

    seeds = [url for url in map(canonical, _seeds(options)) if url]
    groups = _groups(options, seeds)
    group_of = {host: name for name, hosts in groups.items() for host in hosts}
    site = str(Path(options.site).resolve()) if options.site else None
    serialized = options.model_copy(update={"site": site, "refresh": False}).model_dump_json()
    tasks = []
    for name, hosts in groups.items():
        target = recording(options, folder).resolve() / name
        if _is_complete(target, hosts, options.scope):
            continue
        target.mkdir(parents=True, exist_ok=True)
        own = tuple(url for url in seeds if group_of[host_of(url)] == name)
        others = tuple(sorted((host, group) for host, group in group_of.items() if group != name))
        tasks.append(CrawlTask(name, str(target), tuple(hosts), own, others, serialized))
    return tasks


def _seeds(options: CrawlOptions) -> list[str]:
    if options.seeds or options.site is None:
        return options.seeds
    from stages.ingest.site import hosts_of

    return [f"http://{host}/" for host in hosts_of(options.site)]


def _groups(options: CrawlOptions, seeds: list[str]) -> dict[str, list[str]]:
    from stages.ingest.crawl.urls import groups_of, host_of

    if not seeds:
        raise SourceError("none of the seeds is an address that can be asked", "give seeds such as http://example.org/")
    return groups_of([host_of(url) for url in seeds], options.groups)


def _is_complete(target: Path, hosts: list[str], scope: str) -> bool:
    """Finished, and no other group has noted a link to an address that this one does not know."""
    from stages.ingest.crawl.finish import finished
    from stages.ingest.crawl.frontier import knows_all, links_to

    summary = finished(target)
    if summary is None:
        return False
    links = (
        visit.url
        for other, read in summary["read"].items()
        for visit, _ in links_to(target.parent / other, hosts, read, scope)
    )
    return knows_all(target, links)


def crawl_group(task: CrawlTask) -> CrawlSummary:
    """Crawl one group to its end in a child process, with the site served meanwhile where there is one.

    InfraError when the child was killed (the pool tries again, and the crawl goes on); DiskFull; WorkError when it failed.
    """
    from stages.ingest.crawl import leash
    from stages.ingest.site import SiteServer

    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = CrawlOptions.model_validate_json(task.options)
    mapped = {name.lower(): _host_and_port(target) for name, target in options.hosts.items()}
    (folder / "finished.json").unlink(missing_ok=True)
    with ExitStack() as stack:
        if options.site:
            server = stack.enter_context(SiteServer(options.site, log=folder / REQUESTS))
            mapped = {host: _host_and_port(server.address) for host in server.hosts} | mapped
        config = CrawlConfig(
            group=task.name, folder=task.folder, hosts=list(task.hosts), seeds=list(task.seeds),
            others=dict(task.others), mapped=mapped, options=options,
        )  # fmt: skip
        (folder / "config.json").write_text(config.model_dump_json(indent=1), "utf-8")
        log = stack.enter_context(open(folder / LOG, "ab"))
        child = leash.start("stages.ingest.crawl.spider", str(folder / "config.json"), stdout=log, stderr=log)
        try:
            status = child.wait()
        finally:
            leash.release(child)
    if status < 0 or status == leash.ORPHANED:
        raise InfraError(
            f"the crawler of {task.name} was killed (signal {-status})", "run again: it goes on where it stopped"
        )
    if status == NO_ROOM:
        raise DiskFull(
            f"no room for the crawl of {task.name} in {folder}",
            "free some space and run again: it goes on where it stopped",
        )
    if status:
        raise WorkError(
            f"the crawler of {task.name} failed with status {status}",
            f"see {folder / LOG}; run again to go on where it stopped",
        )
    return summary_of(folder)


def _host_and_port(target: str) -> tuple[str, int]:
    address, _, port = target.rpartition(":")
    return address.strip("[]"), int(port)


def summaries(options: CrawlOptions, folder: str | Path) -> list[CrawlSummary]:
    """The summaries of all finished groups, sorted by group."""
    return [summary_of(path.parent) for path in sorted(recording(options, folder).glob("*/finished.json"))]


def summary_of(folder: Path) -> CrawlSummary:
    """The summary of the finished group in `folder`."""
    from stages.ingest.crawl.finish import SKIPPED

    summary = recordings.read(folder)
    assert summary is not None, "the group is finished"
    return CrawlSummary(
        group=summary["group"],
        folder=str(folder),
        warcs=tuple(str(folder / name) for name in summary["files"]),
        recorded=summary["recorded"],
        skipped=summary["skipped"],
        skipped_file=str(folder / SKIPPED),
        outside=summary["outside"],
        beyond=summary["beyond"],
        hashes=summary.get("hashes", {}),
    )
