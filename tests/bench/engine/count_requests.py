"""Requests and bytes of each step against object storage, by method and by folder, for more and more shards.

    python tests/bench/engine/count_requests.py [--shards 16 32 64 128] [--steps quality pii dedup ingest] [--json OUT]

A moto server in a process of its own writes one line a request. The documents are the Korean C++ manual of ../shared/data, 32 to
a shard; `ingest` reads one file of 32 documents for each shard. Every step runs in this process (`pool: inline`), once with
everything to do and once with nothing to do.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO))

BUCKET = "mill"
ROWS = 32
"""Documents of a shard."""


class Request(NamedTuple):
    """One line of the server's log."""

    method: str
    """GET, HEAD, PUT, POST, DELETE, or LIST: a GET that lists."""
    status: int
    written: int
    read: int
    """Bytes sent to the server, and bytes it sent."""
    folder: str
    """Of the store: receipts, shards, ledger, index, passes/NAME, or manifest.json; `root` for what lies beside stores."""


class Cost(NamedTuple):
    """What a step asked of the storage."""

    requests: Counter
    """By (method, folder)."""
    read: int
    """Bytes of objects."""
    listed: int
    """Bytes of listings and of other answers."""
    written: int

    @property
    def total(self) -> int:
        return self.requests.total()

    def by(self, part: int) -> dict[str, int]:
        """Requests by method (0) or folder (1), the most first."""
        found: Counter = Counter()
        for key, count in self.requests.items():
            found[key[part]] += count
        return dict(found.most_common())


class Counted:
    """The server's log, from where it was last read."""

    def __init__(self, log: Path):
        self.log, self._at = log, 0

    def since(self) -> list[Request]:
        """Requests since the last call."""
        with open(self.log, encoding="utf-8") as lines:
            lines.seek(self._at)
            found = [_request(line.rstrip("\n").split("\t")) for line in iter(lines.readline, "")]
            self._at = lines.tell()
        return found

    def cost(self) -> Cost:
        """Of the requests since the last call."""
        found = self.since()
        return Cost(
            Counter((each.method, each.folder) for each in found),
            sum(each.read for each in found if each.method == "GET" and each.status < 300),
            sum(each.read for each in found if each.method != "GET" or each.status >= 300),
            sum(each.written for each in found),
        )


def _request(parts: list[str]) -> Request:
    method, status, written, read, path, query = parts
    lists = method == "GET" and path.strip("/") == BUCKET
    if lists:
        path = f"/{BUCKET}/{(re.search('prefix=([^&]*)', query) or ['', ''])[1]}".replace("%2F", "/")
    return Request("LIST" if lists else method, int(status), int(written), int(read), _folder(path))


def _folder(path: str) -> str:
    """The folder of an object within its store: `passes/band` of `BUCKET/RUN/STORE/passes/band/shards/00000.arrow`."""
    below = path.strip("/").split("/")[3:]
    if not below:
        return "root"
    return "/".join(below[:2]) if below[0] == "passes" else below[0]


@contextmanager
def server() -> Iterator[Counted]:
    """A moto server with the bucket `mill`; the environment points at it while the block lasts."""
    from tests.s3 import served

    with tempfile.TemporaryDirectory(prefix="maetdol-requests-") as folder:
        log = Path(folder) / "log"
        log.touch()
        with served(BUCKET, log):
            counted = Counted(log)
            counted.since()
            yield counted


def laid(root: str, texts: Sequence[str], rows: int = ROWS) -> tuple[str, int]:
    """A store of these documents, `rows` to a shard; returns its path and its bytes."""
    import pyarrow as pa

    from pipeline.schema import DOCUMENT, content_id, doc_id
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    store = Store(f"{root}/in")
    receipts = []
    for number in range(-(-len(texts) // rows)):
        some = texts[number * rows : (number + 1) * rows]
        made: list[dict[str, Any]] = [
            {
                "id": doc_id("manual", str(number * rows + at)),
                "text": text,
                "source": "manual",
                "url": f"https://example.org/{number * rows + at}",
                "content_id": content_id(text),
            }
            for at, text in enumerate(some)
        ]
        table = pa.Table.from_pylist([{**dict.fromkeys(DOCUMENT.names), **row} for row in made], DOCUMENT)
        receipts.append(store.put(number, table, Ledger.rows(table["id"]), key="laid", stage="ingest"))
    page = {"stage": "ingest", "shape": "DOCUMENT", "key": "laid", "lineage": {}, "schema": []}
    store.commit_manifest(page, [receipt.shard for receipt in receipts])
    return store.path, sum(receipt.bytes for receipt in receipts)


def poured(root: str, texts: Sequence[str], rows: int = ROWS) -> tuple[str, int]:
    """Files of JSON lines with these documents, `rows` to a file; returns their glob and their bytes."""
    from pipeline.storage.files import filesystem

    where, total = filesystem(f"{root}/raw"), 0
    for number in range(-(-len(texts) // rows)):
        some = texts[number * rows : (number + 1) * rows]
        data = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in some).encode()
        where.write(f"{number:05d}.jsonl", data)
        total += len(data)
    return where.path("*.jsonl"), total


STEPS: dict[str, Callable[[str], dict[str, Any]]] = {
    "ingest": lambda given: {"ingest": {"from": given}},
    "quality": lambda given: {"quality": {"of": given, "filters": [{"word_count": {"min": 20}}]}},
    "pii": lambda given: {"pii": {"of": given, "mask": ["email", "ip"]}},
    "dedup": lambda given: {"dedup": {"of": given}},
}


def measured(counted: Counted, root: str, step: str, given: str) -> dict[str, Cost]:
    """One step over `given`: `run` with everything to do, `again` with nothing to do."""
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    page = {"name": "requests", "root": root, "steps": [STEPS[step](given)], "run": {"pool": "inline"}}
    found = {}
    for name in ("run", "again"):
        counted.since()
        (outcome,) = run(parse(page))
        assert outcome.did == (name == "run")
        found[name] = counted.cost()
    return found


def manual(count: int) -> list[str]:
    """The first `count` pages of the Korean C++ manual."""
    with lzma.open(REPO.parent / "shared/data/C-cpp-docs-ko.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["markdown"] for _, line in zip(range(count), lines)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--steps", nargs="+", default=["ingest", "quality", "pii", "dedup"], choices=list(STEPS))
    parser.add_argument("--rows", type=int, default=ROWS, help="documents of a shard")
    parser.add_argument("--folders", action="store_true", help="also requests by folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    texts, found = manual(max(given.shards) * given.rows), []
    print("| step | shards | requests | a shard | read / input | written / input | again | by method |")
    print("|---|---|---|---|---|---|---|---|")
    with server() as counted:
        for step in given.steps:
            for shards in given.shards:
                root = f"s3://{BUCKET}/{step}-{shards}"
                source, size = (poured if step == "ingest" else laid)(root, texts[: shards * given.rows], given.rows)
                costs = measured(counted, root, step, source)
                made, again = costs["run"], costs["again"]
                print(
                    f"| {step} | {shards} | {made.total:,} | {made.total / shards:.1f} | {made.read / size:.2f} | "
                    f"{made.written / size:.2f} | {again.total:,} | {made.by(0)} |",
                    flush=True,
                )
                if given.folders:
                    print(f"    {made.by(1)}\n    again {again.by(1)}", flush=True)
                found.append(
                    {"step": step, "shards": shards, "input": size, "requests": made.total, "read": made.read}
                    | {"written": made.written, "again": again.total, "methods": made.by(0), "folders": made.by(1)}
                )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
