"""The stream of packed rows: every row once an epoch, in an order that nothing but store and seed decide, gone on with at any step."""

from hashlib import blake2b

import numpy as np
import pytest
import torch

from pipeline.errors import SourceError, UsageError
from pipeline.schema import TOKENS
from pipeline.storage.packed_rows import TRAINING_ROWS, PackedRows, permuted
from pipeline.storage.store import Store
from stages.pack.stream import TokenLoader, TokenStream


@pytest.fixture(scope="module")
def packed_store(tmp_path_factory):
    """Three shards of 19, 1 and 11 rows; every fifth row is held out, in the last shard among the others."""
    import pyarrow as pa

    from pipeline.storage.ledger import Ledger

    store, number = Store(tmp_path_factory.mktemp("packed") / "pack"), 0
    for shard, size in enumerate((19, 1, 11)):
        rows = []
        for _ in range(size):
            length = 3 + number % 5
            docs = [
                {"id": f"{number:032x}", "start": 0, "end": 2, "offset": 0},
                {"id": "f" * 32, "start": 2, "end": length, "offset": 0},
            ]
            ids = [number * 10 + i for i in range(length)]
            rows.append({"id": f"{number:032x}", "input_ids": ids, "docs": docs, "heldout": number % 5 == 4})
            number += 1
        if shard == 0:  # as pack writes them: those held out last
            rows.sort(key=lambda row: row["heldout"])
        table = pa.Table.from_pylist(rows, schema=TOKENS.append(pa.field("heldout", pa.bool_())))
        store.put(shard, table, Ledger.rows(table["id"].to_pylist()), key="k", stage="pack", input_ids=table["id"])
    store.commit_manifest({"stage": "pack", "shape": "TOKENS", "key": "k"}, [0, 1, 2])
    return store


def ids_of(batches):
    return [row_id for batch in batches for row_id in batch["ids"]]


def of_part(store, part):
    rows = [row for shard in store.shards() for row in store.read(shard).to_pylist()]
    return [row["id"] for row in rows if part == "all" or row["heldout"] == (part == "heldout")]


def take(loader, steps):
    """The next steps of a loader, the last one given and no more."""
    found = []
    for batch in loader:
        found.append(batch)
        if len(found) == steps:
            break
    return found


@pytest.mark.parametrize("part", ["all", "train", "heldout"])
@pytest.mark.parametrize("shuffle", ["rows", "shards", "none"])
def test_an_epoch_is_every_row_once(packed_store, part, shuffle):
    wanted = of_part(packed_store, part)
    stream = TokenStream(packed_store, 4, part=part, shuffle=shuffle, epochs=3)
    found = ids_of(stream)
    size = len(wanted)
    epochs = [found[at : at + size] for at in range(0, 3 * size, size)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(wanted)] * 3 and len(found) == 3 * size
    if shuffle == "none":
        assert epochs == [wanted] * 3
    else:
        assert len({tuple(epoch) for epoch in epochs}) == 3 and wanted not in epochs
    other = ids_of(TokenStream(packed_store, 4, part=part, shuffle=shuffle, epochs=1, seed=18))
    assert shuffle == "none" or other != epochs[0]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_any_step_is_gone_on_with_on_any_number_of_workers(packed_store, workers):
    """Two epochs of 25 rows by sixes: 9 steps, the last a smaller one."""
    whole = list(TokenStream(packed_store, 6, epochs=2))
    assert [len(batch["ids"]) for batch in whole] == [6] * 8 + [2]
    for step in range(len(whole) + 1):
        begun = TokenLoader(TokenStream(packed_store, 6, epochs=2), (step * 7) % 4)
        before = take(begun, step) if step else []
        gone_on = TokenLoader(TokenStream(packed_store, 6, epochs=2), workers)
        gone_on.load_state_dict(begun.state_dict())
        found = [*before, *gone_on]
        assert [batch["ids"] for batch in found] == [batch["ids"] for batch in whole], step
        for ours, theirs in zip(found, whole):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours if name != "ids")


def test_ranks_share_a_step(packed_store):
    whole = ids_of(TokenStream(packed_store, 6, epochs=2))
    ranks = [list(TokenLoader(TokenStream(packed_store, 2, epochs=2, rank=rank, world=3), rank)) for rank in range(3)]
    assert len({len(batches) for batches in ranks}) == 1
    assert [row for step in zip(*ranks) for batch in step for row in batch["ids"]] == whole[: 50 // 6 * 6]


def test_batch_and_world_may_change_between_runs(packed_store):
    whole = ids_of(TokenStream(packed_store, 1, epochs=2))
    first = TokenLoader(TokenStream(packed_store, 2, epochs=2, rank=1, world=2), 2)
    take(first, 3)
    state = first.state_dict()
    assert state["row"] == 12
    second = TokenLoader(TokenStream(packed_store, 5, epochs=2), 3)
    second.load_state_dict(state)
    assert ids_of(take(second, 2)) == whole[12:22] and second.state_dict()["row"] == 22


def test_a_loader_goes_on_where_it_was_left(packed_store):
    loader = TokenLoader(TokenStream(packed_store, 2, epochs=1), 2)
    assert ids_of([*take(loader, 4), *take(loader, 3), *loader]) == ids_of(TokenStream(packed_store, 2, epochs=1))


def test_a_state_of_something_else_is_refused(packed_store):
    state = TokenStream(packed_store, 2).state_dict()
    for name, options in (("part", {"part": "all"}), ("seed", {"seed": 1}), ("shuffle", {"shuffle": "none"})):
        with pytest.raises(UsageError, match=name):
            TokenStream(packed_store, 2, **options).load_state_dict(state)
    with pytest.raises(UsageError, match="store"):
        TokenStream(packed_store, 2).load_state_dict({**state, "store": "another"})


def test_batches_are_padded_and_documents_told_apart(packed_store):
    (batch,) = take(TokenStream(packed_store, 2, part="all", shuffle="none"), 1)
    assert batch["input_ids"].tolist() == [[0, 1, 2, 0], [10, 11, 12, 13]]
    assert batch["labels"].tolist() == [[-100, 1, -100, -100], [-100, 11, -100, 13]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 0], [0, 1, 0, 1]]
    assert batch["documents"].tolist() == [[0, 0, 1, -1], [0, 0, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_object_storage_is_streamed_by_shards(packed_store):
    there = Store("memory://streamed/pack")
    for shard in packed_store.shards():
        table = packed_store.read(shard)
        there.put(shard, table, packed_store.ledger(shard), key="k", stage="pack", input_ids=table["id"])
    there.commit_manifest({"stage": "pack", "shape": "TOKENS", "key": "k"}, packed_store.shards())
    here = ids_of(TokenStream(packed_store, 4, shuffle="shards", epochs=2))
    assert ids_of(TokenStream(there, 4, shuffle="shards", epochs=2)) == here
    with pytest.raises(UsageError, match="shards"):
        TokenStream(there, 4)


@pytest.mark.parametrize("part", ["train", "heldout"])
def test_no_shard_is_fetched_to_know_which_rows_are_held_out(packed_store, monkeypatch, part):
    there, table, fetched = Store("memory://noted/pack"), packed_store.read(0), []
    notes = {TRAINING_ROWS: table["heldout"].to_pylist().count(False)}
    there.put(0, table, packed_store.ledger(0), key="k", stage="pack", input_ids=table["id"], notes=notes)
    there.commit_manifest({"stage": "pack", "shape": "TOKENS", "key": "k"}, [0])
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda store, shard: fetched.append(shard) or read(store, shard))
    stream = TokenStream(there, 2, part=part, shuffle="shards", epochs=1)
    assert fetched == []
    assert sorted(ids_of(stream)) == sorted(of_part(there, part))


def test_what_cannot_be_streamed_is_refused(packed_store, make_rows_store, make_store, tmp_path):
    unmarked = make_rows_store(
        "TOKENS", [{"id": "a", "input_ids": [1], "docs": []}, {"id": "b", "input_ids": [2], "docs": []}]
    )
    with pytest.raises(UsageError, match="held out"):
        TokenStream(unmarked, 2)
    assert len(PackedRows(unmarked, part="all")) == 2
    with pytest.raises(SourceError, match="DOCUMENT"):
        TokenStream(make_store(tmp_path / "documents", ["a"]), 2)
    with pytest.raises(UsageError, match="rank 2"):
        TokenStream(packed_store, 2, rank=2, world=2)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 65, 1000, 4097])
def test_permutations_are_whole_and_unlike(size):
    keys = [blake2b(bytes([key]), digest_size=48).digest() for key in range(3)]
    orders = [permuted(np.arange(size), size, key) for key in keys]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(size))
    if size >= 1000:
        for order in orders:
            # As far from the order it began with as chance is: the mean of |order - place| is a third of the size.
            assert abs(np.abs(order - np.arange(size)).mean() / size - 1 / 3) < 0.03
            assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.1
    part = permuted(np.arange(size)[size // 2 :], size, keys[1])
    assert np.array_equal(part, orders[1][size // 2 :])


@pytest.mark.slow
def test_ray_data_gives_the_same_rows_from_any_row_on(packed_store):
    import ray

    from pipeline.storage import raydata

    started = not ray.is_initialized()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    try:
        stream = TokenStream(packed_store, 5, epochs=1)
        whole = ids_of(stream)
        for row in (0, 7, 24):
            found = raydata.remaining(stream.packed, row, block=6).take_all()
            assert [each["id"] for each in found] == whole[row:]
    finally:
        if started:
            ray.shutdown()
