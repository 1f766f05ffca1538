"""The best rows of every group by a score, the same ones whatever the shards and their order."""

import random

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.mix import Mix

SCORES = [None if n % 50 == 0 else round(random.Random(n).random(), 2) for n in range(1000)]
LANGS = ["ko" if n % 4 else "en" for n in range(1000)]


@pytest.fixture
def scored(tmp_path, make_documents):
    """`scored(name, shards, order)` -> a store of the thousand rows in that order, with their scores."""

    def make(name: str, shards: int, order: list[int]) -> Store:
        store, size = Store(tmp_path / name), -(-len(order) // shards)
        for shard in range(shards):
            own = order[shard * size : (shard + 1) * size]
            table = make_documents(
                ["x" * 100 for _ in own], lang=[LANGS[n] for n in own], id=[f"{n:032x}" for n in own]
            )
            table = table.append_column("score", pa.array([SCORES[n] for n in own], pa.float64()))
            store.put(shard, table, Ledger.rows(table["id"].to_pylist()), key=f"{name}/{shard}", stage="test")
        store.commit_manifest(
            {"stage": "test", "shape": "DOCUMENT", "key": name, "lineage": {}, "schema": []}, list(range(shards))
        )
        return store

    return make


def ranked(tmp_path, corpus, name="out", seed=17, **options) -> Store:
    sink = Store(tmp_path / name)
    receipts = Mix(**options).run(Inputs({"of": [corpus]}, seed), sink, Inline())
    sink.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [r.shard for r in receipts])
    return sink


def kept(store: Store) -> set[int]:
    return {int(i, 16) for i in store.table(["id"])["id"].to_pylist()}


def test_the_top_tenth_of_every_language(tmp_path, scored):
    out = ranked(tmp_path, scored("in", 4, list(range(1000))), rank="score", share=0.1)
    rows = kept(out)
    for lang, count in (("ko", 75), ("en", 25)):
        own = [n for n in rows if LANGS[n] == lang]
        others = [SCORES[n] for n in range(1000) if LANGS[n] == lang and n not in rows and SCORES[n] is not None]
        assert len(own) == count and min(SCORES[n] for n in own) >= max(others)
    assert set(out.ledgers()["reason"].drop_null().to_pylist()) == {"mix.below_rank"}


def test_shards_and_order_do_not_matter_and_ties_follow_the_seed(tmp_path, scored):
    order = list(range(1000))
    random.Random(2).shuffle(order)
    one, two = (
        ranked(tmp_path, scored(f"in{n}", shards, rows), f"out{n}", rank="score", share=0.3)
        for n, shards, rows in ((1, 1, list(range(1000))), (2, 5, order))
    )
    other = ranked(tmp_path, Store(tmp_path / "in1"), "out3", seed=18, rank="score", share=0.3)
    assert kept(one) == kept(two) and len(kept(one)) == len(kept(other)) and kept(one) != kept(other)


def test_repeats_come_once_more_from_the_best(tmp_path, scored):
    out = ranked(
        tmp_path, scored("in", 2, list(range(1000))), rank="score", weights={"en": 1}, budget=250 * 150, max_repeats=2
    )
    copies: dict[int, int] = {}
    for row in out.ledgers().filter(out.ledgers()["reason"].is_null()).to_pylist():
        copies[int(row["id"], 16)] = copies.get(int(row["id"], 16), 0) + 1
    twice = [SCORES[n] for n, times in copies.items() if times == 2]
    once = [SCORES[n] for n, times in copies.items() if times == 1 and SCORES[n] is not None]
    assert len(copies) == 250 and len(twice) == 125 and min(twice) >= max(once)


def test_rows_without_a_score_come_last(tmp_path, scored):
    out = ranked(tmp_path, scored("in", 3, list(range(1000))), rank="score", share=0.98, by="source")
    assert sum(SCORES[n] is None for n in set(range(1000)) - kept(out)) == 20


def test_wrong_columns_are_named(tmp_path, scored):
    corpus = scored("in", 1, list(range(1000)))
    with pytest.raises(Exception, match="no column 'quality_scor'"):
        ranked(tmp_path, corpus, rank="quality_scor", share=0.1)
    with pytest.raises(UsageError, match="both given"):
        ranked(tmp_path, corpus, "b", share=0.1, budget=100)


def test_columns_of_any_numbers_rank_and_others_are_refused(tmp_path, scored):
    corpus = scored("in", 1, list(range(1000)))
    kinds = {
        "flag": pa.array([n % 10 == 0 for n in range(1000)]),
        "whole": pa.array([n % 10 == 0 for n in range(1000)]).cast(pa.uint8()),
        "lists": pa.array([[1]] * 1000),
    }
    for name, values in kinds.items():
        table = corpus.read(0).append_column(name, values)
        corpus.put(0, table, Ledger.rows(table["id"].to_pylist()), key=name, stage="test")
        corpus.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": name}, [0])
        if name == "lists":
            with pytest.raises(UsageError, match="'lists' holds no numbers"):
                ranked(tmp_path, corpus, name, rank=name, share=0.1)
        else:
            assert all(
                n % 10 == 0
                for n in kept(ranked(tmp_path, corpus, name, rank=name, weights={"ko": 1, "en": 1}, budget=4000))
            )


def test_a_budget_in_tokens(tmp_path, scored):
    (tmp_path / "card.json").write_text(
        '{"measured": {"by_language": {"ko": {"bytes_per_token": 5.0}, "en": {"bytes_per_token": 4.0}, "all": {"bytes_per_token": 4.5}}}}'
    )
    out = ranked(
        tmp_path,
        scored("in", 2, list(range(1000))),
        rank="score",
        weights={"ko": 1, "en": 1},
        tokenizer=str(tmp_path),
        budget=4000,
    )
    langs = out.require()["counts"]["lang"]
    assert langs == {"ko": 100, "en": 80}  # 20 tokens a Korean row, 25 an English one
