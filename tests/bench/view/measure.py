"""How long the pages of `maetdol view` take over a root, and what its server holds: each page first and again, one request after another.

python tests/bench/view/measure.py ROOT [--profile]      # of make_root.py; s3://... with the environment pointing at the storage

Beside the seconds on the wall, CPU seconds of the server and, of object storage, what `tests/s3.py` wrote of requests into LOG.
"""

import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

root, log = sys.argv[1], Path(os.environ.get("LOG", os.devnull))
process = subprocess.Popen(
    [sys.executable, "-c", "from pipeline.cli import main; main()", "view", root, "--port", "0"], stdout=subprocess.PIPE, text=True
)  # fmt: skip
link = process.stdout.readline().strip()
home = link.partition("/?")[0]
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def spent() -> float:
    """CPU seconds of the server."""
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def memory() -> dict[str, int]:
    """MB of the server: its own, and resident at most."""
    lines = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text()))
    return {name: int(lines[name]) // 1024 for name in ("RssAnon", "VmHWM")}


def asked() -> tuple[int, int]:
    """Requests to object storage so far, and bytes read."""
    if not log.is_file():
        return 0, 0
    rows = [line.split("\t") for line in log.read_text("utf-8").splitlines()]
    return len(rows), sum(int(row[3]) for row in rows if row[0] == "GET")


def page(name: str, path: str) -> str:
    """Ask for a page; print what it took."""
    cpu, before, start = spent(), asked(), time.monotonic()
    with browser.open(home + path) as answer:
        text = answer.read().decode()
    wall, after = time.monotonic() - start, asked()
    more = f" | {after[0] - before[0]} | {(after[1] - before[1]) / 1e6:,.1f}" if log.is_file() else ""
    print(f"| {name} | {wall:.2f} | {spent() - cpu:.2f} | {len(text) // 1024}{more} |", flush=True)
    return text


try:
    start = time.monotonic()
    page("Funnel, first", link.removeprefix(home))
    page("Funnel, again", "/")
    page("A store", "/s/quality")
    reason = "/s/quality/reason/word_count.low"
    found = page("A reason, nearest first", reason)
    page("The same again", reason)
    page("A reason, random", f"{reason}?order=random&seed=3")
    page("A reason, with a word of its texts", f"{reason}?grep=std&literal=1")
    page("Histogram of a metric", "/s/quality/metric/word_count.words")
    page("What another limit would change", "/s/quality/what-if?option=word_count.min&value=40")
    page("Rows", "/s/pages/rows")
    page("Rows, the 250th page", "/s/pages/rows?start=5000")
    page("Random rows", "/s/pages/rows?seed=5")
    page("Random rows of a language", "/s/quality/rows?seed=5&where=" + urllib.parse.quote("lang = 'en'"))
    page("Rows by a condition", "/s/quality/rows?where=" + urllib.parse.quote("lang = 'en' AND lang_score < 0.7"))
    page("A word that is found", "/s/pages/rows?grep=iterator&literal=1")
    page("A pattern that is nowhere", "/s/pages/rows?grep=nobody%20wrote%20t%5Cw%2Bs")
    page("The same again", "/s/pages/rows?grep=nobody%20wrote%20t%5Cw%2Bs")
    page("Random rows with a word", "/s/pages/rows?seed=5&grep=iterator&literal=1")
    page("Kept and dropped beside each other", "/s/quality/rows?side=both&seed=5")
    ids = re.findall(r'data-id="([0-9a-f]{32})"', found)
    page("Life of a document by id", f"/life?what={ids[0]}")
    page("Another", f"/life?what={ids[1]}")
    url = urllib.parse.quote("https://c-cpp-docs-ko.example/100/0", safe="")
    page("Life of a document by address", f"/life?what={url}")
    page("Duplicates", "/s/unique/groups")
    page("Edits", "/s/clean/edits")
    print({**memory(), "seconds": round(time.monotonic() - start, 1)})
finally:
    process.terminate()
    process.wait()
