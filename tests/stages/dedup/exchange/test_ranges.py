"""An exchange gives every reader what was sent to it, in order, and no task reads, and no receipt names, more pieces than `FAN`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Inline
from pipeline.storage.store import Store
from stages.dedup.corpus import Corpus, InputPart
from stages.dedup.exchange import ranges
from stages.dedup.exchange.gather import Gather
from stages.dedup.exchange.ranges import Exchange, put
from stages.dedup.passes import PassTask, make

pytest.importorskip("fsspec")


class SmallRun:
    """What an exchange knows of a run: where passes lie, how they are made, and the parts (of these numbers of rows)."""

    def __init__(self, rows=()):
        self.home = Store(f"memory://exchange-{np.random.default_rng().integers(1 << 62)}")
        firsts = np.cumsum([0, *rows])
        parts = [InputPart(self.home, n, "", int(firsts[n]), count, False) for n, count in enumerate(rows)]
        self.corpus = Corpus(dict(enumerate(parts)))

    def store(self, name):
        return self.home.sub(name)

    def make(self, name, fn, given, pool):
        return self.make_in(self.store(name), fn, given, pool)

    def make_in(self, sink, fn, given, pool):
        return make(sink, fn, dict.fromkeys(range(len(given)), "key"), given.__getitem__, pool)


def fanned(patch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Sets FAN; the list gets how many pieces each task takes (a reader opens its own entry)."""
    taken: list[int] = []
    piece, merge = ranges.piece, ranges._merge

    def counting(*given):
        taken[-1] += 1
        return piece(*given)

    def merging(task):
        taken.append(0)
        return merge(task)

    patch.setattr(ranges, "piece", counting)
    patch.setattr(ranges, "_merge", merging)
    patch.setattr(ranges, "FAN", number)
    return taken


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 5), st.integers(0, 33), st.integers(1, 33), st.integers(0, 40), st.integers(0, 2**32))
@example(2, 33, 1, 20, 1)
@example(2, 1, 33, 20, 1)
@example(4, 16, 17, 30, 2)
def test_readers_get_what_was_sent_in_the_order_of_writers(number, writers, readers, entries, seed):
    with pytest.MonkeyPatch.context() as patch:
        taken = fanned(patch, number)
        run, draw = SmallRun(), np.random.default_rng(seed)
        expected: list[list[tuple[int, int]]] = [[] for _ in range(readers)]
        store = run.store("sent")
        for writer in range(writers):
            to = draw.integers(0, readers, draw.integers(0, entries + 1))
            for at, reader in enumerate(to.tolist()):
                expected[reader].append((writer, at))
            columns = {"writer": np.full(len(to), writer), "at": np.arange(len(to), dtype=np.uint32)}
            columns["word"] = np.array([f"{writer}\0{at}\0".encode() for at in range(len(to))], "S9")
            put(
                PassTask(store, writer, "key", None),
                readers,
                to,
                lambda at, held=columns: {k: v[at] for k, v in held.items()},
            )
        exchange = Exchange.of(store, writers, readers)
        exchange.merge(run, Inline())  # type: ignore[arg-type]
        for reader in range(readers):
            taken.append(0)
            found = exchange.read(reader)
            pairs = list(zip(found["writer"].tolist(), found["at"].tolist())) if found else []
            assert pairs == expected[reader]
            words = found["word"].tolist() if found else []
            assert words == [f"{writer}\0{at}\0".encode().rstrip(b"\0") for writer, at in pairs]
        assert max(taken) <= number
        stores = [exchange._level(level) for level in range(exchange.layout.merges + 1)]
        receipts = [receipt for store in stores for receipt in store.receipts().values()]
        assert all(len(receipt.notes["pieces"]) <= number for receipt in receipts)


def test_merging_holds_no_more_than_a_writer_wrote_or_a_reader_reads(monkeypatch):
    """Even entries: what a task that merges writes stays as large, however many files it reads."""
    for writers, readers in ((60, 60), (60, 4), (4, 60)):
        taken = fanned(monkeypatch, 4)
        run, store = SmallRun(), None
        store = run.store(f"even-{writers}-{readers}")
        for writer in range(writers):
            to = np.arange(240) % readers
            put(PassTask(store, writer, "key", None), readers, to, lambda at: {"at": at})
        exchange = Exchange.of(store, writers, readers)
        exchange.merge(run, Inline())  # type: ignore[arg-type]
        assert exchange.layout.merges == 2 and len(taken) > 2
        most = max(240, 240 * writers // readers)
        for level in range(1, exchange.layout.merges + 1):
            for number in range(exchange.layout.files(level)):
                rows = exchange._level(level).read(number)
                assert sum(map(len, rows["at"].to_pylist())) <= most * 4 / 3


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 9), st.integers(2, 4), st.integers(0, 2**32)
)
def test_who_asks_is_answered_about_each_document_in_order(rows, askers, number, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "FAN", number)
        run, draw, total = SmallRun(rows), np.random.default_rng(seed), sum(rows)
        gather = Gather(run, "known", askers, 7)  # type: ignore[arg-type]
        wanted = [np.flatnonzero(draw.random(total) < draw.random()) for _ in range(askers)]
        for asker, docs in enumerate(wanted):
            gather.ask(PassTask(run.store(gather.passes[0]), asker, "key", None), docs)
        held = []

        def fetch(given, holder, docs):
            """Knows nothing of every third document."""
            parts = [run.corpus.parts[part] for part in run.corpus.groups(7)[holder]]
            assert all(parts[0].first <= doc < parts[-1].first + parts[-1].rows for doc in docs.tolist())
            assert docs.tolist() == sorted(set(docs.tolist()))
            held.append(holder)
            known = np.flatnonzero(docs % 3 > 0)
            marks = docs[known].astype(np.uint64) + np.uint64(1 << 63)
            return known, {"doc": docs[known], "mark": marks if len(marks) else docs[:0], "plus": docs[known] + given}

        gather.answer(Inline(), fetch, 5)
        assert held == list(range(len(run.corpus.groups(7))))
        for asker, docs in enumerate(wanted):
            found = gather.read(asker)
            assert found["doc"].tolist() == docs[docs % 3 > 0].tolist()
            assert found["mark"].tolist() == [doc + (1 << 63) for doc in found["doc"].tolist()], "kept to the last bit"
            assert found["plus"].tolist() == (found["doc"] + 5).tolist()
