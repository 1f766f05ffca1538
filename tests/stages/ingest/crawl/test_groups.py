"""Groups of hosts: how they are made, and how they hand each other the links they find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Failure
from pipeline.errors import DiskFull, OptionError, WorkError
from stages.ingest.crawl import CrawlOptions, crawl, crawl_group, crawl_tasks
from stages.ingest.crawl.urls import groups_of, registered_name


def test_hosts_of_one_registered_name_stay_together():
    hosts = ["b.one.co.kr", "a.one.co.kr", "two.example", "10.0.0.1"]
    assert groups_of(hosts, 8) == {
        "10.0.0.1": ["10.0.0.1"], "one.co.kr": ["a.one.co.kr", "b.one.co.kr"], "two.example": ["two.example"],
    }  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(
    names=st.lists(st.sampled_from([f"{s}n{i}.com" for i in range(12) for s in ("", "www.")]), min_size=1),
    most=st.integers(1, 6),
)
def test_folding_keeps_every_host_once_and_names_together(names, most):
    groups = groups_of(names, most)
    members = [host for hosts in groups.values() for host in hosts]
    assert sorted(members) == sorted(set(names)) and len(groups) <= most
    where = {registered_name(host): group for group, hosts in groups.items() for host in hosts}
    assert all(where[registered_name(host)] == group for group, hosts in groups.items() for host in hosts)


def test_a_link_into_another_group_is_followed_there(make_site, page, run_crawl, tmp_path):
    """The only way to b.example/hidden is a page of a.example, and the way back leads on to a.example/late."""
    hosts = {
        "a.example": {"/": page("http://b.example/hidden", "http://c.example/"), "/late": page()},
        "b.example": {"/": page(), "/hidden": page("http://a.example/late")},
    }
    site = make_site(tmp_path / "site", hosts)
    seeds = ["http://a.example/", "http://b.example/"]
    crawled = run_crawl(tmp_path / "crawl", site=str(site), seeds=seeds)
    assert [group.group for group in crawled.groups] == ["a.example", "b.example"]
    assert set(crawled.records()) == {
        "http://a.example/",
        "http://a.example/late",
        "http://b.example/",
        "http://b.example/hidden",
    }
    assert {n for (url, _), n in crawled.requests().items() if "robots" not in url} == {1}
    assert crawl_tasks(crawled.options, tmp_path / "crawl") == []


def test_refresh_crawls_anew(make_site, page, run_crawl, tmp_path):
    site = make_site(tmp_path / "site", {"a.example": {"/": page()}})
    first = run_crawl(tmp_path / "crawl", site=str(site))
    again = run_crawl(tmp_path / "crawl", site=str(site), refresh=True)
    assert again.folder == first.folder
    assert again.requests()["http://a.example/", 200] == 1, "the old recording and its log are gone"
    assert set(again.records()) == {"http://a.example/"}


@pytest.mark.parametrize(
    ("given_options", "words"),
    [
        ({}, "nothing to crawl"),
        ({"seeds": ["ftp://a.example/"]}, "not an http or https address"),
        ({"seeds": ["http://me:secret@a.example/"]}, "user name or password"),
        ({"seeds": ["http://a.example/"], "hosts": {"a.example": "here"}}, "ADDRESS:PORT"),
        ({"seeds": ["http://a.example/"], "dept": 3}, "dept"),
        ({"seeds": ["http://a.example/"], "user_agent": "a\r\nHost: b"}, "user_agent"),
    ],
)
def test_bad_options_are_named(given_options, words):
    with pytest.raises(OptionError) as fault:
        CrawlOptions.build(given_options, "ingest.crawl")
    assert words in str(fault.value)
    assert "me:secret" not in str(fault.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full stands for a full disk")
def test_a_full_disk_is_named_and_the_crawl_goes_on_later(make_site, page, run_crawl, tmp_path):
    site = make_site(tmp_path / "site", {"a.example": {"/": page("/b"), "/b": page()}})
    options = CrawlOptions(site=str(site), delay=0)
    (task,) = crawl_tasks(options, tmp_path)
    full = Path(task.folder) / "00000.warc.gz"
    full.symlink_to("/dev/full")
    with pytest.raises(DiskFull, match="run again"):
        crawl_group(task)
    full.unlink()
    assert len(run_crawl(tmp_path, **options.model_dump()).records()) == 2


class FailingPool:
    def each(self, fn, tasks, **_):
        return iter([Failure("a.example", "no room", error=WorkError("no room", "make some"))])


def test_a_failed_group_fails_the_crawl(tmp_path):
    with pytest.raises(WorkError, match="no room"):
        crawl(CrawlOptions(seeds=["http://a.example/"]), tmp_path, FailingPool())
