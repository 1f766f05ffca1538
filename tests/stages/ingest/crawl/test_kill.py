"""kill -9 of the crawler's processes in the middle, and the same call again: nothing lost, nothing recorded twice."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import InfraError
from stages.ingest.crawl import LOCK, CrawlOptions, crawl_group, crawl_tasks, recording
from stages.ingest.crawl.frontier import FRONTIER

DRIVER = """
import sys
from pipeline.engine.pool import Inline
from stages.ingest.crawl import CrawlOptions, crawl
crawl(CrawlOptions.model_validate_json(sys.argv[1]), sys.argv[2], Inline())
"""
GROUP = "maetdol.example"


def finished_urls(recorded: Path) -> int:
    try:
        with sqlite3.connect(f"file:{recorded / FRONTIER}?mode=ro", uri=True, timeout=30) as db:
            return db.execute("SELECT count(*) FROM urls WHERE state = 1").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.01)


def free(recorded: Path) -> bool:
    """Whether the child that crawled in `recorded` is gone: its lock is the kernel's to give."""
    with open(recorded / LOCK, "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def drive(options: CrawlOptions, folder: Path, repo: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", DRIVER, options.model_dump_json(), str(folder)], cwd=repo)


def only(own_site: Path, **more) -> CrawlOptions:
    """The own site's bigger group alone, slow enough to be hit in the middle."""
    seeds = ["http://maetdol.example/", "http://en.maetdol.example/"]
    return CrawlOptions(**{"site": str(own_site), "seeds": seeds, "delay": 0.03, "backoff": 0.05, **more})


def damage(recorded: Path) -> None:
    """What a kill may leave behind: half a record, half a frame of the frontier's log."""
    for path in recorded.glob("*.warc.gz"):
        with open(path, "ab") as file:
            file.write(path.read_bytes()[:700])
    with open(recorded / f"{FRONTIER}-wal", "ab") as file:
        file.write(b"\0" * 1000)


def proof(crawled, undisturbed, most_twice: int) -> None:
    """The same records as in an undisturbed crawl; every page asked once, but for those on their way at a kill."""
    of_group = {url: record["id"] for url, record in undisturbed.records().items() if "jangteo" not in url}
    assert {url: record["id"] for url, record in crawled.records().items()} == of_group
    asked = {
        url: n for (url, status), n in crawled.requests().items() if status == 200 and not url.endswith("/robots.txt")
    }
    assert set(of_group) <= set(asked)
    assert sum(n - 1 for n in asked.values()) <= most_twice
    assert not [url for url in asked if "/private/" in url]
    skipped = {url: row["reason"] for url, row in undisturbed.skipped().items()}
    assert {url: row["reason"] for url, row in crawled.skipped().items()} == skipped


def test_driver_and_child_killed_in_mid_crawl(own_site, repo, site_crawl, run_crawl, tmp_path):
    options = only(own_site)
    recorded = recording(options, tmp_path) / GROUP
    driver = drive(options, tmp_path, repo)
    wait_until(lambda: finished_urls(recorded) > 20)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_until(lambda: free(recorded))
    before = finished_urls(recorded)
    damage(recorded)

    (task,) = crawl_tasks(options, tmp_path)
    killer = subprocess.Popen([sys.executable, "-c", KILLER, str(recorded), str(before + 15)])
    with pytest.raises(InfraError):
        crawl_group(task)
    killer.wait()
    damage(recorded)
    crawled = run_crawl(tmp_path, **options.model_dump())
    proof(crawled, site_crawl, most_twice=2 * 4)


KILLER = """
import os, signal, sqlite3, sys, time
from pathlib import Path
place, pages = Path(sys.argv[1]), int(sys.argv[2])
done = 0
while done < pages:
    time.sleep(0.01)
    try:
        with sqlite3.connect(f"file:{place}/frontier.sqlite?mode=ro", uri=True, timeout=30) as db:
            done = db.execute("SELECT count(*) FROM urls WHERE state = 1").fetchone()[0]
    except sqlite3.OperationalError:
        continue
os.kill(int((place / "lock").read_text()), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_pool_goes_on_by_itself_after_the_child_is_killed(own_site, site_crawl, run_crawl, tmp_path):
    options = only(own_site)
    (task,) = crawl_tasks(options, tmp_path)
    killer = subprocess.Popen([sys.executable, "-c", KILLER, task.folder, "30"])
    crawled = run_crawl(tmp_path, **options.model_dump())
    assert killer.wait() == 0
    proof(crawled, site_crawl, most_twice=4)


@pytest.mark.slow
def test_killed_at_ten_random_moments(own_site, repo, site_crawl, run_crawl, tmp_path):
    options = only(own_site)
    recorded = recording(options, tmp_path) / GROUP
    moments = random.Random(17)
    for _ in range(10):
        target = finished_urls(recorded) + moments.randint(1, 12)
        driver = drive(options, tmp_path, repo)
        wait_until(lambda: finished_urls(recorded) >= target or driver.poll() is not None)
        time.sleep(moments.random() * 0.05)
        driver.kill()
        driver.wait()
        wait_until(lambda: not recorded.is_dir() or free(recorded))
    crawled = run_crawl(tmp_path, **options.model_dump())
    proof(crawled, site_crawl, most_twice=10 * 4)
