"""Numbers of output shards: those of the input, whatever stands beside it; and stores of 0.1.0, which counted positions, are read."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.engine.fused import rows_of
from pipeline.engine.stage import SECOND, Inputs, Link, ShardTask, input_shards, work_shard
from pipeline.inspection.sections import ReadRows, Samples
from pipeline.schema import doc_id
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.pii import Pii


def numbers(*stores: Store, ports=("of",), **others) -> list[int]:
    return [each.number for each in input_shards(Inputs({"of": list(stores), **others}), ports)]


@pytest.fixture
def store_of(tmp_path):
    """`store_of(name, shards)` -> a store under way that has these shards."""

    def make(name: str, shards: list[int]) -> Store:
        store = Store(tmp_path / name)
        for shard in shards:
            put(store, shard)
        return store

    return make


def put(store: Store, shard: int) -> None:
    ids = [doc_id("test", str(shard))]
    store.put(shard, pa.table({"id": pa.array(ids, pa.large_string())}), Ledger.rows(ids), key="test")


def test_an_output_shard_has_the_number_of_its_input(store_of):
    one, two = store_of("one", [0, 7000, 999_999_999_999]), store_of("two", [0, 5])
    assert numbers(one) == one.shards()
    assert numbers(one, two) == [*one.shards(), SECOND, SECOND + 5]
    assert numbers(one, ports=("of", "against"), against=[two]) == numbers(one, two)
    put(one, 8000)
    assert set(numbers(one, two)) == {0, 7000, 8000, 999_999_999_999, SECOND, SECOND + 5}


def test_a_store_without_shards_holds_its_place(store_of):
    assert numbers(store_of("none", []), store_of("two", [0, 5])) == [SECOND, SECOND + 5]


def test_outputs_of_several_inputs_are_inputs_of_the_next_step(store_of):
    """As many shards again under numbers that were given out already: none is given twice, and finding them takes no search."""
    wide = store_of("wide", [0, 3, SECOND, SECOND + 4])
    plain, wide_too = store_of("plain", [0, 1, 3]), store_of("wide-too", [2, SECOND])
    given = numbers(wide, plain, wide_too)
    second = [2 * SECOND, 2 * SECOND + 1, 2 * SECOND + 3]
    assert given == [0, 3, SECOND, SECOND + 4, *second, 3 * SECOND + 2, 4 * SECOND]


@pytest.mark.parametrize("by_position", [False, True])
def test_rows_that_were_fused_away_are_made_again_from_the_shard_they_came_from(tmp_path, make_store, by_position):
    """`by_position`: as 0.1.0 numbered them."""
    one = make_store(tmp_path / "one", [f"first {n}" for n in range(4)], shards=2)
    two = make_store(tmp_path / "two", [f"second {n}, a@example.org" for n in range(4)], shards=2)
    inputs, sink = Inputs({"of": [one, two]}), Store(tmp_path / "pii")
    for position, (number, store, shard, _) in enumerate(input_shards(inputs)):
        link = Link(Pii(), inputs, sink, False)
        work_shard(ShardTask(store, shard, (link,), position if by_position else number, "key"))
    lineage = {"of": [{"store": "one"}, {"store": "two"}]}
    made = {"stage": "pii", "shape": "DOCUMENT", "key": "key", "lineage": lineage, "seed": 0, "options": {}}
    sink.commit_manifest(made, sink.shards())
    assert sink.shards() == ([0, 1, 2, 3] if by_position else [0, 1, SECOND, SECOND + 1])
    found = [rows_of(sink, shard, str(tmp_path))["text"].to_pylist() for shard in sink.shards()]
    assert [text[:8] for some in found for text in some] == ["first 0", "first 1", "first 2", "first 3"] + [
        f"second {n}" for n in range(4)
    ]
    assert "example.org" not in str(found)
    after = Store(tmp_path / "after")
    for shard in sink.shards():
        put(after, shard)
    after.commit_manifest(
        {"stage": "test", "shape": "DOCUMENT", "key": "key", "lineage": {"of": [{"store": "pii"}]}}, sink.shards()
    )
    for step in (sink, after):
        read = ReadRows(step, [one, two, sink, after], Samples(list)).before
        assert [(int(name), store.name, shard) for name, (store, shard) in read.items()] == [
            (number, name, shard)
            for number, (name, shard) in zip(sink.shards(), [("one", 0), ("one", 1), ("two", 0), ("two", 1)])
        ], "the report shows what was dropped beside its text"
