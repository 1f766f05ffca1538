"""What a whole dedup asks of object storage is linear in its shards, however far the limits of a range are exceeded.

Limits are so small that every pass has many ranges; the object storage is one in memory that counts.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import DOCUMENT, content_id, doc_id
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.dedup import Dedup, decisions
from stages.dedup.exact import level as exact
from stages.dedup.exchange import ranges
from stages.dedup.near import band, cluster, link
from stages.dedup.semantic import clustering
from stages.dedup.spans import level as spans
from stages.dedup.url import level as url

ROWS = 6
"""Documents a shard."""


@pytest.fixture
def small(monkeypatch):
    """`small(bytes of a document)` makes limits so small that a shard or four fill a range."""

    def limit(size: int) -> None:
        monkeypatch.setattr(ranges, "FAN", 4)
        monkeypatch.setattr(decisions, "GROUP_ROWS", 4 * ROWS)
        monkeypatch.setattr(exact, "MOST", 7 * ROWS)
        monkeypatch.setattr(band, "LIST_KEYS", 1200)
        monkeypatch.setattr(link, "MOST", 1500)
        monkeypatch.setattr(cluster, "BYTES", 4 * size)
        monkeypatch.setattr(cluster, "PARTITIONS", 1 << 20)

    return limit


def texts_of(count: int, words: int, draw: random.Random, same: float = 0.0) -> list[str]:
    """Texts, one in twelve a copy or a near-copy of one in another shard, and a share of them one and the same."""
    texts = [" ".join(f"word{draw.randrange(50_000)}" for _ in range(words)) for _ in range(count)]
    for at in range(7, count, 12):
        texts[at] = texts[at - 7] if at % 24 == 7 else texts[at - 7].replace(" word1", " sword1", words // 100)
    hot = " ".join(f"hot{at}" for at in range(words))
    return [hot if draw.random() < same else text for text in texts]


def laid(root: str, texts: list[str], width: int = 0) -> tuple[Store, int]:
    """A store of these documents, with vectors `v` of `width` numbers, every fifth near that of a document of another shard; and its bytes."""
    dice = np.random.default_rng(7)
    vectors = dice.standard_normal((len(texts), max(width, 1))).astype(np.float32)
    vectors[5::5] = vectors[: len(vectors[5::5])] + np.float32(0.01)
    store, receipts = Store(f"{root}/in"), []
    for number in range(len(texts) // ROWS):
        rows = [
            {"id": doc_id("here", str(at)), "text": texts[at], "source": "here", "content_id": content_id(texts[at])}
            | {
                "url": f"https://example.org/{at if at % 10 else 'start'}{'/' if at % 20 else ''}?{'v=1' if at % 7 else 'v=2'}"
            }
            for at in range(number * ROWS, (number + 1) * ROWS)
        ]
        table = pa.Table.from_pylist([{**dict.fromkeys(DOCUMENT.names), **row} for row in rows], DOCUMENT)
        if width:
            here = vectors[number * ROWS : (number + 1) * ROWS].tolist()
            table = table.append_column("v", pa.array(here, pa.list_(pa.float32(), width)))
        receipts.append(store.put(number, table, Ledger.rows(table["id"]), key="laid", stage="ingest"))
    page = {"stage": "ingest", "shape": "DOCUMENT", "key": "laid", "lineage": {}, "schema": []}
    store.commit_manifest(page, [receipt.shard for receipt in receipts])
    return store, sum(receipt.bytes for receipt in receipts)


class PerTask(Inline):
    """Counts the reads of each task."""

    def __init__(self, counted):
        super().__init__()
        self.counted, self.most = counted, Counter()

    def each(self, fn, tasks, **more):
        for task in tasks:
            before = self.counted.requests["GET"]
            yield from super().each(fn, [task], **more)
            name = task.sink.name.partition("-merged-")[0]
            self.most[name] = max(self.most[name], self.counted.requests["GET"] - before)


def run(counted, root: str, texts: list[str], **options) -> tuple[int, float, Counter, list[tuple[str, str | None]]]:
    """(requests, bytes read as a multiple of the input, most reads of a task by pass, hashes) of a dedup."""
    counted.store.clear()
    source, size = laid(root, texts, 16 if "vectors" in options else 0)
    counted.requests.clear()
    counted.read, pool = 0, PerTask(counted)
    made = Dedup.build(options, "dedup").run(Inputs({"of": [source]}), Store(f"{root}/out"), pool)
    hashes = [(receipt.content_hash, receipt.ledger_hash) for receipt in made]
    return counted.requests.total(), counted.read / size, pool.most, hashes


@pytest.mark.parametrize("same", [0.0, 0.1])
def test_twice_the_shards_are_twice_the_requests(counted, small, same):
    """Also where one text is a tenth of all: it is one entry a group of parts, and no task reads more for it."""
    texts, found = texts_of(64 * ROWS, 300, random.Random(11), same), []
    plain = run(counted, f"counted://plain/{same}", texts)  # one range of everything
    small(300 * 9)
    for shards in (32, 64):
        found.append(run(counted, f"counted://linear/{same}-{shards}", texts[: shards * ROWS]))
    (few, _, narrow, _), (many, _, wide, hashes) = found
    assert many <= 2.2 * few
    assert hashes == plain[3]
    grown = {name: (narrow[name], most) for name, most in wide.items() if most > 1.3 * narrow[name] + 4}
    assert set(grown) <= {"cluster"}, "the one task that joins all edges; no other reads more for more shards"


LEVELS = {
    "url": {"levels": ["url"]},
    "url after near": {"levels": ["exact", "near", "url"]},
    "lines": {"levels": ["exact"], "spans": "line", "span_tokens": 5},
    "substrings": {"levels": ["exact"], "spans": "substring", "span_tokens": 30},
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_of_urls_and_spans_ask_for_twice_as_much_of_twice_the_shards(counted, small, monkeypatch, name):
    """One page has a tenth of all rows, and one line stands in every second text; nothing else comes out than of one range."""
    texts, found = texts_of(64 * ROWS, 120, random.Random(5), 0.1), []
    texts = [f"{text}\n{'this line stands in many of them'}" if at % 2 else text for at, text in enumerate(texts)]
    plain = run(counted, f"counted://plain/{name}", texts, **LEVELS[name])
    small(120 * 9)
    monkeypatch.setattr(url, "MOST", 7 * ROWS)
    monkeypatch.setattr(spans, "most_spans", lambda memory: 2000)
    for shards in (32, 64):
        found.append(run(counted, f"counted://{name}/{shards}", texts[: shards * ROWS], **LEVELS[name]))
    (few, _, narrow, _), (many, _, wide, hashes) = found
    assert many <= 2.3 * few, "twice, and one more level of merging"
    assert hashes == plain[3]
    grown = {
        pass_name: (narrow[pass_name], most) for pass_name, most in wide.items() if most > 1.3 * narrow[pass_name] + 4
    }
    assert set(grown) <= {"cluster"}


def test_vectors_that_are_sent_ask_for_twice_as_much_of_twice_the_shards(counted, small, monkeypatch):
    """Partitions of cells grow with the shards; nothing else comes out than of vectors that one partition reads."""
    options = {"levels": ["exact", "semantic"], "vectors": "v", "cosine": 0.9}
    texts, found = texts_of(64 * ROWS, 10, random.Random(5)), []
    monkeypatch.setattr(clustering, "CELL", 2 * ROWS)
    monkeypatch.setattr(clustering, "PER_CELL", (1, 128))
    plain = run(counted, "counted://plain/semantic", texts, **options)
    small(10 * 9)
    monkeypatch.setattr(clustering, "PARTITION_BYTES", 4 * ROWS * 64)
    for shards in (32, 64):
        found.append(run(counted, f"counted://semantic/{shards}", texts[: shards * ROWS], **options))
    (few, read, narrow, _), (many, more, wide, hashes) = found
    assert many <= 2.3 * few, "twice, and one more level of merging"
    assert more <= 1.3 * read, "and each a share of the input, as before"
    assert hashes == plain[3]
    assert wide["semantic"] <= 1.3 * narrow["semantic"] + 4
    assert plain[2]["semantic"] != wide["semantic"] and wide["sent"]
    grown = {name: (narrow[name], most) for name, most in wide.items() if most > 1.3 * narrow[name] + 4}
    assert set(grown) <= {"cluster", "centroids"}, "the one task that finds centroids reads all vectors"


def test_of_long_documents_two_and_a_half_times_the_input_is_read(counted, small):
    small(8_000 * 9)
    _, read, _, _ = run(counted, "counted://bytes/24", texts_of(24 * ROWS, 8_000, random.Random(3)))
    assert read <= 2.5
