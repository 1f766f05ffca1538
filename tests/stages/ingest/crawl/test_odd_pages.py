"""Pages that no crawler foresaw: each costs itself, and the crawl of its host goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

BAD = "http://[bad/"


@pytest.fixture(scope="module")
def crawled(make_site, page, run_crawl, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    hosts = {
        "a.example": {
            "/": page("/to-bad", "/bad-base", "/bad-refresh", "/bad-links", "/to-bad-port", "/empty", "/no-html", "/last"),
            "/bad-base": page("/behind-base", head=f'<base href="{BAD}">'),
            "/bad-refresh": page("/behind-refresh", head=f'<meta http-equiv="refresh" content="0; url={BAD}">'),
            "/bad-links": page(BAD, "http://a.example:99999999/", "http://a.example:port/", "//[::1", "\u0001", "http://%00/", "?" + "&" * 3000, "/behind-links"),
            "/behind-base": page(), "/behind-refresh": page(), "/behind-links": page(), "/last": page(),
            "/empty": "", "/no-html": b"\x00\x01<html" + b"<" * 50_000,
        },
        "b.example": {"/robots-elsewhere": "", "/": page()},
    }  # fmt: skip
    redirects = {"/to-bad": {"status": 302, "to": BAD}, "/to-bad-port": {"status": 301, "to": "http://a.example:port/"}}
    settings = {
        "a.example": {"redirects": redirects},
        "b.example": {"redirects": {"/robots.txt": {"status": 301, "to": BAD}}},
    }
    site = make_site(folder / "site", hosts, settings)
    return run_crawl(folder / "crawl", site=str(site), seeds=["http://a.example/", "http://b.example/"])


def test_an_address_that_cannot_be_read_is_a_reason_not_an_end(crawled):
    assert {
        url: crawled.skipped()[f"http://a.example/{url}"]["reason"] for url in ("to-bad", "to-bad-port")
    } == dict.fromkeys(("to-bad", "to-bad-port"), "crawl.scheme")
    behind = {
        f"http://a.example/{name}"
        for name in (
            "bad-base",
            "behind-base",
            "bad-refresh",
            "behind-refresh",
            "bad-links",
            "behind-links",
            "empty",
            "no-html",
            "last",
        )
    }
    assert behind <= set(crawled.records())


def test_a_robots_txt_that_leads_nowhere_closes_nothing(crawled):
    assert "http://b.example/" in crawled.records()


@pytest.mark.parametrize(("what", "outcome"), [("links", None), ("record", "crawl.error")])
def test_a_fault_nobody_foresaw_costs_its_page(tmp_path, what, outcome):
    """In a process of its own, since Scrapy is one process's."""
    script = f"""
import json
from pathlib import Path
from scrapy.http import HtmlResponse, Request
from stages.ingest.crawl import CrawlConfig, CrawlOptions, spider as module
from stages.ingest.crawl.frontier import Visit
config = CrawlConfig(group="g", folder={str(tmp_path)!r}, hosts=["a.example"], seeds=[], others={{}}, mapped={{}},
                     options=CrawlOptions(seeds=["http://a.example/"]))
spider = module.GroupSpider(config)
spider.frontier.offer([Visit("http://a.example/"), Visit("http://a.example/next")])
def broken(*_):
    raise RecursionError("deep inside a library")
if {what!r} == "links":
    module.links_of = broken
else:
    spider.recorder.add = broken
visit = spider.frontier.take(1, 1)[0]
request = Request(visit.url, meta={{"visit": visit}})
following = list(spider.arrived(HtmlResponse(visit.url, body=b"<p>text", request=request)))
print(json.dumps([[r.url for r in following], list(spider.frontier.skipped()), spider.frontier.summary()["recorded"]]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    following, skipped, recorded = json.loads(done.stdout)
    assert following == ["http://a.example/next"]
    assert [row["reason"] for row in skipped] == ([outcome] if outcome else [])
    assert [row["note"] for row in skipped] == (["RecursionError"] if outcome else []) and recorded == (outcome is None)


def test_a_page_of_very_many_links(make_site, run_crawl, tmp_path):
    """Links past `max_links` are counted; past `max_pages` they are finished at once; nothing of either is asked."""
    links = "".join(f"<a href=/{n}>{n}</a>" for n in range(60_000))
    pages = {"/": f"<!DOCTYPE html><p>Grain.</p>{links}", **{f"/{n}": "<p>flour" for n in range(30)}}
    site = make_site(tmp_path / "site", {"a.example": pages})
    crawled = run_crawl(tmp_path / "crawl", site=str(site), max_pages=20, max_links=100)
    assert (
        len(crawled.records()) == 20
        and sum(n for (url, _), n in crawled.requests().items() if "robots" not in url) == 20
    )
    assert {row["reason"] for row in crawled.skipped().values()} == {"crawl.page_limit"} and len(
        crawled.skipped()
    ) == 81
    assert crawled.groups[0].beyond == 60_000 - 100
