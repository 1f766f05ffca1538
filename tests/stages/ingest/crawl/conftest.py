"""Sites, crawls of them, and readers of what a crawl wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.engine.pool import Inline
from stages.ingest.crawl import CrawlOptions, CrawlSummary, crawl, recording


class Crawled:
    """One crawl: its folder, its summaries, and what it recorded, left out and asked."""

    def __init__(self, options: CrawlOptions, folder: Path, groups: list[CrawlSummary]):
        self.options, self.folder, self.groups = options, folder, groups

    def records(self) -> dict[str, dict[str, Any]]:
        """URL -> id, headers (lower case), payload and status of its record. Fails where one URL has two records."""
        return read_records(self.folder)

    def skipped(self) -> dict[str, dict[str, Any]]:
        rows = [
            json.loads(line)
            for group in self.groups
            for line in Path(group.skipped_file).read_text("utf-8").splitlines()
        ]
        assert len({row["url"] for row in rows}) == len(rows)
        return {row["url"]: row for row in rows}

    def requests(self) -> Counter:
        """(URL without port, status) -> how often it was asked, by the site's own log."""
        return read_requests(self.folder)


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    from warcio.archiveiterator import ArchiveIterator

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*.warc.gz")):
        with open(path, "rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type != "response":
                    continue
                url = record.rec_headers.get_header("WARC-Target-URI")
                assert url not in found, f"{url} is recorded twice"
                found[url] = {
                    "id": record.rec_headers.get_header("WARC-Record-ID"),
                    "headers": {name.lower(): value for name, value in record.http_headers.headers},
                    "status": int(record.http_headers.get_statuscode()),
                    "payload": record.raw_stream.read(),
                }
    return found


def read_requests(folder: Path) -> Counter:
    asked: Counter = Counter()
    for path in folder.rglob("requests.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            asked[f"http://{row['host']}{row['path']}", row["status"]] += 1
    return asked


@pytest.fixture(scope="session")
def own_site(repo: Path) -> Path:
    return repo / "configs" / "site"


@pytest.fixture(scope="session")
def run_crawl() -> Callable[..., Crawled]:
    """`run_crawl(folder, **options)` crawls to the end, without pauses unless told otherwise."""

    def run(folder: Path, **options: Any) -> Crawled:
        built = CrawlOptions(**{"delay": 0, "backoff": 0.05, **options})
        groups = crawl(built, folder, Inline())
        return Crawled(built, recording(built, folder), groups)

    return run


@pytest.fixture(scope="session")
def site_crawl(own_site: Path, run_crawl: Callable[..., Crawled], tmp_path_factory: pytest.TempPathFactory) -> Crawled:
    """The project's own site, crawled once for all tests."""
    return run_crawl(tmp_path_factory.mktemp("own") / "crawl", site=str(own_site))


@pytest.fixture(scope="session")
def make_site() -> Callable[..., Path]:
    """`make_site(folder, {host: {path: body}}, settings)` writes a site folder; bodies are HTML, or bytes as they are."""

    def make(folder: Path, hosts: dict[str, dict[str, str | bytes]], settings: dict[str, Any] | None = None) -> Path:
        for host, pages in hosts.items():
            for path, body in pages.items():
                file = folder / "pages" / host / (path.strip("/") or "index.html")
                if "." not in file.name:
                    file = file.with_name(file.name + ".html")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(body if isinstance(body, bytes) else body.encode())
        (folder / "site.yaml").write_text(yaml.safe_dump(settings or {}), "utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def page() -> Callable[..., str]:
    """`page(*links, head="")` is an HTML page that leads to `links`."""

    def make(*links: str, head: str = "") -> str:
        anchors = "".join(f'<p><a href="{link}">there</a></p>' for link in links)
        return f"<!DOCTYPE html><html><head><title>page</title>{head}</head><body><p>Grain is ground here.</p>{anchors}</body></html>"

    return make
