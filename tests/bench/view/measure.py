"""How long the pages of `maetdol view` take over a root of make_root.py, and what its server holds: one request after another.

python tests/bench/view/measure.py ROOT                   # on disk
python tests/bench/view/measure.py s3://bucket/root [MS]  # where AWS_ENDPOINT_URL points: a server of one's own, each answer MS later
python tests/bench/view/measure.py ROOT s3 [MS]           # copied to a moto server first, which copies an object for every range

Seconds on the wall, CPU seconds of the server, KB of the page; of object storage requests, how many of them came one after another, and
megabytes (counting_proxy.py; an endpoint that is not http is asked as it is, and nothing is counted).
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path

from pipeline.storage.files import filesystem
from tests.bench.view.counting_proxy import counted
from tests.s3 import free_port, listens, served

EN, RARE, URL = (urllib.parse.quote(word, safe="") for word in
                 ("lang = 'en'", "lang = 'en' AND lang_score < 0.7", "https://c-cpp-docs-ko.example/100/0"))  # fmt: skip
REASON = "/s/quality/reason/word_count.low"
PAGES = {
    "Funnel, again": "/", "A store": "/s/quality", "A reason, nearest first": REASON, "The same again": REASON,
    "A reason, random": f"{REASON}?order=random&seed=3", "A reason, by a word of its texts": f"{REASON}?grep=std&literal=1",
    "Histogram of a metric": "/s/quality/metric/word_count.words",
    "What another limit would change": "/s/quality/what-if?option=word_count.min&value=40",
    "Rows": "/s/pages/rows", "Rows, the 250th page": "/s/pages/rows?start=5000", "Random rows": "/s/pages/rows?seed=5",
    "Random rows of a language": f"/s/quality/rows?seed=5&where={EN}", "Rows by a condition": f"/s/quality/rows?where={RARE}",
    "A word that is found": "/s/pages/rows?grep=iterator&literal=1", "A pattern that is nowhere": "/s/pages/rows?grep=nobody%20wrote%20t%5Cw%2Bs",
    "The same once more": "/s/pages/rows?grep=nobody%20wrote%20t%5Cw%2Bs", "Random rows with a word": "/s/pages/rows?seed=5&grep=iterator&literal=1",
    "Kept and dropped beside each other": "/s/quality/rows?side=both&seed=5", "Life of a document by id": "/life?what={id}",
    "Life of a document by address": f"/life?what={URL}",
    "An address that is nowhere": "/life?what=https%3A%2F%2Fnowhere.example%2F", "Duplicates": "/s/unique/groups", "Edits": "/s/clean/edits",
}  # fmt: skip


class Visit:
    """A server over `root`, and what it took so far."""

    def __init__(self, root: str, log: Path | None):
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "view", root, "--port", "0"]
        self.process, self.log = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), log
        assert self.process.stdout
        self.link = self.process.stdout.readline().strip()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def _status(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def cpu(self) -> float:
        ticks = self._status("stat").rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> str:
        found = {
            name: int(size) // 1024 for name, size in re.findall(r"(RssAnon|VmHWM):\s+(\d+) kB", self._status("status"))
        }
        return f"{found['RssAnon']} MB of its own, {found['VmHWM']} MB resident at most, mapped shards among it"

    def asked(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines() if self.log else []

    def page(self, name: str, path: str) -> str:
        cpu, before, start = self.cpu(), len(self.asked()), time.monotonic()
        try:
            with self.browser.open(urllib.parse.urljoin(self.link, path)) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as refused:  # what is nowhere is not found
            text = refused.read().decode()
        self.say(name, time.monotonic() - start, self.cpu() - cpu, f"{len(text) // 1024}", before)
        return text

    def say(self, name: str, wall: float, cpu: float, size: str, before: int) -> None:
        more = "{} | {} | {:,.1f} |".format(*counted(self.asked()[before:])) if self.log else ""
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {size} | {more}", flush=True)


def measure(root: str, log: Path | None = None) -> None:
    start, visit, row_id = time.monotonic(), Visit(root, log), ""
    visit.say("Start, to the link", time.monotonic() - start, visit.cpu(), "", 0)
    try:
        visit.page("Funnel, first", visit.link)
        for name, path in PAGES.items():
            text = visit.page(name, path.format(id=row_id))
            row_id = row_id or next(iter(re.findall(r'data-id="([0-9a-f]{32})"', text)), "")
        print(visit.memory())
    finally:
        visit.process.terminate()
        visit.process.wait()


@contextmanager
def counting(delay: str) -> Iterator[Path | None]:
    """The log of a proxy before the server that the environment points to; None where there is no such."""
    upstream = os.environ.get("AWS_ENDPOINT_URL", "")
    if not upstream.startswith("http:"):
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port, script, log = free_port(), Path(__file__).with_name("counting_proxy.py"), Path(folder) / "log"
        log.touch()
        proxy = subprocess.Popen([sys.executable, str(script), str(port), upstream, delay, str(log)])
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        try:
            listens(proxy, port)
            yield log
        finally:
            os.environ["AWS_ENDPOINT_URL"] = upstream
            proxy.kill()
            proxy.wait()


def uploaded(root: str, to: str) -> None:
    where, here = filesystem(to), Path(root)
    for path in (path for path in here.rglob("*") if path.is_file()):
        where.write(path.relative_to(here).as_posix(), path.read_bytes())


if __name__ == "__main__":
    root, *given = sys.argv[1:]
    if given[:1] == ["s3"]:
        with served("mill") as bucket:
            uploaded(root, f"{bucket}/root")
            with counting(given[1] if given[1:] else "0") as log:
                measure(f"{bucket}/root", log)
    elif "://" in root:
        with counting(given[0] if given else "0") as log:
            measure(root, log)
    else:
        measure(root)
