"""What is promised, on real pages: one manual on four architectures in two languages, with every pair's exact similarity."""

from __future__ import annotations

import random

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.storage.store import Store
from stages.dedup.semantic import clustering as semantic
from stages.dedup.url import level as url

LEVELS = {
    "default": {},
    "url": {"levels": ["exact", "near", "url"]},
    "substring": {"spans": "substring", "span_memory": 8},
    "paragraph": {"spans": "paragraph"},
}


@pytest.fixture
def pages(manual, make_store, tmp_path):
    """`pages(name, order, shards)` -> a store of the pages in this order, each with its id, a date and an address."""
    documents, _ = manual
    draw = random.Random(11)
    dates = [f"2024-{1 + draw.randrange(3):02d}-{1 + draw.randrange(28):02d}" for _ in documents]

    def make(name: str, order: list[int], shards: int = 1) -> Store:
        columns = {"id": [f"{n:032x}" for n in order], "date": [dates[n] for n in order]}
        # The manual's pages have one address for each architecture; here a spelling of it for each, so that some meet.
        urls = [f"https://www.debian.example/{documents[n]['lang']}/{n % 70}/?utm_source={n}" for n in order]
        return make_store(tmp_path / name, [documents[n]["text"] for n in order], shards=shards, url=urls, **columns)

    make.dates, make.count = dates, len(documents)
    return make


def names(manual) -> dict[str, str]:
    return {f"{n:032x}": page["id"] for n, page in enumerate(manual[0])}


def test_the_plain_command_removes_what_is_alike_and_nothing_else(manual, pages, decisions, tmp_path):
    """Show 1: every removed page has a true Jaccard of .8 with its representative; 99 % of the pages with a partner are resolved."""
    pages("in", list(range(pages.count)), 2)
    result = CliRunner().invoke(
        cli,
        ["dedup", str(tmp_path / "in"), str(tmp_path / "out"), "--quiet"],
        catch_exceptions=False,
        standalone_mode=False,
    )
    assert "dropped" in result.output
    truth, name = manual[1], names(manual)
    found = decisions(Store(tmp_path / "out"))
    gone = {name[key]: name[representative] for key, (reason, representative, *_) in found.items() if reason}
    assert all(truth[frozenset(pair)] >= 0.8 for pair in gone.items()) and not set(gone.values()) & set(gone)
    partners = {page for pair, alike in truth.items() if alike >= 0.8 for page in pair}
    unresolved = {page for pair, alike in truth.items() if alike >= 0.8 and not pair & gone.keys() for page in pair}
    assert len(partners) > 400 and len(unresolved) <= 0.01 * len(partners)


@pytest.mark.parametrize("level", LEVELS)
def test_rows_representatives_and_scores_are_the_same_for_shuffled_pages_and_other_shards(
    pages, dedup, decisions, tmp_path, level
):
    """Show 3, on real pages and at every level."""
    found, left = [], []
    for number, shards in enumerate((1, 5)):
        order = random.Random(number).sample(range(pages.count), pages.count) if number else list(range(pages.count))
        out = dedup(tmp_path / f"out{number}", pages(f"in{number}", order, shards), **LEVELS[level])
        found.append(decisions(out))
        left.append({row["id"]: row["text"] for row in out.table(["id", "text"]).to_pylist()})
    assert found[0] == found[1] and left[0] == left[1]
    assert sum(decision[0] is not None for decision in found[0].values()) > 300
    if level == "url":
        assert [decision[0] for decision in found[0].values()].count("dedup.url") > 10


def test_the_bytes_are_the_same_for_any_number_of_workers_at_every_level(
    pages, dedup, processes, monkeypatch, tmp_path
):
    monkeypatch.setattr(url, "MOST", 100)
    monkeypatch.setattr(semantic, "PARTITION_BYTES", 1 << 16)
    source = pages("in", list(range(200)), 3)
    options = {"levels": ["exact", "near", "url"], "spans": "substring", "span_memory": 8}
    one = dedup(tmp_path / "one", source, **options)
    for workers in (2, 7):
        out = dedup(tmp_path / str(workers), source, pool=processes(workers), **options)
        assert out.hashes() == one.hashes() and [out.receipt(n).ledger_hash for n in out.shards()] == [
            one.receipt(n).ledger_hash for n in one.shards()
        ]


def test_three_crawls_one_after_the_other_give_what_one_run_gives(pages, dedup, decisions, tmp_path):
    """Show 3: under the keep policy of crawl dates, A-against-B three times is one run over everything."""
    everything = list(range(pages.count))
    at_once = decisions(dedup(tmp_path / "at_once", pages("all", everything, 2), keep="oldest"))
    made, grown = [], {}
    for month in (1, 2, 3):
        crawl = [n for n in everything if int(pages.dates[n][5:7]) == month]
        made.append(dedup(tmp_path / f"out{month}", pages(f"crawl{month}", crawl), against=made, keep="oldest"))
        grown |= decisions(made[-1])
    assert {key: decision[:3] for key, decision in grown.items()} == {
        key: decision[:3] for key, decision in at_once.items()
    }
    assert sum(decision[0] is not None for decision in grown.values()) > 300
