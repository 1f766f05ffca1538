"""The project's own site through the real crawler: every allowed page once, nothing else, bytes as they were sent."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pipeline.engine.pool import Inline
from stages.ingest.crawl import CrawlOptions, crawl, crawl_tasks


def pages_of(site: Path) -> dict[str, Path]:
    """URL -> file of every HTML page of the site."""
    pages = {}
    for file in (site / "pages").rglob("*.html"):
        host, *rest = file.relative_to(site / "pages").with_suffix("").parts
        pages[f"http://{host}/" + "/".join(rest if rest != ["index"] else [])] = file
    return pages


def test_every_allowed_page_is_recorded_once(site_crawl, own_site):
    allowed = {url for url in pages_of(own_site) if "/private/" not in url}
    assert len(allowed) > 60
    assert set(site_crawl.records()) == allowed
    asked = site_crawl.requests()
    assert {url: n for (url, status), n in asked.items() if status == 200 and url in allowed} == dict.fromkeys(
        allowed, 1
    )


def test_payloads_are_the_bytes_that_were_sent(site_crawl, own_site):
    records = site_crawl.records()
    for url, file in pages_of(own_site).items():
        if url in records:
            assert records[url]["payload"] == file.read_bytes()


def test_the_closed_folder_is_never_asked(site_crawl):
    assert not [url for url, _ in site_crawl.requests() if "/private/" in url]
    closed = {url for url, row in site_crawl.skipped().items() if row["reason"] == "crawl.robots"}
    assert closed == {
        "http://maetdol.example/private/ledger",
        "http://maetdol.example/private/minutes",
        "http://en.maetdol.example/private/accounts",
    }


def test_robots_txt_comes_first(site_crawl):
    for group in site_crawl.groups:
        first: dict[str, str] = {}
        for line in (Path(group.folder) / "requests.jsonl").read_text().splitlines():
            row = json.loads(line)
            first.setdefault(row["host"], row["path"])
        assert set(first.values()) == {"/robots.txt"}


def test_a_busy_page_is_asked_again(site_crawl):
    asked = site_crawl.requests()
    url = "http://maetdol.example/soy/soymilk"
    assert asked[url, 503] == 1 and asked[url, 200] == 1
    assert site_crawl.records()[url]["status"] == 200


def test_redirects_and_the_loop_end(site_crawl):
    skipped = site_crawl.skipped()
    assert skipped["http://maetdol.example/home"]["to"] == "http://maetdol.example/"
    assert skipped["http://maetdol.example/grain/maemil"]["reason"] == "crawl.redirect"
    assert skipped["http://maetdol.example/loop/a"]["reason"] == "crawl.redirect"
    assert skipped["http://maetdol.example/loop/b"]["reason"] == "crawl.redirect_loop"
    asked = site_crawl.requests()
    assert asked["http://maetdol.example/loop/a", 302] == asked["http://maetdol.example/loop/b", 302] == 1


def test_missing_pages_and_other_files_are_accounted_for(site_crawl):
    skipped = site_crawl.skipped()
    assert skipped["http://maetdol.example/handbook/lost-page"]["reason"] == "crawl.http_404"
    assert skipped["http://maetdol.example/files/flour-prices.csv"] == {
        "url": "http://maetdol.example/files/flour-prices.csv", "reason": "crawl.content_type", "status": 200, "note": "text/csv",
    }  # fmt: skip
    assert skipped["http://maetdol.example/files/mark.png"]["reason"] == "crawl.content_type"
    assert not [url for url, _ in site_crawl.requests() if url.endswith(".png")], (
        "an image's ending is enough not to ask"
    )


def test_every_address_is_accounted_for(site_crawl):
    """What the pages link to on the site's hosts is recorded or has a reason."""
    known = set(site_crawl.records()) | set(site_crawl.skipped())
    asked = {url for url, _ in site_crawl.requests() if not url.endswith("/robots.txt")}
    assert asked <= known


def test_the_cp949_page_keeps_its_bytes_and_no_charset(site_crawl):
    record = site_crawl.records()["http://maetdol.example/old/1998-notice"]
    assert record["headers"]["content-type"] == "text/html"
    assert "똠방각하" in record["payload"].decode("cp949")


def test_addresses_are_free_of_ports_and_members_of_gzip_are_single_records(site_crawl):
    import fastwarc

    for url in [*site_crawl.records(), *site_crawl.skipped()]:
        assert ":" not in url.removeprefix("http://")
    for group in site_crawl.groups:
        for path in group.warcs:
            with open(path, "rb") as file:
                starts = [record.stream_pos for record in fastwarc.ArchiveIterator(file)]
            data = Path(path).read_bytes()
            assert all(data[start : start + 2] == b"\x1f\x8b" for start in starts)
            assert len(set(starts)) == len(starts)


def test_ids_follow_from_address_and_payload(site_crawl):
    from stages.ingest.crawl.recorder import record_id

    records = site_crawl.records()
    assert all(record["id"] == record_id(url, record["payload"]) for url, record in records.items())
    assert len({record["id"] for record in records.values()}) == len(records)


def test_a_finished_crawl_is_not_repeated(site_crawl):
    folder = site_crawl.folder.parent
    before = site_crawl.requests()
    assert crawl_tasks(site_crawl.options, folder) == []
    assert crawl(site_crawl.options, folder, Inline()) == site_crawl.groups
    assert site_crawl.requests() == before


def test_other_options_are_another_crawl_and_pauses_are_not(site_crawl):
    options = site_crawl.options
    assert (
        options.model_copy(update={"delay": 9.0, "hosts": {"a.example": "127.0.0.1:1"}}).fingerprint()
        == options.fingerprint()
    )
    assert options.model_copy(update={"depth": 1}).fingerprint() != options.fingerprint()


def test_a_shortened_recording_counts_as_unfinished(site_crawl, tmp_path):
    import shutil

    copy = tmp_path / "crawl"
    shutil.copytree(site_crawl.folder.parent, copy)
    warc = next((copy / site_crawl.folder.name / "jangteo.example").glob("*.warc.gz"))
    warc.write_bytes(warc.read_bytes()[:-10])
    assert [task.name for task in crawl_tasks(site_crawl.options, copy)] == ["jangteo.example"]


def test_what_site_yaml_names_is_there(own_site):
    settings = yaml.safe_load((own_site / "site.yaml").read_text("utf-8"))
    assert settings["maetdol.example"]["unavailable"] == {"/soy/soymilk": 1}


def test_the_default_seeds_are_the_front_pages(own_site, tmp_path):
    tasks = crawl_tasks(CrawlOptions(site=str(own_site)), tmp_path)
    assert [(task.name, task.seeds) for task in tasks] == [
        ("jangteo.example", ("http://jangteo.example/",)),
        ("maetdol.example", ("http://en.maetdol.example/", "http://maetdol.example/")),
    ]
