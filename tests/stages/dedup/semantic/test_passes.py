"""Level `semantic`: what goes is what brute force finds within each cell, decided from the vectors alone."""

from __future__ import annotations

import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MaetdolError, OptionError
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.dedup import Dedup
from stages.dedup.semantic import clustering as semantic
from stages.dedup.semantic import embedding
from stages.dedup.semantic import vectors as maths


@pytest.fixture
def vector_store(make_documents, tmp_path):
    """`vector_store(name, vectors, shards=1, **columns)` -> a DOCUMENT store with a column `v` of vectors."""

    def make(name: str, vectors: list, shards: int = 1, kind: pa.DataType = pa.list_(pa.float32()), **columns) -> Store:
        texts = columns.pop("texts", [f"text number {n} of its own" for n in range(len(vectors))])
        table = make_documents(texts, **columns).append_column("v", pa.array(vectors, kind))
        store = Store(tmp_path / name)
        size = -(-len(table) // shards)
        for number in range(shards):
            part = table.slice(number * size, size)
            store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="test", stage="test", input_ids=part["id"])
        store.commit_manifest(
            {"stage": "test", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []}, list(range(shards))
        )
        return store

    return make


def crowd(seed: int, count: int, width: int = 16) -> list[list[float]]:
    """Vectors about some directions: many pairs near the threshold, some equal but for length."""
    draw = np.random.default_rng(seed)
    heads = draw.normal(size=(max(2, count // 12), width))
    made = heads[draw.integers(len(heads), size=count)] + draw.normal(size=(count, width)) * draw.choice(
        [0.0, 0.1, 0.25, 0.4], size=(count, 1)
    )
    return (made * draw.uniform(0.1, 9.0, size=(count, 1))).astype(np.float32).tolist()


def cosine(a: list[float], b: list[float]) -> float:
    """The slow obvious one."""
    dot = aa = bb = 0.0
    for x, y in zip(a, b):
        dot, aa, bb = dot + x * y, aa + x * x, bb + y * y
    return min(1.0, dot / math.sqrt(aa * bb))


def expected(order: list[int], vectors: list, cell: list[int], least: float) -> dict[int, tuple[int, float]]:
    """Who goes: rows in order of preference, each for the first of its cell that stays and matches."""
    kept: list[int] = []
    gone: dict[int, tuple[int, float]] = {}
    for row in order:
        match = next(
            ((k, s) for k in kept if cell[k] == cell[row] and (s := cosine(vectors[k], vectors[row])) >= least), None
        )
        if match:
            gone[row] = match
        else:
            kept.append(row)
    return gone


def cells_of(out: Store) -> dict[int, int]:
    """Document number -> cell, of a run whose `cells` pass was kept."""
    return {
        doc: cell
        for n in out.sub("passes/cells").shards()
        for doc, cell in zip(*(out.sub("passes/cells").read(n)[c].to_pylist() for c in ("doc", "cell")))
    }


@pytest.mark.parametrize(("seed", "cells"), [(1, 1), (2, 1), (3, 5), (4, 9)])
def test_what_goes_is_what_brute_force_finds_in_each_cell(
    dedup, vector_store, decisions, monkeypatch, tmp_path, seed, cells
):
    monkeypatch.setattr(maths, "BLOCK", 16)
    monkeypatch.setattr(maths, "TILE", 5)
    monkeypatch.setattr(semantic, "PARTITION_BYTES", 2_000)
    monkeypatch.setattr(semantic, "WINDOW_BYTES", 900 * seed)
    monkeypatch.setattr(semantic, "SCATTERED", 1 << 20 if seed % 2 else 0)
    monkeypatch.setattr("stages.dedup.semantic.level.SCRATCH", ())
    vectors = crowd(seed, 150)
    source = vector_store("in", vectors, shards=3)
    out = dedup(tmp_path / "out", source, levels=["semantic"], vectors="v", cosine=0.9, cells=cells)
    found, ids = decisions(out), source.table()["id"].to_pylist()
    texts = source.table()["text"].to_pylist()
    cell = cells_of(out)
    assert len(set(cell.values())) == cells
    order = sorted(range(150), key=lambda n: (-len(texts[n]), ids[n]))
    truth = expected(order, vectors, [cell[n] for n in range(150)], 0.9)
    assert 20 < len(truth) < 130
    for n, key in enumerate(ids):
        reason, representative, score, size = found[key]
        if n in truth:
            assert (reason, representative, score) == ("dedup.semantic", ids[truth[n][0]], truth[n][1])
        else:
            assert (reason, representative, score) == (None, None, None)
        head = truth[n][0] if n in truth else n
        assert size == 1 + sum(to == head for to, _ in truth.values())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 700), st.integers(0, 2**32), st.floats(0.3, 0.9999))
def test_rounding_hides_no_pair_and_products_are_exact(count, width, seed, least):
    draw = np.random.default_rng(seed)
    given = (draw.normal(size=(count, width)) + draw.normal(size=width) * draw.uniform(0, 5)).astype(
        np.float32
    ) * np.float32(10.0 ** draw.integers(-8, 8))
    whole = maths.whole(given)
    assert np.array_equal(whole, np.rint(given * (maths.SCALE / maths.lengths(given))[:, None]).astype(np.float32))
    products = whole @ whole.T
    assert np.array_equal(products.astype(np.int64), whole.astype(np.int64) @ whole.astype(np.int64).T), (
        "exact in float32"
    )
    left, right = np.divmod(np.arange(count * count), count)
    true = np.array([maths._cosine(given[a], given[b]) for a, b in zip(left, right)])
    assert true[:20].tolist() == [cosine(given[a].tolist(), given[b].tolist()) for a, b in zip(left[:20], right[:20])]
    assert (products.ravel()[true >= least] >= maths.floor(least, width)).all()


def plain_kmeans(points: list[list[int]], count: int, rounds: int) -> list[list[float]]:
    """Spherical k-means in plain Python, on whole numbers."""
    centroids = [list(point) for point in points[:count]]
    before = None
    for _ in range(rounds):
        label = [
            max(range(count), key=lambda c: (sum(x * y for x, y in zip(point, centroids[c])), -c)) for point in points
        ]
        if label == before:
            break
        before = label
        for c in range(count):
            total = [sum(point[d] for point, mine in zip(points, label) if mine == c) for d in range(len(points[0]))]
            size = math.sqrt(math.fsum(float(x) * float(x) for x in total))
            if size:
                centroids[c] = [float(np.rint(x * (maths.SCALE / size))) for x in total]
    return centroids


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32))
def test_kmeans_equals_plain_python_and_forgets_the_block_size(count, seed):
    points = maths.whole(np.array(crowd(seed, 60, 8), np.float32))
    found = maths.kmeans(points, count, 20)
    assert found.tolist() == plain_kmeans(points.astype(int).tolist(), count, 20)


def test_most_of_what_goes_in_one_cell_goes_in_many(dedup, vector_store, capsys, tmp_path):
    """What cells cost: pairs that fall apart. SemDeDup pays the same; here it is counted."""
    source = vector_store("in", crowd(11, 3000, 32))
    rows = {
        cells: len(
            dedup(tmp_path / f"out{cells}", source, levels=["semantic"], vectors="v", cosine=0.95, cells=cells).table()
        )
        for cells in (1, 30)
    }
    with capsys.disabled():
        print(f"\n  removed of 3,000: {3000 - rows[1]} in one cell, {3000 - rows[30]} in 30 cells")
    assert rows[1] < 2500 and 3000 - rows[30] >= 0.97 * (3000 - rows[1])


def test_the_same_rows_representatives_and_scores_for_any_layout(dedup, vector_store, decisions, tmp_path):
    vectors, ids = crowd(7, 300), [f"{n:032x}" for n in range(300)]
    order = random.Random(1).sample(range(300), 300)
    one = vector_store("one", vectors, 1, id=ids)
    many = vector_store(
        "many",
        [vectors[n] for n in order],
        7,
        id=[ids[n] for n in order],
        texts=[f"text number {n} of its own" for n in order],
    )
    options = {"levels": ["exact", "near", "semantic"], "vectors": "v", "cosine": 0.9, "cells": 6}
    first = decisions(dedup(tmp_path / "a", one, **options))
    assert first == decisions(dedup(tmp_path / "b", many, **options))
    assert [decision[0] for decision in first.values()].count("dedup.semantic") > 50


LISTS = [pa.list_(pa.float32()), pa.list_(pa.float32(), 16), pa.large_list(pa.float32()), pa.list_(pa.float64())]


@pytest.mark.parametrize("missing", [(), (0, 3, 50, 51, 199)])
def test_read_where_they_lie_or_sorted_by_cell_the_bytes_are_the_same(
    dedup, vector_store, tmp_path, monkeypatch, missing
):
    """Columns of any kind of list, with nulls and rows that another level took, scattered reads and sorted ones."""
    vectors = [None if n in missing else vector for n, vector in enumerate(crowd(8, 200))]
    texts = [f"text number {n % 180} of its own" for n in range(200)]
    made = {}
    for number, kind in enumerate(LISTS):
        source = vector_store(f"in{number}", vectors, 3, kind, texts=texts)
        for most in (0, 1 << 30):
            monkeypatch.setattr(semantic, "SCATTERED", most)
            out = dedup(
                tmp_path / f"out{number}-{most}", source, levels=["exact", "semantic"], vectors="v", cosine=0.9, cells=4
            )
            made[number, most] = [out.receipt(n).ledger_hash for n in out.shards()]
    assert len(set(map(tuple, made.values()))) == 1
    assert dict(out.manifest()["reasons"].items()).keys() == {"dedup.exact", "dedup.semantic"}


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32())),
        pa.array([[9, 9], [1, 2], [3, 4], [5, 6], [7, 7]], pa.list_(pa.float32(), 2)).slice(1, 3),
        pa.array([[9, 9], [1, 2], [3, 4], [5, 6], [7, 7]], pa.large_list(pa.float32())).slice(1, 3),
    ],
)
def test_lists_of_one_width_are_read_in_place(values):
    assert embedding.as_they_lie(values).tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1, 2], [3]], pa.list_(pa.float32())),
        pa.array([[1, 2], None], pa.list_(pa.float32())),
        pa.array([[1, None]], pa.list_(pa.float32(), 2)),
        pa.array([[1, 2]], pa.list_(pa.float64())),
        pa.array([[]], pa.list_(pa.float32())),
    ],
)
def test_what_cannot_be_read_in_place_is_copied(values):
    assert embedding.as_they_lie(values) is None


def test_rows_without_a_vector_stay_and_are_counted(dedup, vector_store, decisions, tmp_path):
    vectors = [[1.0, 2.0], [2.0, 4.0], None, [0.0, 0.0], [float("nan"), 1.0], None, [-1.0, -2.0]]
    for kind in (pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float16())):
        source = vector_store(f"in{len(str(kind))}", vectors, 2, kind)
        out = dedup(tmp_path / f"out{len(str(kind))}", source, levels=["semantic"], vectors="v")
        reasons = sorted(str(decision[0]) for decision in decisions(out).values())
        assert reasons == ["None"] * 6 + ["dedup.semantic"]
        assert out.receipt(0).notes["semantic"]["without"] == 4
    assert (
        len(dedup(tmp_path / "none", vector_store("nothing", [None] * 3), levels=["semantic"], vectors="v").table())
        == 3
    )


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_a_shard_without_the_column_keeps_its_rows(dedup, vector_store, decisions, tmp_path, lacking):
    """As a file without vectors makes it; the other shards are of several number types."""
    source = vector_store("in", [[1.0, 2.0], [2.0, 4.0], [3.0, 1.0], [6.0, 2.0], [-1.0, 0.0], [0.0, 5.0]], 3)
    for number, kind in enumerate([pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 2)]):
        table = source.read(number)
        column = table["v"].to_pylist()
        table = (
            table.drop_columns("v")
            if number == lacking
            else table.set_column(table.column_names.index("v"), "v", pa.array(column, kind))
        )
        source.put(number, table, Ledger.rows(table["id"].to_pylist()), key="test", stage="test", input_ids=table["id"])
    source.commit_manifest(
        {"stage": "test", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []}, [0, 1, 2]
    )
    out = dedup(tmp_path / "out", source, levels=["semantic"], vectors="v", cells=1)
    rows = {shard: [decisions(out)[name][0] for name in source.read(shard)["id"].to_pylist()] for shard in range(3)}
    for shard, reasons in rows.items():
        assert sorted(map(str, reasons)) == ["None", "dedup.semantic" if shard < 2 and shard != lacking else "None"]
    assert out.receipt(0).notes["semantic"]["without"] == 2
    without = {row["id"] for row in out.table(["id", "v"]).to_pylist() if row["v"] is None}
    assert without == set(source.read(lacking)["id"].to_pylist())


def test_a_column_of_other_things_is_no_vector(dedup, vector_store, tmp_path):
    with pytest.raises(OptionError, match="'title' of .* holds large_string"):
        dedup(tmp_path / "out", vector_store("rows", [[1.0, 2.0]]), levels=["semantic"], vectors="title")


def test_vectors_of_two_models_are_refused(dedup, vector_store, tmp_path):
    with pytest.raises(MaetdolError, match="one model"):
        dedup(tmp_path / "out", vector_store("rows", [[1.0, 2.0], [1.0]]), levels=["semantic"], vectors="v")
    with pytest.raises(MaetdolError, match="one model"):
        dedup(
            tmp_path / "out2",
            vector_store("a", [[1.0, 2.0]]),
            vector_store("b", [[1.0, 2.0, 3.0]]),
            levels=["semantic"],
            vectors="v",
        )
    with pytest.raises(OptionError, match="no column 'w'"):
        dedup(tmp_path / "out3", vector_store("c", [[1.0]]), levels=["semantic"], vectors="w")
    for options in ({}, {"vectors": "v", "encoder": "folder"}):
        with pytest.raises(OptionError, match="one of them"):
            Dedup.build({"levels": ["semantic"], **options}, "dedup")


def test_levels_together_against_an_older_store(dedup, vector_store, decisions, tmp_path):
    """Near-duplicates follow nobody: their representative stays. Identical texts go where their leader goes."""
    base = " ".join(f"word{n}" for n in range(60))
    texts = [
        base + " tail",
        base,
        "one text that is twice here",
        "one text that is twice here",
        "the same said in other words, and longer",
    ]
    vectors = [[1.0, 1 / 128], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1 / 128, 1.0]]
    source = vector_store("in", vectors, 1, texts=texts)
    ids = source.table()["id"].to_pylist()
    options = {"levels": ["exact", "near", "semantic"], "vectors": "v", "cosine": 0.99}
    found = decisions(dedup(tmp_path / "out", source, **options))
    assert [found[key][0] for key in ids] == [None, "dedup.near", "dedup.semantic", "dedup.semantic", None]
    assert found[ids[2]][1:] == found[ids[3]][1:] == (ids[4], cosine(vectors[2], vectors[4]), 3)
    old = vector_store("old", [[1.0, 1 / 64]], 1, texts=["an old text that says this"], id=["0" * 32])
    found = decisions(dedup(tmp_path / "new", source, against=[old], **options))
    assert found[ids[0]][0] is None, "it stands for a near-duplicate that the old text was not compared with"
    found = decisions(dedup(tmp_path / "alone", source, against=[old], **options | {"levels": ["semantic"]}))
    assert found[ids[0]][:2] == found[ids[1]][:2] == ("dedup.semantic", "0" * 32)


def test_one_cell_of_many_equal_vectors_is_resolved_block_by_block(
    dedup, vector_store, decisions, monkeypatch, tmp_path
):
    monkeypatch.setattr(maths, "BLOCK", 64)
    source = vector_store("in", [[1.0, 2.0, 3.0]] * 5_000 + [[3.0, -1.0, 0.0]], 3)
    out = dedup(tmp_path / "out", source, levels=["semantic"], vectors="v", cells=4)
    assert len(out.table()) == 2 and max(out.table()["cluster_size"].to_pylist()) == 5_000


def test_a_new_threshold_encodes_nothing_again(dedup, vector_store, tmp_path):
    source = vector_store("in", crowd(9, 60), 2)
    dedup(tmp_path / "out", source, levels=["semantic"], vectors="v", cosine=0.9)
    before = [(tmp_path / f"out/passes/vectors/shards/0000{n}.arrow").stat().st_mtime_ns for n in range(2)]
    dedup(tmp_path / "out", source, levels=["semantic"], vectors="v", cosine=0.8)
    assert before == [(tmp_path / f"out/passes/vectors/shards/0000{n}.arrow").stat().st_mtime_ns for n in range(2)]


def test_a_run_killed_in_any_pass_of_any_level_goes_on_and_gives_the_same_bytes(dedup, dying, vector_store, tmp_path):
    texts = [f"{'shared words of a line ' * 3}\nown{n // 2} words {n % 2}" for n in range(60)]
    source = vector_store("in", crowd(5, 60), 2, texts=texts, url=[f"http://a.example/{n // 3}" for n in range(60)])
    options = {
        "levels": ["exact", "near", "url", "semantic"],
        "vectors": "v",
        "cosine": 0.9,
        "cells": 2,
        "spans": "line",
    }
    whole = dying()
    expected = dedup(tmp_path / "whole", source, pool=whole, **options)
    passes = {
        "minhash",
        "address",
        "url",
        "survivors",
        "vectors",
        "centroids",
        "cells",
        "semantic",
        "statistics",
        "spans",
        "repeats",
    }
    assert passes <= set(whole.done)
    for limit in (n for n, name in enumerate(whole.done) if whole.done.index(name) == n):
        first, second = dying(limit + 1), dying()
        with pytest.raises(KeyboardInterrupt):
            dedup(tmp_path / f"cut{limit}", source, pool=first, **options)
            raise KeyboardInterrupt  # the last pass of all was the one that came through
        assert dedup(tmp_path / f"cut{limit}", source, pool=second, **options).hashes() == expected.hashes()
        assert len(first.done) + len(second.done) == len(whole.done), "nothing proven is done twice"
