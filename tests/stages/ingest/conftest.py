"""What the tests of ingest share: real pages and archives unpacked once, a page read in one call, the stage run in place."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def unpacked(shared, tmp_path_factory):
    """`unpacked("A-warc-open")` -> the folder of that archive's files, unpacked once per session."""
    done: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in done:
            folder = tmp_path_factory.mktemp(name.replace("/", "-"))
            with tarfile.open(shared / f"{name}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
            done[name] = folder
        return done[name]

    return get


@pytest.fixture(scope="session")
def page():
    """`page(html, **facts)` -> the Document of a page given as str or bytes."""
    from stages.ingest.html import page as pages
    from stages.ingest.row import Raw

    def read(html: str | bytes, extract: str = "main", **facts):
        body = html.encode() if isinstance(html, str) else html
        return pages.read(Raw("page", "", body, **facts), extract)

    return read


@pytest.fixture(scope="session")
def prose():
    """`prose(n)` -> n different English sentences, enough to be a page's main text."""

    def make(count: int = 12) -> str:
        return " ".join(
            f"The mill at the river grinds sack number {i} of barley before the evening bell rings."
            for i in range(count)
        )

    return make


@pytest.fixture
def ingest(tmp_path):
    """`ingest(sources, sink="out", **options)` -> the committed store, its ledger's law checked."""
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.ledger import check
    from pipeline.storage.store import Store
    from stages.ingest import Ingest

    def run(sources, sink: str = "out", **options) -> Store:
        given = [str(s) for s in sources] if isinstance(sources, (list, tuple)) else str(sources)
        stage = Ingest.build({"from": given, **options}, "ingest")
        store = Store(tmp_path / sink)
        receipts = stage.run(Inputs(), store, Inline())
        store.commit_manifest(
            {"stage": "ingest", "shape": stage.output(), "key": stage.key(Inputs()), "lineage": {}, "schema": []},
            [r.shard for r in receipts],
        )
        for shard in store.shards():
            check(None, store.read(shard)["id"], store.ledger(shard), f"shard {shard}")
        return store

    return run


@pytest.fixture(scope="session")
def rows():
    """`rows(store)` -> its rows as dicts, in order."""
    return lambda store: [row for shard in store.shards() for row in store.read(shard).to_pylist()]


@pytest.fixture(scope="session")
def reasons():
    """`reasons(store)` -> the ledger's reasons, counted; kept rows under None."""
    from collections import Counter

    return lambda store: dict(Counter(store.ledgers()["reason"].to_pylist()))
