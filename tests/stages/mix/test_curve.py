"""Groups of several columns, temperature, UniMax, curves over ranks, factors of cluster sizes: totals and rows are those asked for."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, UsageError
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.mix import Mix, curve
from stages.mix.curve import STEPS, steps_of
from stages.mix.passes import rates_of

DOLMA = [[0.4, 0], [0.4, 1], [0.95, 1], [0.95, 7], [1, 7]]


@pytest.fixture
def scored(tmp_path, make_documents):
    """`scored(scores, shards, langs)` -> a store of rows of 100 bytes with these scores (and `cluster_size`, the score again)."""

    def make(scores, shards=3, langs=None, order=None, name="in"):
        order = list(range(len(scores))) if order is None else order
        store, size = Store(tmp_path / name), -(-len(order) // shards)
        for shard in range(shards):
            own = order[shard * size : (shard + 1) * size]
            table = make_documents(
                ["x" * 100 for _ in own],
                lang=[(langs or ["ko"] * len(scores))[n] for n in own],
                id=[f"{n:032x}" for n in own],
            )
            for column in ("score", "cluster_size"):
                table = table.append_column(column, pa.array([scores[n] for n in own], pa.float64()))
            store.put(shard, table, Ledger.rows(table["id"].to_pylist()), key=f"{name}/{shard}", stage="test")
        store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": name}, list(range(shards)))
        return store

    return make


def mix(tmp_path, corpus, name="out", seed=17, **options):
    """(store, how often each row of the corpus comes)."""
    sink = Store(tmp_path / name)
    receipts = Mix(**options).run(Inputs({"of": [corpus]}, seed), sink, Inline())
    sink.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [r.shard for r in receipts])
    came = Counter(row for row, out in zip(*(sink.ledgers()[c].to_pylist() for c in ("id", "out"))) if out)
    return sink, came


def test_a_curve_drops_the_worst_and_repeats_the_best(tmp_path, scored):
    corpus = scored([n * 7919 % 1000 / 1000 for n in range(1000)])
    out, came = mix(tmp_path, corpus, rank="score", curve=DOLMA)
    for n in range(1000):
        score = n * 7919 % 1000
        assert came[f"{n:032x}"] == (0 if score < 400 else 1 if score < 950 else 7), n
    assert out.require()["rows"] == 550 + 350
    assert Counter(out.ledgers()["reason"].drop_null().to_pylist()) == {"mix.below_rank": 400}
    ids = out.table(["id"])["id"].to_pylist()
    assert len(set(ids)) == len(ids)


def test_equal_scores_are_parted_by_a_draw_that_order_does_not_change(tmp_path, scored):
    scores = [0.5] * 990 + [None] * 10
    first = mix(tmp_path, scored(scores), "a", rank="score", curve=DOLMA)[1]
    other = scored(scores, 7, order=sorted(range(1000), key=lambda n: n * 7919 % 1000), name="in2")
    assert mix(tmp_path, other, "b", rank="score", curve=DOLMA)[1] == first
    assert Counter(first.values()) == {1: 550, 7: 50} and not any(first[f"{n:032x}"] for n in range(990, 1000))
    assert mix(tmp_path, scored(scores, name="in3"), "c", seed=18, rank="score", curve=DOLMA)[1] != first


def test_lines_rise_in_steps(tmp_path, scored):
    assert len(steps_of([(0.0, 0.0), (1.0, 4.0)])) == STEPS
    shares, rates = zip(*steps_of([(0.2, 0), (1, 4)]))
    assert rates[0] == 0 and shares[0] == pytest.approx(0.2) and shares[-1] == 1.0 and list(rates) == sorted(rates)
    widths = np.diff([0, *shares])
    assert (widths * rates).sum() == pytest.approx(0.8 * 2)
    _, came = mix(tmp_path, scored([float(n) for n in range(2000)]), rank="score", curve=[[0, 0], [1, 4]])
    quarters = [sum(came[f"{n:032x}"] for n in range(at, at + 500)) / 500 for at in range(0, 2000, 500)]
    assert quarters == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.12)


def test_every_group_has_its_own_ranks_and_weights_keep_their_totals(tmp_path, scored):
    langs = ["ko" if n % 4 else "en" for n in range(2000)]
    corpus = scored([float(n) if n % 4 else float(n) / 1e6 for n in range(2000)], langs=langs)
    alone, came = mix(tmp_path, corpus, "alone", rank="score", curve=DOLMA)
    share = {lang: sum(came[f"{n:032x}"] for n in range(2000) if langs[n] == lang) for lang in ("ko", "en")}
    assert share == {"ko": 1350, "en": 450}
    held, came = mix(
        tmp_path, corpus, "held", rank="score", curve=DOLMA, weights={"ko": 1, "en": 1}, budget=100_000, max_repeats=4
    )
    share = {lang: sum(came[f"{n:032x}"] for n in range(2000) if langs[n] == lang) for lang in ("ko", "en")}
    assert share["ko"] == pytest.approx(500, rel=0.1) and share["en"] == pytest.approx(500, rel=0.1)
    worst = [n for n in range(2000) if n < 780]
    assert not any(came[f"{n:032x}"] for n in worst)


def test_groups_of_several_columns(tmp_path, make_store):
    corpus = make_store(
        tmp_path / "in", ["same length"] * 600, lang=["ko", "en", None] * 200, source=["web"] * 300 + ["books"] * 300
    )
    out, came = mix(tmp_path, corpus, by=["lang", "source"], weights={"ko|web": 1, "none|books": 1})
    assert out.require()["rows"] == 200 and Mix(by=["lang"]).by == "lang"
    rows = out.table(["lang", "source"]).to_pylist()
    assert Counter((row["lang"], row["source"]) for row in rows) == {("ko", "web"): 100, (None, "books"): 100}
    with pytest.raises(OptionError, match="different"):
        Mix.build({"by": ["lang", "lang"]}, "mix")


def test_temperature_flattens(tmp_path):
    sizes = {"en": 1_000_000, "ko": 10_000, "cy": 100}

    def shares(**options):
        rates = rates_of(Mix(max_repeats=64, **options), sizes)
        made = {group: rates[group] * size for group, size in sizes.items()}
        return {group: part / sum(made.values()) for group, part in made.items()}

    whole = sum(sizes.values())
    assert shares(temperature=1) == pytest.approx({group: size / whole for group, size in sizes.items()})
    powers = {group: (size / whole) ** 0.3 for group, size in sizes.items()}
    wanted = {group: power / sum(powers.values()) for group, power in powers.items()}
    assert shares(temperature=1 / 0.3, budget=1000) == pytest.approx(wanted, rel=1e-6)
    assert shares(temperature=1e9, budget=300) == pytest.approx(dict.fromkeys(sizes, 1 / 3), rel=1e-6)


def test_unimax_gives_alike_and_caps_epochs():
    """Against the paper's loop, group by group from the smallest."""
    sizes = {"a": 50, "b": 400, "c": 900, "d": 5000}
    for budget, epochs in ((1000, 1.0), (4000, 4.0), (6350, 2.0), (100, 64.0)):
        rates = rates_of(Mix(unimax=True, budget=budget, max_repeats=epochs), sizes)
        left, wanted = budget, {}
        for n, name in enumerate(sorted(sizes, key=sizes.get)):
            wanted[name] = min(left / (4 - n), sizes[name] * epochs)
            left -= wanted[name]
        assert {name: rates[name] * sizes[name] for name in sizes} == pytest.approx(wanted)
        assert max(rates.values()) <= epochs


def test_rows_come_by_the_size_of_their_cluster(tmp_path, scored):
    sizes = [(1, 2, 3, 4, 16, 64, 1000, None)[n % 8] for n in range(800)]
    out, came = mix(tmp_path, scored(sizes), repeat_by="cluster_size")
    times = [1, 2, 2, 3, 4, 5, 5, 1]
    assert [came[f"{n:032x}"] for n in range(800)] == times * 100
    half, came = mix(tmp_path, scored(sizes, name="in2"), "half", repeat_by="cluster_size", share=0.5)
    assert half.require()["rows"] == pytest.approx(sum(times) * 50, rel=0.06)


def test_a_weight_of_a_group_that_is_not_there_is_an_error(tmp_path, make_store):
    corpus = make_store(tmp_path / "in", ["a", "b"], lang=["ko", "en"])
    with pytest.raises(UsageError, match=r"'kr', which has a weight; there are en, ko\n  hint: did you mean 'ko'"):
        mix(tmp_path, corpus, weights={"kr": 1, "en": 1})
    out, _ = mix(tmp_path, corpus, "zero", weights={"fr": 0, "en": 1, "ko": 1, "other": 5})
    assert out.require()["rows"] == 2


@pytest.mark.parametrize(
    "options, match",
    [
        ({"weights": {"ko": 1}, "unimax": True}, "weights and unimax"),
        ({"temperature": 2, "unimax": True}, "temperature and unimax"),
        ({"temperature": 0.5}, "greater than or equal to 1"),
        ({"curve": DOLMA}, "wants `rank`"),
        ({"rank": "score", "curve": [[0.5, 1], [0.2, 2]]}, "rise"),
        ({"rank": "score", "curve": [[0, 0], [1, 0]]}, "not all"),
        ({"rank": "score", "repeat_by": "cluster_size"}, "give one"),
        ({"repeat_rates": [[1, 2]]}, "want `repeat_by`"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, match):
    with pytest.raises(OptionError, match=match):
        Mix.build(options, "mix")


def test_groups_are_told_apart_in_one_sort_and_none_is_no_fault():
    """As many groups as rows, names that end in a zero byte, parts without rows: edges and thresholds as a filter a group gives them."""
    from stages.mix.passes import thresholds_of

    draw = np.random.default_rng(3)
    names = [f"g{n % 40}" + "\x00" * (n % 2) for n in range(600)]
    parts = [
        pa.table({"group": pa.array(names[at : at + 200], pa.large_string()), "size": draw.integers(1, 9, 200), "score": draw.random(200),
                  "draw": draw.integers(0, 1 << 40, 200)})
        for at in (0, 200, 400)
    ]  # fmt: skip
    rates = dict.fromkeys(sorted(set(names)), 0.5)
    whole = pa.concat_tables(parts)
    apart = {name: [whole.filter(pc.equal(whole["group"], name))] for name in rates}
    points = [(0.4, 0), (0.4, 1), (1, 2)]
    one = curve.edges_of(points, rates, [pa.table({"id": ["x"]}), *parts])
    for name, own in apart.items():
        (alone,) = curve.edges_of(points, [name], own).values()
        assert all(np.array_equal(a, b) for a, b in zip(one[name], alone))
    assert thresholds_of(rates, parts) == {name: thresholds_of({name: 0.5}, own)[name] for name, own in apart.items()}
    assert len(one) == len(rates) == 40 and curve.edges_of(points, [], []) == {} == thresholds_of({}, [])
