"""Components spread over ranges of documents: what one task finds, in bounded memory, whatever the edges look like."""

from __future__ import annotations

import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Inline
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.shards import ShardWriter
from pipeline.storage.store import BATCH_BYTES, Store
from stages.dedup.columns import blocks, column
from stages.dedup.corpus import Corpus, InputPart
from stages.dedup.near import cluster, components
from stages.dedup.near.shuffle import Ranges
from stages.dedup.passes import PassTask

SIZES = [0, 40, 700, 64, 65, -1]


def laid(folder: Path, nodes: int, edges: np.ndarray, shards: int = 3) -> tuple[Corpus, Store, Store]:
    """Link shards with these edges, and signatures with sizes, in two parts."""
    link, signatures = Store(folder / "link"), Store(folder / "minhash")
    for number, some in enumerate(np.array_split(edges, shards)):
        link.put(number, blocks(left=some[:, 0].copy(), right=some[:, 1].copy()), COLUMNS.empty_table(), key="test")
    parts, first = [], 0
    for number, rows in enumerate((nodes // 3, nodes - nodes // 3)):
        parts.append(InputPart(Store(folder / "none"), number, "", first, rows, False))
        sizes = np.resize(np.array(SIZES, np.int64), nodes)[first : first + rows]
        signatures.put(number, pa.table({"size": pa.array(sizes)}), COLUMNS.empty_table(), key="test")
        first += rows
    return Corpus(dict(enumerate(parts))), signatures, link


def in_one(folder: Path, corpus: Corpus, signatures: Store, link: Store) -> tuple[list[np.ndarray], cluster.Partitions]:
    task = PassTask(Store(folder / "one"), 0, "test", cluster.Graph(corpus, signatures, link))
    receipt = cluster.find_components(task)
    return joined(task.sink), cluster.Partitions.of(task.sink, [receipt])


def spread(
    folder: Path, corpus: Corpus, signatures: Store, link: Store, size: int, pool=None
) -> tuple[Store, cluster.Partitions, components.Distributed]:
    ranges = Ranges(corpus.rows, size)
    sink = Store(folder / "cluster")
    work = components.Distributed(
        cluster.Graph(corpus, signatures, link), Store(folder / "scratch"), sink, ranges, "test", pool or Inline()
    )
    return sink, cluster.Partitions.of(sink, work.run({n: f"key {n}" for n in range(ranges.count)})), work


def joined(sink: Store) -> list[np.ndarray]:
    """All rows, one shard behind the other."""
    return [np.concatenate([column(sink.read(n), name) for n in sink.shards()]) for name in ("doc", "component")]


def plain(nodes: int, edges: np.ndarray) -> dict[int, int]:
    """{document: smallest of its component} by search, for components of two and more."""
    near: dict[int, list[int]] = {}
    for a, b in edges.tolist():
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    found: dict[int, int] = {}
    for node in range(nodes):
        todo = [node] if node in near and node not in found else []
        seen = set(todo)
        while todo:
            for other in near[todo.pop()]:
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        found |= dict.fromkeys(seen, node) if len(seen) > 1 else {}
    return found


def same(folder: Path, nodes: int, edges: np.ndarray, size: int, shards: int = 3) -> components.Distributed:
    """Hold the spread form against the one task, and that against a search; every lot is read back whole."""
    given = laid(folder, nodes, edges, shards)
    (doc, component), one = in_one(folder, *given)
    assert dict(zip(doc.tolist(), component.tolist())) == plain(nodes, edges)
    sink, partitions, work = spread(folder, *given, size)
    assert [values.tobytes() for values in joined(sink)] == [values.tobytes() for values in (doc, component)]
    assert partitions.count == one.count
    at = 0
    for number in range(one.count):
        docs, components_ = one.members(number)
        assert docs.tolist() == doc[at : at + len(docs)].tolist(), "partitions are consecutive rows"
        assert components_.tolist() == component[at : at + len(docs)].tolist() and len(docs)
        assert [values.tolist() for values in partitions.members(number)] == [docs.tolist(), components_.tolist()]
        at += len(docs)
    assert at == len(doc)
    return work


def rounds(work: components.Distributed, name: str) -> int:
    return sum(entry.name.startswith(name) for entry in Path(work.scratch.path).iterdir())


@settings(deadline=None, max_examples=15)
@given(
    edges=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60),
    size=st.integers(4, 39),
    partition=st.sampled_from([(1, 1), (300, 4), (64 << 20, 1 << 17)]),
)
def test_any_ranges_give_the_rows_of_the_one_task(tmp_path_factory, edges, size, partition):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "BYTES", partition[0])
        patch.setattr(cluster, "DOCS", partition[1])
        same(tmp_path_factory.mktemp("any"), 40, np.array(edges, np.int64).reshape(-1, 2), size)


def shapes(nodes: int) -> dict[str, np.ndarray]:
    every = np.arange(nodes)
    draw = np.random.default_rng(3)
    mixed = draw.permutation(nodes)
    return {
        "chain": np.stack([every[:-1], every[1:]], 1),
        "chain, shuffled names": np.stack([mixed[:-1], mixed[1:]], 1),
        "chain from both ends": np.stack([every[: nodes // 2], nodes - 1 - every[: nodes // 2]], 1).repeat(2, 0)[1:],
        "star at the first": np.stack([np.zeros(nodes - 1, np.int64), every[1:]], 1),
        "star at the last": np.stack([np.full(nodes - 1, nodes - 1), every[:-1]], 1),
        "pairs": mixed[: nodes // 2 * 2].reshape(-1, 2),
        "zigzag": np.stack([every[:-1], (every[1:] * 7919) % nodes], 1),
        "none": np.zeros((0, 2), np.int64),
        "said often": draw.permutation(np.repeat(np.stack([mixed[:-1:2], mixed[1::2]], 1), 5, 0)),
    }


@pytest.mark.parametrize("shape", list(shapes(10)))
@pytest.mark.parametrize("size", [1500, 320])
def test_chains_stars_and_pairs(tmp_path, monkeypatch, shape, size):
    monkeypatch.setattr(cluster, "BYTES", 9_000)
    edges = np.random.default_rng(1).permutation(shapes(3000)[shape])
    work = same(tmp_path, 3000, edges, size, shards=5)
    count = work.ranges.count
    assert rounds(work, "join") <= count
    assert rounds(work, "label") <= 2 + max(1, count).bit_length()


def test_workers_and_layout_of_edges_do_not_matter(tmp_path, processes):
    edges = np.random.default_rng(4).permutation(np.concatenate(list(shapes(2000).values())[1:6:2]))
    found = []
    for number, (shards, pool) in enumerate([(3, None), (3, processes(2)), (3, processes(7)), (8, processes(2))]):
        given = laid(tmp_path / str(number), 2000, edges[:: -1 if shards == 8 else 1], shards)
        sink, _, _ = spread(tmp_path / str(number), *given, 300, pool)
        found.append(sink.hashes())
    assert len(found[0]) == 7 and all(each == found[0] for each in found)


class Dying:
    """Runs so many tasks, then the process is killed; or is killed while the next is written."""

    workers = 1

    def __init__(self, tasks: int, inside: bool):
        self.left, self.inside = tasks, inside

    def each(self, fn, tasks, **_):
        for task in tasks:
            if not self.left:
                if self.inside:
                    write = ShardWriter.write

                    def half(writer, batch):
                        write(writer, batch)
                        if len(batch):
                            os.kill(os.getpid(), signal.SIGKILL)

                    ShardWriter.write = half  # type: ignore[method-assign]
                    ShardWriter.commit = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
                    fn(task)
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            yield from Inline().each(fn, [task])

    def close(self): ...


class Counting(Inline):
    """Counts the tasks it runs."""

    def __init__(self):
        super().__init__()
        self.done: list[str] = []

    def each(self, fn, tasks, **more):
        tasks = list(tasks)
        self.done += [task.name for task in tasks]
        return super().each(fn, tasks, **more)


def killed(folder: Path, edges: np.ndarray, tasks: int, inside: bool) -> None:
    """Run in a child that is killed with SIGKILL after so many tasks."""
    child = os.fork()
    if child == 0:
        try:
            parts, first = [], 0
            for number, rows in enumerate((500, 1000)):
                parts.append(InputPart(Store(folder / "none"), number, "", first, rows, False))
                first += rows
            spread(
                folder,
                Corpus(dict(enumerate(parts))),
                Store(folder / "minhash"),
                Store(folder / "link"),
                400,
                Dying(tasks, inside),
            )
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("inside", [False, True])
def test_a_kill_between_and_inside_tasks_costs_no_byte_and_no_proven_task(tmp_path, inside):
    edges = np.random.default_rng(5).permutation(
        np.concatenate([shapes(1500)["chain, shuffled names"][::2], shapes(1500)["zigzag"][::9]])
    )
    whole = Counting()
    sink, _, _ = spread(tmp_path / "whole", *laid(tmp_path / "whole", 1500, edges), 400, whole)
    assert {name.split("-")[0].split()[0] for name in whole.done} == {
        "split",
        "join",
        "label",
        "members",
        "weigh",
        "cut",
        "cluster",
    }
    for tasks in range(int(inside), len(whole.done), 7):
        folder = tmp_path / f"cut{tasks}"
        given = laid(folder, 1500, edges)
        killed(folder, edges, tasks, inside)
        again = Counting()
        found, _, _ = spread(folder, *given, 400, again)
        assert found.hashes() == sink.hashes()
        assert len(again.done) == len(whole.done) - tasks, "nothing proven is done twice"


class Measuring(Inline):
    """The most memory that any task took, numpy's and Python's own."""

    most = 0

    def each(self, fn, tasks, **more):
        for task in tasks:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            yield from super().each(fn, [task], **more)
            self.most = max(self.most, tracemalloc.get_traced_memory()[1] - before)


def test_no_task_takes_more_than_its_allowance_however_many_edges_there_are(tmp_path, monkeypatch):
    """More edges than the allowance, one star over all documents among them: every task stays under it."""
    nodes, memory = 2_000_000, 16 + components.FIXED
    monkeypatch.setattr(components, "DOC_BYTES", 32)
    ranges = components.ranges_of(nodes, memory)
    assert ranges is not None and ranges.count == 6
    draw = np.random.default_rng(6)
    mixed = draw.permutation(nodes)
    star = np.stack([np.full(nodes, nodes - 1), np.arange(nodes)], 1)
    edges = np.concatenate([star, np.stack([mixed[:-1], mixed[1:]], 1), draw.integers(0, nodes, (1_200_000, 2))])
    assert edges.nbytes > 1.5 * (memory << 20)
    given = laid(tmp_path, nodes, edges, shards=20)
    pool = Measuring()
    tracemalloc.start()
    try:
        sink, _, work = spread(tmp_path, *given, ranges.size, pool)
    finally:
        tracemalloc.stop()
    doc, component = joined(sink)
    assert np.array_equal(doc, np.arange(nodes)) and not component.any()
    assert pool.most + BATCH_BYTES <= memory << 20, "with Arrow's copy of the batch that is written"


def test_the_stage_gives_the_same_bytes_spread_or_not(dedup, make_store, corpus, tmp_path, monkeypatch, processes):
    source = make_store(tmp_path / "in", corpus(150, seed=9), shards=3)
    one = dedup(tmp_path / "one", source)
    monkeypatch.setattr(components, "DOC_BYTES", 1 << 20)
    monkeypatch.setattr(components, "NODE_BYTES", 1 << 20)
    monkeypatch.setattr(cluster, "BYTES", 3_000)
    verdicts = one.hashes() | {f"ledger {n}": one.receipt(n).ledger_hash for n in one.shards()}
    for workers in (1, 2, 7):
        out = dedup(tmp_path / str(workers), source, pool=processes(workers), cluster_memory=64)
        assert len(out.sub("passes/cluster").receipts()) == 5
        assert out.hashes() | {f"ledger {n}": out.receipt(n).ledger_hash for n in out.shards()} == verdicts
        assert not Path(out.sub("passes/components").path).exists(), "what the passes between needed is gone"
    again = Counting()
    dedup(tmp_path / "1", source, pool=again, cluster_memory=64)
    assert again.done == []


def test_small_corpora_stay_in_one_task():
    assert components.ranges_of(134_000_000, 2048) is None
    found = components.ranges_of(10_000_000_000, 2048)
    assert found is not None and found.size * components.NODE_BYTES <= 2048 - components.FIXED << 20
    assert found.bounds(0)[0] == 0 and found.bounds(found.count - 1)[1] == 10_000_000_000
