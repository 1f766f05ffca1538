"""What a crawl must not do or must give up, on a site made for it: one crawl, many claims."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CAP = 64 * 1024
ENDLESS = 16_384 * CAP
"""Bytes the endless page would send: a gigabyte, far more than socket buffers hold, so that a sender who is done was never cut off."""


class Endless(BaseHTTPRequestHandler):
    """Pages without a Content-Length: too long ones, broken ones. Counts what it managed to send."""

    protocol_version = "HTTP/1.1"
    sent = 0
    asked: list[str] = []

    def do_GET(self):
        type(self).asked.append(self.path)
        if self.path == "/robots.txt":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.path == "/broken":
            self.wfile.write(b"10\r\nhalf of a chunk")
            self.close_connection = True
            return
        try:
            for _ in range(ENDLESS // 4096):
                self.wfile.write(b"1000\r\n" + b"a" * 4096 + b"\r\n")
                type(self).sent += 4096
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *words):
        """Quiet."""


@pytest.fixture(scope="module")
def endless():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def crawled(endless, make_site, page, run_crawl, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    port = endless
    inside = f"http://localhost:{port}/inside"
    hosts = {
        "a.example": {
            "/robots.txt": "User-agent: maetdol\nDisallow: /for-others\nUser-agent: *\nDisallow: /\n",
            "/": page(
                "/one",
                "/for-others",
                "/large",
                "/bomb",
                "/nofollow",
                "/header-nofollow",
                "/hops/1",
                "/json",
                "/to-inside",
                "/mail",
                "/packed",
                "/bad-gzip",
                "http://elsewhere.example/",
                "http://www.a.example/www",
                "/one?utm_source=x#part",
                "/one?b=2&a=1",
                "/one?a=1&b=2",
                "javascript:void(0)",
                "mailto:a@b.example",
                "/to-elsewhere",
                "/to-file",
                "/frame",
                "/" + "x" * 3000,
                "/broken-status",
            ),  # fmt: skip
            "/one": page("/two"),
            "/two": page("/three"),
            "/three": page("/four"),
            "/large": "x" * (CAP + 1),
            "/bomb": gzip.compress(b"x" * (CAP * 50)),
            "/packed": gzip.compress(page("/from-packed").encode()),
            "/from-packed": page(),
            "/bad-gzip": b"\x1f\x8b\x08 this is not what it says",
            "/nofollow": page("/only-from-nofollow-1", head='<meta name="robots" content="noindex, NOFOLLOW">'),
            "/header-nofollow": page("/only-from-nofollow-2"),
            "/frame": '<html><head><meta http-equiv="refresh" content="0; url=/refreshed"></head><frameset><frame src="/framed"></frameset></html>',
            "/refreshed": page(),
            "/framed": page(),
            "/hops/end": page(),
            "/json": b"{}",
        },
        "www.a.example": {"/www": page(), "/robots.txt": ""},
        "down.example": {"/robots.txt": "", "/": page()},
        "gone.example": {"/": page()},
        "slow.example": {"/robots.txt": "User-agent: *\nCrawl-delay: 900\n", "/": page()},
        "many.example": {"/": page(*[f"/{n}" for n in range(30)]), **{f"/{n}": page() for n in range(30)}},
    }
    hops = {f"/hops/{n}": {"status": 302, "to": f"/hops/{n + 1}"} for n in range(1, 9)}
    settings = {
        "a.example": {
            "redirects": hops | {
                "/to-inside": {"status": 302, "to": inside},
                "/to-elsewhere": {"status": 301, "to": "http://elsewhere.example/x"},
                "/to-file": {"status": 301, "to": "file:///etc/passwd"},
                "/robots-alias.txt": {"status": 301, "to": "/robots.txt"},
            },
            "headers": {
                "/bomb": {"Content-Encoding": "gzip"},
                "/packed": {"Content-Encoding": "gzip"},
                "/bad-gzip": {"Content-Encoding": "gzip"},
                "/header-nofollow": {"X-Robots-Tag": "otherbot: noindex", "X-Robots-tag": "nofollow"},
            },
            "types": {"/json": "application/json"},
            "unavailable": {"/broken-status": 99},
        },
        "down.example": {"unavailable": {"/robots.txt": 99}},
    }  # fmt: skip
    site = make_site(folder / "site", hosts, settings)
    return run_crawl(
        folder / "crawl", site=str(site), max_bytes=CAP, depth=2, redirects=3, retries=1, backoff=0.01, max_pages=25, groups=1,
        hosts={"endless.example": f"127.0.0.1:{port}"},
        seeds=[f"http://{host}/" for host in ("a.example", "down.example", "gone.example", "slow.example", "many.example")]
        + ["http://endless.example/stream", "http://endless.example/broken", inside, "http://[::1]:1/", "http://no-such-name.invalid/"],
    )  # fmt: skip


def reason(crawled, url: str) -> str:
    return crawled.skipped()[url]["reason"]


def test_private_addresses_are_refused_also_after_a_redirect(crawled, endless):
    assert reason(crawled, f"http://localhost:{endless}/inside") == "crawl.private_address"
    assert reason(crawled, "http://[::1]:1/") == "crawl.private_address"
    assert crawled.skipped()["http://a.example/to-inside"]["reason"] == "crawl.redirect"
    assert "/inside" not in Endless.asked, "nothing was sent to the private address"


def test_a_name_without_an_address_is_another_matter(crawled):
    assert reason(crawled, "http://no-such-name.invalid/") == "crawl.dns"


def test_size_is_capped_by_header_by_stream_and_by_decompression(crawled):
    assert reason(crawled, "http://a.example/large") == "crawl.too_large"
    assert reason(crawled, "http://endless.example/stream") == "crawl.too_large"
    assert reason(crawled, "http://a.example/bomb") == "crawl.too_large"
    assert Endless.sent < ENDLESS, "the connection was cut while the page was coming"


def test_a_broken_answer_is_named(crawled):
    assert reason(crawled, "http://endless.example/broken") == "crawl.incomplete"
    assert reason(crawled, "http://a.example/bad-gzip") == "crawl.incomplete"


def test_a_packed_page_is_recorded_unpacked(crawled):
    record = crawled.records()["http://a.example/packed"]
    assert record["payload"].startswith(b"<!DOCTYPE html>")
    assert "content-encoding" not in record["headers"]
    assert int(record["headers"]["content-length"]) == len(record["payload"])
    assert "http://a.example/from-packed" in crawled.records()


def test_robots_rules_are_those_for_this_crawler(crawled):
    assert reason(crawled, "http://a.example/for-others") == "crawl.robots"
    assert "http://a.example/one" in crawled.records()


def test_a_host_whose_robots_txt_fails_is_closed_and_one_without_is_open(crawled):
    assert reason(crawled, "http://down.example/") == "crawl.robots_unreachable"
    assert crawled.requests()["http://down.example/robots.txt", 503] == 2
    assert "http://gone.example/" in crawled.records()
    assert reason(crawled, "http://slow.example/") == "crawl.slow_host"


def test_nofollow_is_honoured_in_page_and_header(crawled):
    records = crawled.records()
    assert {"http://a.example/nofollow", "http://a.example/header-nofollow"} <= set(records)
    known = set(records) | set(crawled.skipped())
    assert not [url for url in known if "only-from-nofollow" in url]


def test_depth_and_page_limits(crawled):
    assert "http://a.example/two" in crawled.records()
    assert reason(crawled, "http://a.example/three") == "crawl.depth"
    of_many = [url for url in crawled.records() if "many.example" in url]
    assert len(of_many) == 25
    assert (
        sum(row["reason"] == "crawl.page_limit" for url, row in crawled.skipped().items() if "many.example" in url) == 6
    )


def test_redirects_end(crawled):
    assert reason(crawled, "http://a.example/hops/3") == "crawl.redirect"
    assert reason(crawled, "http://a.example/hops/4") == "crawl.redirect_limit"
    assert reason(crawled, "http://a.example/to-elsewhere") == "crawl.outside"
    assert reason(crawled, "http://a.example/to-file") == "crawl.scheme"


def test_one_address_has_one_form(crawled):
    ones = [url for url in crawled.records() if url.startswith("http://a.example/one")]
    assert sorted(ones) == ["http://a.example/one", "http://a.example/one?a=1&b=2"]


def test_hosts_that_are_not_crawled_are_counted_and_www_is_the_same_site(crawled):
    assert not [
        url
        for url in set(crawled.records()) | set(crawled.skipped())
        if "elsewhere.example" in url and "to-" not in url
    ]
    assert crawled.groups[0].outside >= 2
    assert "http://www.a.example/www" in crawled.records()


def test_frames_and_refreshes_are_links(crawled):
    assert {"http://a.example/framed", "http://a.example/refreshed"} <= set(crawled.records())


def test_types_lengths_and_statuses_have_reasons(crawled):
    assert reason(crawled, "http://a.example/json") == "crawl.content_type"
    assert reason(crawled, "http://a.example/" + "x" * 3000) == "crawl.url_too_long"
    assert reason(crawled, "http://a.example/broken-status") == "crawl.http_503"
    assert reason(crawled, "http://a.example/mail") == "crawl.http_404"
