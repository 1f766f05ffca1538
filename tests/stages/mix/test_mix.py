"""Weights, budgets and repeats: shares are met, draws depend on ids alone, every row is accounted for."""

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, UsageError
from pipeline.storage.store import Store
from stages.mix import Mix
from stages.mix.passes import rates_of


@pytest.fixture
def corpus(tmp_path, make_store):
    """3,000 Korean and 1,000 English rows of about 100 bytes, and an odd one."""
    texts = ["가나다라마" * 7 for _ in range(3000)] + ["abcdefghij" * 10 for _ in range(1000)] + ["?"]
    return make_store(tmp_path / "in", texts, shards=4, lang=["ko"] * 3000 + ["en"] * 1000 + [None])


def mix(tmp_path, corpus, name="out", seed=17, **options) -> Store:
    sink = Store(tmp_path / name)
    stage = Mix(**options)
    receipts = stage.run(Inputs({"of": [corpus] if isinstance(corpus, Store) else corpus}, seed), sink, Inline())
    sink.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [r.shard for r in receipts])
    return sink


def languages(store: Store) -> dict[str, int]:
    return store.require()["counts"]["lang"]


def test_without_options_every_row_comes_once(tmp_path, corpus):
    out = mix(tmp_path, corpus)
    assert out.content_hash == corpus.content_hash


def test_weights_are_met_without_repeats(tmp_path, corpus):
    counts = languages(mix(tmp_path, corpus, weights={"ko": 1, "en": 1}))
    assert counts["en"] == 1000 and counts["ko"] == pytest.approx(1000 * 100 / 105, rel=0.08)
    assert "none" not in counts


def test_a_budget_repeats_up_to_the_cap_and_ids_stay_apart(tmp_path, corpus):
    out = mix(tmp_path, corpus, weights={"en": 1}, budget="250kB", max_repeats=4)
    ids = out.table(["id"])["id"].to_pylist()
    assert len(ids) == pytest.approx(2500, rel=0.05) and len(set(ids)) == len(ids)
    ledger = out.ledgers()
    assert set(ledger["id"].to_pylist()) == set(corpus.table(["id"])["id"].to_pylist())
    reasons = ledger["reason"].drop_null().value_counts().to_pylist()
    assert reasons == [{"values": "mix.not_weighted", "counts": 3001}]
    capped = mix(tmp_path, corpus, "capped", weights={"en": 1}, budget="10MB", max_repeats=2)
    assert capped.require()["rows"] == 2000


def test_a_smaller_budget_drops_by_hash_of_the_id(tmp_path, corpus):
    small, large = (mix(tmp_path, corpus, name, budget=size) for name, size in (("s", "100kB"), ("l", "200kB")))
    few, many = (set(s.table(["id"])["id"].to_pylist()) for s in (small, large))
    assert few < many, "a larger budget only adds rows"
    other = mix(tmp_path, corpus, "o", seed=18, budget="100kB")
    assert set(other.table(["id"])["id"].to_pylist()) != few
    assert small.require()["reasons"] == {"mix.over_budget": 4001 - len(few)}


def test_stores_are_groups_and_a_rerun_does_nothing(tmp_path, corpus, make_store):
    second = make_store(
        tmp_path / "in2", ["second store " * 8] * 500, lang=["en"] * 500, id=[f"{i:032x}" for i in range(500)]
    )
    out = mix(tmp_path, [corpus, second], by="store", weights={"1": 1})
    assert out.require()["rows"] == 500
    before = (tmp_path / "out" / "receipts" / "00000.json").read_bytes()
    mix(tmp_path, [corpus, second], by="store", weights={"1": 1})
    assert (tmp_path / "out" / "receipts" / "00000.json").read_bytes() == before


def test_other_stands_for_groups_not_named():
    rates = rates_of(Mix(weights={"ko": 1, "other": 1}, max_repeats=10, budget=400), {"ko": 100, "en": 50, "ja": 50})
    assert rates == {"en": 2.0, "ja": 2.0, "ko": 2.0}


def test_norwegian_is_a_word():
    import yaml

    assert Mix(**yaml.safe_load("weights: {no: 1, ko: 2}")).weights == {"no": 1.0, "ko": 2.0}


def test_bad_options_are_named():
    with pytest.raises(OptionError, match="negative"):
        Mix.build({"weights": {"ko": -1}}, "mix")
    with pytest.raises(OptionError, match="no size"):
        Mix.build({"budget": "lots"}, "mix")


def test_a_row_that_stands_in_two_stores_has_two_ids(tmp_path, make_store):
    one = make_store(tmp_path / "one", ["a", "b"], lang=["ko"] * 2)
    two = make_store(tmp_path / "two", ["a", "b", "c"], lang=["ko"] * 3)
    out = mix(tmp_path, [one, two])
    ids = out.table(["id"])["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 5 and set(one.table(["id"])["id"].to_pylist()) <= set(ids)
    assert two.row(0, 2)["id"] in ids
    ledger = out.ledgers()
    assert sorted(ledger["out"].drop_null().to_pylist()) == sorted(ids)


def test_the_same_store_twice_is_refused(tmp_path, corpus):
    with pytest.raises(UsageError, match="twice"):
        mix(tmp_path, [corpus, corpus])


@pytest.mark.parametrize(
    "by, weights, counts",
    [
        ("meta.site", {"a": 1}, {"a": 2}),
        ("meta.tags[0]", {"x": 1}, {"x": 2}),
        ("meta.deep.year", {"2024": 1}, {"2024": 1}),
        ("host", {"x.example": 1}, {"x.example": 1}),
    ],
)
def test_groups_by_a_path_and_by_addresses_that_are_none(tmp_path, make_store, by, weights, counts):
    """`http://[bad/` is an address of no host, and no end of the step."""
    meta = [
        [{"key": "site", "value": "a", "type": None}, {"key": "tags", "value": '["x", 2]', "type": "json"}],
        [{"key": "site", "value": "a", "type": None}, {"key": "deep", "value": '{"year": 2024}', "type": "json"}],
        [{"key": "tags", "value": '["x"]', "type": "json"}],
        None,
    ]
    corpus = make_store(
        tmp_path / "in", ["same length"] * 4, meta=meta, url=["http://[bad/", "http://x.example/1", None, "http://[::1"]
    )
    out = mix(tmp_path, corpus, by=by, weights=weights)
    assert out.require()["rows"] == sum(counts.values())
    assert out.ledgers()["reason"].to_pylist().count("mix.not_weighted") == 4 - sum(counts.values())


def test_a_path_into_no_column_names_those_there_are(tmp_path, corpus):
    with pytest.raises(UsageError, match="no column 'met'"):
        mix(tmp_path, corpus, by="met.site")
