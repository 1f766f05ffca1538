"""The sample that shards are asked for one by one is the one that a look at the whole corpus gives; a killed run goes on."""

import random

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs, input_shards
from pipeline.storage.store import Store
from stages.tokenizer import Tokenizer, passes, sample
from stages.tokenizer.passes import MIB

BALANCES = ("corpus", "even", {"ko": 3.0, "en": 1.0}, {"de": 1.0, "xx": 1.0})


@pytest.fixture
def drawn(corpus):
    """800 documents of five languages in seven shards, some empty, some without a language, one shard of nothing but those."""
    draw = random.Random(5)
    texts = [
        (draw.choice(["ko", "en", "en", "en", "de", None]), "맷돌 " * draw.choice([0, 1, 3, 40, 200]))
        for _ in range(800)
    ]
    texts[0::7] = [("ko", "")] * len(texts[0::7])
    return corpus(texts, shards=7)


def gathered(store, balance, sample_mb, probe_mb, home):
    return passes.gather(input_shards(Inputs({"of": [store]})), balance, sample_mb, probe_mb, Store(home), Inline())


def whole(store, balance, sample_mb, probe_mb):
    """Ids of the sample and of what is measured on, from all rows at once."""
    rows = [row for row in store.table().to_pylist() if row["text"]]
    keys = {row["id"]: int(key) for row, key in zip(rows, sample.hashes(pa.array([row["id"] for row in rows])))}
    lang = {row["id"]: row["lang"] or "und" for row in rows}
    size = {row["id"]: len(row["text"].encode()) for row in rows}
    have: dict[str, int] = {}
    for name, n in size.items():
        have[lang[name]] = have.get(lang[name], 0) + n
    room = sample.shares(have, balance, int(sample_mb * MIB))
    taken = []
    for name in sorted(keys, key=lambda one: keys[one]):
        if room.get(lang[name], 0) > 0:
            taken.append(name)
            room[lang[name]] -= size[name]
    outside, probed, left = set(keys) - set(taken), [], int(probe_mb * MIB)
    for name in sorted(outside or taken, key=lambda one: -keys[one]):
        if left > 0:
            probed.append(name)
            left -= size[name]
    return set(taken), set(probed)


@pytest.mark.parametrize("balance", BALANCES, ids=str)
@pytest.mark.parametrize("megabytes", [(0.004, 0.003), (0.05, 0.3), (0.1, 0.001), (9.0, 0.01)], ids=str)
def test_the_sample_is_that_of_the_whole_corpus(drawn, tmp_path, balance, megabytes):
    found = gathered(drawn, balance, *megabytes, tmp_path / "home")
    roll = sample.roll(found.store)
    taken = sample.choose(roll, found.shares) == sample.TAKEN
    probed, on = sample.probe(roll, taken, int(megabytes[1] * MIB))
    ids = np.array(roll.ids.to_pylist())
    wanted, measured = whole(drawn, balance, *megabytes)
    assert set(ids[taken]) == wanted and set(ids[probed]) == measured
    assert (on == "documents of the sample itself") == (not set(ids) - wanted)
    assert found.documents == 800 and found.bytes == sum(
        len((t or "").encode()) for t in drawn.table()["text"].to_pylist()
    )
    left_out = [Store(tmp_path / "home").ledger(name) for name in Store(tmp_path / "home").ledger_names()]
    named = [name for ledger in left_out for name in ledger["id"].to_pylist()]
    assert sorted([*named, *ids.tolist()]) == sorted(drawn.table()["id"].to_pylist())
    assert sum(found.left_out.values()) == len(named)


def test_little_more_than_the_sample_is_gathered(corpus, tmp_path):
    store = corpus([("ko", "맷돌 " * 30) for _ in range(3000)], shards=3)
    size = len(("맷돌 " * 30).encode())
    found = gathered(store, "corpus", 100 * size / MIB, 20 * size / MIB, tmp_path / "home")
    rows = len(sample.roll(found.store).ids)
    assert 120 <= rows <= 2 * 120 + 60 and sum(found.left_out.values()) == 3000 - rows


def test_a_run_that_ended_in_training_counts_and_gathers_nothing_again(mixed, train, monkeypatch, tmp_path):
    stage = Tokenizer(vocab_size=500)
    with monkeypatch.context() as broken:
        broken.setattr("stages.tokenizer.fit.fit", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            train(stage, mixed)
    sink = Store(tmp_path / "tok")
    assert sink.fs.sub("passes").folders() == ["count", "gather"]
    for name in ("count_shard", "gather_shard"):
        monkeypatch.setattr(passes, name, lambda task: pytest.fail("done again"))
    assert train(stage, mixed).receipt("artefact").rows_in == 120
    assert sink.fs.sub("passes").folders() == ["count"]
    assert train(stage, mixed).receipt("artefact").rows_in == 120


def test_other_options_and_fewer_shards_leave_no_ledger_of_before(mixed, corpus, train):
    assert len(train(Tokenizer(vocab_size=500), mixed).ledgers()) == 120
    fewer = corpus([("ko", row["text"]) for row in mixed.table().to_pylist()[:50]], name="fewer")
    for size in (0.01, 64.0):
        ledger = train(Tokenizer(vocab_size=500, sample_mb=size, character_coverage=0.99), fewer).ledgers()
        assert sorted(ledger["id"].to_pylist()) == sorted(fewer.table()["id"].to_pylist())


def test_shards_are_counted_in_tasks_of_a_pool(mixed, tmp_path):
    """As Ray sends them: pickled, and no task holds more than its shard."""
    import pickle

    class Pickled(Inline):
        def each(self, fn, tasks, **how):
            sent = [pickle.loads(pickle.dumps(task)) for task in tasks]
            assert all(not hasattr(task, "shard") or isinstance(task.shard, int) for task in sent)
            return super().each(fn, sent, **how)

    sink = Store(tmp_path / "sent")
    Tokenizer(vocab_size=500).run(Inputs({"of": [mixed]}), sink, Pickled())
    assert len(sink.sub("passes/count").receipts()) == 2
