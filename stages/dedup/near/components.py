"""Components of more documents than one task may hold: `cluster`, spread over ranges of documents.

    split       edges, for the range of their larger document    one task some shards of `link`
    join-NNN    each range's forest; edges left over go down      one task a range that was sent some
    label-NNN   the root of each document, by doubling            one task a range that is not done
    members     who belongs to which component, for its range     one task a range
    weigh       size of each component                            one task a range
    cut         where each range stands in the partitions         one task, a range at a time
    cluster     the columns of `cluster.py`                       one task a range

No task holds more than some columns of one range (`NODE_BYTES` a document, `FIXED` besides): edges and members are streamed, so neither the number
of edges, nor a component of any size, nor a document that all meet (a star) takes more. `join` ends after at most one
round a range, since what is left over only goes down (`stages/dedup/near/spanning.py`), `label` after the logarithm of that. The
order in which edges are read follows from shard numbers, and a component's name is its smallest document: the shards of `cluster`
hold, one behind the other, exactly the rows that the one task writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.pool import Pool
from pipeline.options import digest
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup.columns import BLOCK, blocks, column
from stages.dedup.near import cluster, shuffle
from stages.dedup.near.cluster import Graph
from stages.dedup.near.shuffle import PartitionWriter, Ranges, Source
from stages.dedup.passes import STAGE, PassTask, make

DOC_BYTES = 16
"""Memory of a document in the one task of `cluster`; twice that from 2^31 documents on."""
NODE_BYTES = 48
"""Memory of a document in a task of a range: at most three columns of eight bytes, and as much for what is under way."""
FIXED = 32
"""MiB that a task takes besides: the batch that is written, and its copy."""
SPLITS = 1024
"""Tasks of `split` at most: every first task of `join` opens what all of them wrote."""
EDGES = {"left": pa.int64(), "right": pa.int64()}
MEMBERS = {"component": pa.int64(), "doc": pa.int64(), "weight": pa.uint32()}


def ranges_of(rows: int, memory: int) -> Ranges | None:
    """The ranges of `rows` documents in `memory` MiB a task; None where one task may hold them all."""
    if rows * (DOC_BYTES if rows < 2**31 else 2 * DOC_BYTES) <= memory << 20:
        return None
    count = max(2, -(-rows * NODE_BYTES // (memory - FIXED << 20)))
    return Ranges(rows, -(-rows // count))


class ComponentWork(NamedTuple):
    """What every task needs: the graph, the ranges, and what it reads."""

    graph: Graph
    ranges: Ranges
    sources: tuple[Source, ...]
    owners: tuple[Store | None, ...] = ()
    """For `label`: where each range's labels lie; None where no document of the range was joined to a smaller one."""
    most: tuple[int, int] = (0, 0)
    """For `cut` and `cluster`: weight and documents of a partition."""


@dataclass
class Distributed:
    """The passes of one run, in order; `key` is what all of them depend on."""

    graph: Graph
    scratch: Store
    sink: Store
    ranges: Ranges
    key: str
    pool: Pool

    def run(self, keys: dict[int, str]) -> list[Receipt]:
        """Make the shards `keys` of `cluster`; returns their receipts."""
        states = self._join()
        labels = self._label(states)
        members = self.scratch.sub("members")
        there = [number for number, store in enumerate(labels) if store is not None]
        made = self._make(
            "members", send_members, {n: self._work([(store, (n,))]) for n in there if (store := labels[n])}
        )
        sent = shuffle.sources_by_range((members, receipt) for receipt in made)
        everyone = range(self.ranges.count)
        weighed = self._make("weigh", weigh, {n: self._work(sent.get(n, [])) for n in everyone})
        sizes: tuple[Source, ...] = ((self.scratch.sub("weigh"), tuple(everyone)),)
        most = _most(weighed)
        self._make("cut", cut, {0: self._work(sizes, most=most)})
        given = {
            n: self._work(
                [(self.scratch.sub("weigh"), (n,)), (self.scratch.sub("cut"), (0,)), *sent.get(n, [])], most=most
            )
            for n in everyone
        }
        return make(self.sink, write, keys, given.__getitem__, self.pool)

    def _work(self, sources, owners=(), most=(0, 0)) -> ComponentWork:
        return ComponentWork(self.graph, self.ranges, tuple(sources), tuple(owners), most)

    def _make(self, name: str, fn, given: dict[int, ComponentWork]) -> list[Receipt]:
        keys = {
            n: digest({"of": self.key, "pass": name, "rows": self.ranges.rows, "size": self.ranges.size, "shard": n})
            for n in given
        }
        return make(self.scratch.sub(name), fn, keys, given.__getitem__, self.pool)

    def _join(self) -> list[Store | None]:
        """The pass that holds each range's forest."""
        links, split = self.graph.edges.shards(), self.scratch.sub("split")
        size = max(1, -(-len(links) // SPLITS))
        groups = [tuple(links[first : first + size]) for first in range(0, len(links), size)]
        made = self._make(
            "split", split_edges, {n: self._work([(self.graph.edges, group)]) for n, group in enumerate(groups)}
        )
        waiting = shuffle.sources_by_range((split, receipt) for receipt in made)
        states: list[Store | None] = [None] * self.ranges.count
        turn = 0
        while waiting:
            store = self.scratch.sub(f"join-{turn:03d}")
            given = {}
            for number, sources in sorted(waiting.items()):
                held = states[number]
                given[number] = self._work([*([(held, (number,))] if held else []), *sources])
            made = self._make(store.name, join, given)
            for number in given:
                states[number] = store
            waiting = shuffle.sources_by_range((store, receipt) for receipt in made)
            for receipt in made:  # what a range keeps for itself is not sent
                if receipt.shard in waiting:
                    waiting[receipt.shard] = _without(waiting[receipt.shard], receipt.shard)
            waiting = {number: sources for number, sources in waiting.items() if sources}
            turn += 1
        return states

    def _label(self, states: list[Store | None]) -> list[Store | None]:
        """The pass that holds each range's labels."""
        open_ = {number: self._work([(store, (number,))]) for number, store in enumerate(states) if store}
        labels: list[Store | None] = [None] * len(states)
        turn = 0
        while open_:
            store = self.scratch.sub(f"label-{turn:03d}")
            made = self._make(store.name, label if turn else first_labels, open_)
            for number in open_:
                labels[number] = store
            moved = [receipt.shard for receipt in made if receipt.notes["moved"]]
            open_ = {number: self._work([(store, (number,))], owners=labels) for number in moved}
            turn += 1
        return labels


def _without(sources: list[Source], shard: int) -> list[Source]:
    left = [(store, tuple(number for number in shards if number != shard)) for store, shards in sources]
    return [(store, shards) for store, shards in left if shards]


def _most(weighed: list[Receipt]) -> tuple[int, int]:
    """Weight and documents of a partition, as `union_find.gathered` has them."""
    from stages.dedup.near.union_find import UNIT

    weight, docs = (sum(receipt.notes[name] for receipt in weighed) for name in ("weight", "documents"))
    return max(-(-cluster.BYTES // UNIT), weight // cluster.PARTITIONS), max(cluster.DOCS, docs // cluster.PARTITIONS)


def split_edges(task: PassTask) -> Receipt:
    """Send edges to the ranges of their larger documents."""
    given: ComponentWork = task.given
    notes: dict = {"to": {}}

    def batches() -> Iterator[pa.RecordBatch]:
        writer = PartitionWriter(given.ranges, "right", ("left", "right"), notes["to"])
        for store, shards in given.sources:
            for shard in shards:
                for batch in store.batches(shard):
                    rows = pa.Table.from_batches([batch])
                    left, right = column(rows, "left"), column(rows, "right")
                    yield from writer.add(np.minimum(left, right), np.maximum(left, right))
        yield from writer.flush()

    return shuffle.put(task, batches(), EDGES, notes)


def join(task: PassTask) -> Receipt:
    """Join a range's edges; keep a parent for each of its documents, and send on what is left over."""
    from stages.dedup.near import spanning

    given: ComponentWork = task.given
    low, high = given.ranges.bounds(task.number)
    notes: dict = {"to": {}}

    def batches() -> Iterator[pa.RecordBatch]:
        parent = np.arange(low, high)
        writer = PartitionWriter(given.ranges, "right", ("left", "right"), notes["to"])
        for left, right in shuffle.read(given.sources, task.number, "left", "right"):
            out_left, out_right = np.empty(len(left), np.int64), np.empty(len(left), np.int64)
            made = spanning.insert_all(parent, low, left, right, out_left, out_right)
            yield from writer.add(out_left[:made].copy(), out_right[:made].copy())
        yield from writer.flush()
        spanning.flatten_from(parent, low)
        for docs, labels in _joined(parent, low):
            yield from writer.packed(task.number, {"left": labels, "right": docs})

    return shuffle.put(task, batches(), EDGES, notes)


def _joined(parent: np.ndarray, low: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(documents, labels) of those whose label is another document, a block at a time."""
    for first in range(0, len(parent), BLOCK):
        labels = parent[first : first + BLOCK]
        docs = np.arange(low + first, low + first + len(labels))
        if len(at := np.flatnonzero(labels != docs)):
            yield docs[at], labels[at]


def first_labels(task: PassTask) -> Receipt:
    """A range's forest as a label for every document: its root in the range, or a document below it."""
    given: ComponentWork = task.given
    low, high = given.ranges.bounds(task.number)
    labels = np.arange(low, high)
    for left, right in shuffle.read(given.sources, task.number, "left", "right"):
        labels[right - low] = left
    return _put(task, {"label": labels}, {"moved": int((labels < low).any())})


def label(task: PassTask) -> Receipt:
    """Replace labels below the range by the labels that those documents have themselves."""
    given: ComponentWork = task.given
    ranges, low = given.ranges, given.ranges.bounds(task.number)[0]
    store, (number,) = given.sources[0]
    labels = np.array(column(store.read(number), "label"))
    asking = np.flatnonzero(labels < low)
    owner = (labels[asking] // ranges.size).astype(np.uint16 if ranges.count <= 1 << 16 else np.int64)
    asking = asking[np.argsort(owner, kind="stable")]
    ends = np.cumsum(np.bincount(owner, minlength=1))
    del owner
    moved = 0
    for at, held in enumerate(given.owners[: len(ends)]):
        mine = asking[ends[at - 1] if at else 0 : ends[at]]
        if held is not None and len(mine):
            moved += _lookup(held, at, ranges.bounds(at)[0], labels, mine)
    return _put(task, {"label": labels}, {"moved": moved})


def _lookup(store: Store, number: int, low: int, labels: np.ndarray, mine: np.ndarray) -> int:
    """Set labels[mine] to the labels of the documents they name, which lie in one range; returns how many changed."""
    mine = mine[np.argsort(labels[mine])]
    wanted = labels[mine] - low
    first = at = moved = 0
    for chunk in store.read(number)["label"].chunks:
        piece = chunk.flatten().to_numpy(zero_copy_only=True)
        stop = int(np.searchsorted(wanted, first + len(piece)))
        found = piece[wanted[at:stop] - first]
        moved += int((found != wanted[at:stop] + low).sum())
        labels[mine[at:stop]] = found
        first, at = first + len(piece), stop
    return moved


def _put(task: PassTask, columns: dict[str, np.ndarray], notes: dict) -> Receipt:
    """Long columns, a block at a time."""

    def batches() -> Iterator[pa.RecordBatch]:
        total = len(next(iter(columns.values())))
        yield pa.RecordBatch.from_pylist([], blocks(**{name: values[:0] for name, values in columns.items()}).schema)
        for first in range(0, total, BLOCK):
            yield from blocks(**{name: values[first : first + BLOCK] for name, values in columns.items()}).to_batches()

    return task.sink.put(task.number, batches(), None, key=task.key, stage=STAGE, notes=notes)


def send_members(task: PassTask) -> Receipt:
    """Send every document that is not its component's smallest to that one's range, with its weight."""
    given: ComponentWork = task.given
    low = given.ranges.bounds(task.number)[0]
    store, (number,) = given.sources[0]
    labels = column(store.read(number), "label")
    notes: dict = {"to": {}}

    def batches() -> Iterator[pa.RecordBatch]:
        writer = PartitionWriter(given.ranges, "component", tuple(MEMBERS), notes["to"])
        weights = Weights(given.graph)
        for docs, found in _joined(labels, low):
            yield from writer.add(found, docs, weights.of(docs))
        yield from writer.flush()

    return shuffle.put(task, batches(), MEMBERS, notes)


class Weights:
    """Weights of documents in units of `union_find.UNIT`, asked for in ascending order: one part is held at a time."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self._number, self._sizes = -1, np.zeros(0, np.int64)

    def of(self, docs: np.ndarray) -> np.ndarray:
        """uint32 by document (`docs` ascending)."""
        from stages.dedup.near.union_find import LARGEST, UNIT

        owner = self.graph.corpus.owners(docs)
        found = np.empty(len(docs), np.uint32)
        for number in np.unique(owner).tolist():
            if number != self._number:
                self._number, self._sizes = number, column(self.graph.measures.read(number), "size")
            here = owner == number
            sizes = self._sizes[docs[here] - self.graph.corpus.parts[number].first]
            found[here] = np.minimum((np.maximum(sizes, 0) + UNIT - 1) // UNIT, LARGEST)
        return found


def weigh(task: PassTask) -> Receipt:
    """Documents and weight of every component whose smallest document lies in the range."""
    from stages.dedup.near import spanning
    from stages.dedup.near.union_find import LARGEST

    given: ComponentWork = task.given
    low, high = given.ranges.bounds(task.number)
    counts, weights = np.zeros(high - low, np.int64), np.zeros(high - low, np.int64)
    for component, weight in shuffle.read(given.sources, task.number, "component", "weight"):
        spanning.tally(counts, weights, low, component, weight)
    roots = np.flatnonzero(counts)
    counts, weights = counts[roots] + 1, weights[roots]
    own = Weights(given.graph)
    roots += low
    for first in range(0, len(roots), BLOCK):
        weights[first : first + BLOCK] += own.of(roots[first : first + BLOCK])
    np.minimum(weights, LARGEST, out=weights)
    notes = {"components": len(roots), "documents": int(counts.sum()), "weight": int(weights.sum())}
    return _put(task, {"component": roots, "count": counts, "weight": weights}, notes)


def cut(task: PassTask) -> Receipt:
    """The partition with which each range begins, and what that holds already."""
    from stages.dedup.near import spanning

    given: ComponentWork = task.given
    state = np.zeros(3, np.int64)
    found = []
    for store, numbers in given.sources:
        for number in numbers:
            found.append(state.copy())
            for batch in store.batches(number):
                rows = pa.Table.from_batches([batch])
                counts, weights = column(rows, "count"), column(rows, "weight")
                spanning.cut_on(counts, weights, *given.most, state, np.empty(len(counts), np.int64))
    whole = np.array(found)
    return task.put(blocks(partition=whole[:, 0].copy(), weight=whole[:, 1].copy(), documents=whole[:, 2].copy()))


def write(task: PassTask) -> Receipt:
    """The members of a range's components, by component, then document: a window at a time, so that none is too large."""
    from stages.dedup.near import spanning

    given: ComponentWork = task.given
    low, high = given.ranges.bounds(task.number)
    (weighed, _), (begins, _), *members = given.sources
    sizes, begun = weighed.read(task.number), begins.read(0)
    roots, counts = column(sizes, "component"), column(sizes, "count")
    state = np.array([column(begun, name)[task.number] for name in ("partition", "weight", "documents")])
    partitions = np.empty(len(roots), np.int64)
    spanning.cut_on(counts, column(sizes, "weight"), *given.most, state, partitions)
    total = int(counts.sum())
    notes = {
        "components": len(roots),
        "documents": total,
        "first": int(partitions[0]) if total else 0,
        "partitions": int(partitions[-1]) + 1 if total else 0,
    }

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        for first in range(0, total, given.ranges.size):
            component, doc = _window(
                given.ranges, task.number, members, roots, counts, first, min(given.ranges.size, total - first)
            )
            for at in range(0, len(doc), BLOCK):
                of = component[at : at + BLOCK]
                yield from cluster.by_partition(doc[at : at + BLOCK], of, partitions[np.searchsorted(roots, of)])

    return task.put_pieces(cluster.SCHEMA, pieces(), notes)


def _window(
    ranges: Ranges, number: int, members, roots: np.ndarray, counts: np.ndarray, first: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """(components, documents) of the `size` positions from `first` on."""
    from stages.dedup.near import spanning

    low, high = ranges.bounds(number)
    positions = np.zeros(high - low, np.int64)
    positions[roots - low] = np.cumsum(counts) - counts
    component, doc = np.empty(size, np.int64), np.empty(size, np.int64)
    for at in range(0, len(roots), BLOCK):
        some = roots[at : at + BLOCK]
        spanning.lay_out(positions, low, some, some, first, component, doc)
    for of, docs in shuffle.read(members, number, "component", "doc"):
        spanning.lay_out(positions, low, of, docs, first, component, doc)
    return component, doc
