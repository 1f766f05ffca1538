"""How long the pages of `maetdol view` take over a root of make_root.py, and what its server holds: one request after another.

python tests/bench/view/measure.py ROOT          # on disk
python tests/bench/view/measure.py ROOT s3       # copied to a moto server first; requests to it and megabytes read of it are counted

Seconds on the wall, CPU seconds of the server, KB of the page.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

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
    "Life of a document by address": f"/life?what={URL}", "Duplicates": "/s/unique/groups", "Edits": "/s/clean/edits",
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

    def requests(self) -> tuple[int, float]:
        rows = [line.split("\t") for line in self.log.read_text("utf-8").splitlines()] if self.log else []
        return len(rows), sum(int(row[3]) for row in rows if row[0] == "GET") / 1e6

    def page(self, name: str, path: str) -> str:
        cpu, before, start = self.cpu(), self.requests(), time.monotonic()
        with self.browser.open(urllib.parse.urljoin(self.link, path)) as answer:
            text = answer.read().decode()
        wall, after = time.monotonic() - start, self.requests()
        more = f" {after[0] - before[0]} | {after[1] - before[1]:,.1f} |" if self.log else ""
        print(f"| {name} | {wall:.2f} | {self.cpu() - cpu:.2f} | {len(text) // 1024} |{more}", flush=True)
        return text


def measure(root: str, log: Path | None = None) -> None:
    visit, row_id = Visit(root, log), ""
    try:
        visit.page("Funnel, first", visit.link)
        for name, path in PAGES.items():
            text = visit.page(name, path.format(id=row_id))
            row_id = row_id or next(iter(re.findall(r'data-id="([0-9a-f]{32})"', text)), "")
        print(visit.memory())
    finally:
        visit.process.terminate()
        visit.process.wait()


if __name__ == "__main__":
    if "s3" not in sys.argv[2:]:
        measure(sys.argv[1])
    else:
        from pipeline.storage.files import filesystem
        from tests.s3 import served

        with tempfile.TemporaryDirectory() as folder, served("mill", log := Path(folder) / "log") as bucket:
            where, here = filesystem(f"{bucket}/root"), Path(sys.argv[1])
            for path in (path for path in here.rglob("*") if path.is_file()):
                where.write(path.relative_to(here).as_posix(), path.read_bytes())
            measure(f"{bucket}/root", log)
