"""Passes resume, are named and made again when damaged, and give the same bytes for any workers and layout."""

from __future__ import annotations

import random

import pytest

from pipeline.engine import progress
from pipeline.engine.pool import Inline
from stages.dedup import decisions as decisions_table
from stages.dedup.corpus import Corpus
from stages.dedup.exact import level as exact
from stages.dedup.exchange import ranges
from stages.dedup.near import band, cluster, link, resolve
from stages.dedup.passes import signatures_of


class Counting:
    """An Inline pool that counts tasks, and dies after so many."""

    workers = 1

    def __init__(self, limit: int | None = None):
        self.done: list[str] = []
        self.limit = limit

    def each(self, fn, tasks, **_):
        for task in tasks:
            if self.limit is not None and len(self.done) >= self.limit:
                raise KeyboardInterrupt
            self.done.append(task.name)
            yield from Inline().each(fn, [task])

    def close(self): ...


@pytest.fixture
def small_tasks(monkeypatch):
    """Limits so low that a small corpus is cut into many tasks."""
    monkeypatch.setattr(ranges, "FAN", 3)
    monkeypatch.setattr(decisions_table, "GROUP_ROWS", 30)
    monkeypatch.setattr(exact, "MOST", 30)
    monkeypatch.setattr(band, "LIST_KEYS", 600)
    monkeypatch.setattr(link, "MOST", 500)
    monkeypatch.setattr(cluster, "BYTES", 1_500)
    monkeypatch.setattr(resolve, "PIECE_BYTES", 2_000)


def hashes(store) -> dict:
    return store.hashes() | {f"ledger {n}": store.receipt(n).ledger_hash for n in store.shards()}


def test_many_small_tasks_in_any_number_of_workers_give_the_bytes_of_one(
    dedup, make_store, corpus, tmp_path, monkeypatch, small_tasks, processes
):
    source = make_store(tmp_path / "in", corpus(120, seed=5), shards=5)
    pool = Counting()
    one = dedup(tmp_path / "one", source, pool=pool)
    assert any("-merged-1" in name for name in pool.done)
    assert {name.split()[0].partition("-merged-")[0] for name in pool.done} == {
        "minhash",
        "exact-keys",
        "exact-chosen",
        "exact",
        "band",
        "met-requests",
        "met-answers",
        "link",
        "cluster",
        "near-known-requests",
        "near-known-answers",
        "near",
        "decided-requests",
        "decided-answers",
        "decided",
        "statistics",
        "one",
    }
    assert all(sum(name.startswith(p) for name in pool.done) > 2 for p in ("exact", "link", "near"))
    for workers in (2, 7):
        assert hashes(dedup(tmp_path / str(workers), source, pool=processes(workers))) == hashes(one)
    monkeypatch.undo()
    assert hashes(dedup(tmp_path / "plain", source)) == hashes(one)


@pytest.mark.parametrize("keep", ["longest", "oldest"])
def test_layout_and_order_of_rows_do_not_matter(dedup, make_store, decisions, corpus, tmp_path, keep):
    texts = corpus(200, seed=6)
    dates = [f"2024-01-{random.Random(n).randrange(1, 28):02d}" for n in range(len(texts))]
    ids = [f"{random.Random(n).getrandbits(128):032x}" for n in range(len(texts))]
    found = []
    for number, shards in enumerate((1, 3, 5)):
        order = random.Random(number).sample(range(len(texts)), len(texts)) if number else range(len(texts))
        columns = {"id": [ids[n] for n in order], "date": [dates[n] for n in order]}
        source = make_store(tmp_path / f"in{number}", [texts[n] for n in order], shards=shards, **columns)
        found.append(decisions(dedup(tmp_path / f"out{number}", source, keep=keep)))
    assert found[0] == found[1] == found[2]


def test_three_increments_give_what_one_run_gives(dedup, make_store, decisions, corpus, tmp_path):
    texts = corpus(240, seed=7)
    ids = [f"{random.Random(-n - 1).getrandbits(128):032x}" for n in range(len(texts))]
    dates = [f"2024-0{1 + n // 80}-{1 + n % 28:02d}" for n in range(len(texts))]
    whole = make_store(tmp_path / "whole", texts, shards=2, id=ids, date=dates)
    at_once = decisions(dedup(tmp_path / "at_once", whole, keep="oldest"))
    made, grown = [], {}
    for crawl in range(3):
        rows = slice(80 * crawl, 80 * crawl + 80)
        source = make_store(tmp_path / f"crawl{crawl}", texts[rows], id=ids[rows], date=dates[rows])
        made.append(dedup(tmp_path / f"out{crawl}", source, against=made, keep="oldest"))
        grown |= decisions(made[-1])
    assert {key: decision[1:3] for key, decision in grown.items()} == {
        key: decision[1:3] for key, decision in at_once.items()
    }


def test_against_leaves_old_rows_alone_and_keeps_nothing_they_have(dedup, make_store, decisions, tmp_path):
    base = " ".join(f"word{n}" for n in range(60))
    old = make_store(tmp_path / "old", [base, base + " again"])
    new = make_store(
        tmp_path / "new", [base + " and much much longer", base, "something else altogether, with words of its own"]
    )
    out = dedup(tmp_path / "out", new, against=[old])
    found = list(decisions(out).values())
    assert [decision[0] for decision in found] == ["dedup.near", "dedup.exact", None]
    assert {decision[1] for decision in found[:2]} <= set(old.table()["id"].to_pylist())
    assert out.shards() == [0] and len(out.table()) == 1


def test_a_run_killed_after_any_task_goes_on_and_gives_the_same_bytes(dedup, make_store, corpus, tmp_path, small_tasks):
    source = make_store(tmp_path / "in", corpus(100, seed=8), shards=4)
    whole = Counting()
    expected = hashes(dedup(tmp_path / "whole", source, pool=whole))
    for limit in range(0, len(whole.done), 13):
        first, second = Counting(limit), Counting()
        with pytest.raises(KeyboardInterrupt):
            dedup(tmp_path / f"cut{limit}", source, pool=first)
        assert hashes(dedup(tmp_path / f"cut{limit}", source, pool=second)) == expected
        assert len(first.done) + len(second.done) == len(whole.done), "nothing proven is done twice"


def test_nothing_is_done_twice_and_a_change_redoes_what_depends_on_it(dedup, make_store, corpus, tmp_path):
    source = make_store(tmp_path / "in", corpus(60, seed=8), shards=2)
    dedup(tmp_path / "out", source)
    again, other, wider = Counting(), Counting(), Counting()
    dedup(tmp_path / "out", source, pool=again)
    dedup(tmp_path / "out", source, pool=other, keep="shortest")
    dedup(tmp_path / "out", source, pool=wider, keep="shortest", width=4)
    assert again.done == []
    assert "minhash 00000" not in other.done and "near 00000" in other.done
    assert "minhash 00000" in wider.done


def test_signatures_of_a_store_of_before_are_found_under_their_old_name(dedup, make_store, corpus, tmp_path):
    source = make_store(tmp_path / "in", corpus(60, seed=8), shards=2)
    expected = hashes(dedup(tmp_path / "out", source))
    (tmp_path / "out/passes/minhash").rename(tmp_path / "out/passes/sign")
    pool = Counting()
    again = dedup(tmp_path / "out", source, pool=pool, keep="shortest")
    assert "near 00000" in pool.done and not [name for name in pool.done if name.startswith(("sign", "minhash"))]
    assert hashes(dedup(tmp_path / "out", source)) == expected and not (tmp_path / "out/passes/minhash").exists()
    assert signatures_of(again).name == "sign"


class Heard(progress.Quiet):
    def __init__(self):
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("hurt", ["shard", "gone", "receipt"])
def test_damaged_signatures_are_named_and_made_again(dedup, make_store, corpus, tmp_path, monkeypatch, hurt):
    source = make_store(tmp_path / "in", corpus(60, seed=8), shards=2)
    expected = hashes(dedup(tmp_path / "out", source))
    signatures = tmp_path / "out/passes/minhash"
    victim = signatures / ("receipts/00001.json" if hurt == "receipt" else "shards/00001.arrow")
    if hurt == "gone":
        victim.unlink()
    else:
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(data if hurt == "shard" else b"{")
    heard, pool = Heard(), Counting()
    monkeypatch.setattr(progress, "current", heard)
    dedup(tmp_path / "out", source, pool=pool, keep="shortest")
    assert "minhash 00001" in pool.done and "minhash 00000" not in pool.done
    assert any("passes/minhash" in line and "00001" in line for line in heard.lines)
    assert hashes(dedup(tmp_path / "out", source)) == expected


def test_identical_texts_are_one_group_and_meet_in_no_bucket(make_store, dedup, decisions, tmp_path):
    count = 20_000
    source = make_store(tmp_path / "in", ["the very same words on each page"] * count + ["other words here"], shards=2)
    out = dedup(tmp_path / "out", source)
    assert len(out.table()) == 2 and max(out.table()["cluster_size"].to_pylist()) == count
    assert out.sub("passes/link").receipt(0).notes["buckets"] == 0


def test_keys_of_several_parts_in_one_list_give_the_same(dedup, make_store, corpus, tmp_path, monkeypatch):
    source = make_store(tmp_path / "in", corpus(150, seed=14), shards=7)
    expected = dedup(tmp_path / "single", source)
    usual = Corpus.groups
    monkeypatch.setattr(Corpus, "groups", lambda corpus, rows, parts=256: usual(corpus, rows, min(parts, 3)))
    pool = Counting()
    found = dedup(tmp_path / "grouped", source, pool=pool)
    assert [name for name in pool.done if name.startswith("band")] == ["band 00000", "band 00001", "band 00002"]
    assert hashes(found) == hashes(expected)
