"""What the dedup tests share: run the stage over a store, and read what became of each row."""

from __future__ import annotations

import json
import lzma
import multiprocessing
import random
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def dedup():
    """`dedup(sink, *sources, against=(), pool=None, **options)` -> the committed output store."""
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store
    from stages.dedup import Dedup

    def run(sink: Path, *sources, against=(), pool=None, **options):
        stage = Dedup.build(options, "dedup")
        inputs = Inputs({"of": list(sources), **({"against": list(against)} if against else {})})
        store = Store(sink)
        receipts = stage.run(inputs, store, pool or Inline())
        manifest = {"stage": "dedup", "shape": sources[0].shape, "key": stage.key(inputs), "lineage": {}, "schema": []}
        store.commit_manifest(manifest, [receipt.shard for receipt in receipts])
        return store

    return run


@pytest.fixture(scope="session")
def dying():
    """`dying(limit)`: an Inline pool that dies after so many tasks, as a killed driver does between two of them; `done` names them."""
    from pipeline.engine.pool import Inline

    class Dying:
        workers = 1

        def __init__(self, limit: int = 10**9):
            self.limit, self.done = limit, []

        def each(self, fn, tasks, **_):
            for task in tasks:
                if len(self.done) >= self.limit:
                    raise KeyboardInterrupt
                self.done.append(task.sink.name)
                yield from Inline().each(fn, [task])

        def close(self): ...

    return Dying


@pytest.fixture(scope="session")
def decisions():
    """`decisions(store)` -> {id: (reason, duplicate_of, score, cluster size)} from its ledgers."""

    def read(store) -> dict[str, tuple]:
        rows = store.ledgers().to_pylist()
        return {
            row["id"]: (row["reason"], row["duplicate_of"], row["dedup.score"], row["dedup.cluster_size"])
            for row in rows
        }

    return read


@pytest.fixture(scope="session")
def jaccard():
    """`jaccard(a, b, how)` -> exact similarity of two texts, with Python sets."""
    from stages.text.minhash.shingles import Shingling, shingles

    def compare(a: str, b: str, how: Shingling = Shingling()) -> float:
        left, right = set(shingles(a, how)), set(shingles(b, how))
        return len(left & right) / len(left | right) if left | right else 0.0

    return compare


class Processes:
    """Several worker processes, tasks handed out in another order."""

    def __init__(self, workers: int):
        self.workers = workers

    def each(self, fn, tasks, **_):
        tasks = list(tasks)
        order = random.Random(len(tasks)).sample(range(len(tasks)), len(tasks))
        with multiprocessing.get_context("fork").Pool(self.workers) as pool:
            results = dict(zip(order, pool.map(fn, [tasks[n] for n in order], chunksize=1)))
        return (results[n] for n in range(len(tasks)))

    def close(self): ...


@pytest.fixture(scope="session")
def processes():
    """`processes(workers)` -> a pool of so many processes."""
    return Processes


@pytest.fixture(scope="module")
def manual(shared):
    """One manual on four architectures in two languages, and every pair of pages that has something in common."""

    def read(name: str) -> list[dict]:
        with lzma.open(shared / f"F-installguide12-{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    return read("docs"), {frozenset((pair["a"], pair["b"])): pair["jaccard"] for pair in read("pairs")}


EN = "river stone mill water grain wheel market road winter harvest bread oven stair garden window letter voice morning".split()
KO = "강물 돌 맷돌을 물레 곡식이 바퀴 시장에서 길 겨울 추수 빵과 화덕 계단을 정원 창문 편지 목소리 아침에".split()


@pytest.fixture(scope="session")
def corpus():
    """`corpus(documents, seed)` -> texts in two languages: originals, edited copies, copies of copies, identical ones."""

    def make(documents: int, seed: int, words: int = 120) -> list[str]:
        draw = random.Random(seed)
        texts: list[list[str]] = []
        while len(texts) < documents:
            kind = draw.random()
            if kind < 0.4 or not texts:
                pool = EN if draw.random() < 0.5 else KO
                texts.append([f"{draw.choice(pool)}{draw.randrange(40)}" for _ in range(draw.randrange(5, words))])
            else:
                copy = list(draw.choice(texts))
                for _ in range(0 if kind < 0.55 else draw.randrange(1, 6)):
                    copy[draw.randrange(len(copy))] = f"{draw.choice(EN)}{draw.randrange(999)}"
                texts.append(copy)
        return [" ".join(words) for words in texts]

    return make
