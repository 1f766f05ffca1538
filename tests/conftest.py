"""What every test may use: the real data beside the checkout, small documents, and the Inline pool."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))
os.environ["LC_ALL"] = "C.UTF-8"  # reports are in the language of the environment; tests read English
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")


COSTLY = ("quickstart", "sft_store", "base_store", "site_crawl")
"""Session fixtures that take longest to make: files that use one of them run in one process, which makes it once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2 --dist loadgroup` a file stays in one process, for its own fixtures, and so do files that share a costly one."""
    used: dict[Path, set[str]] = {}
    for item in items:
        used.setdefault(item.path, set()).update(getattr(item, "fixturenames", ()))
    for item in items:
        shared_one = next((name for name in COSTLY if name in used[item.path]), None)
        item.add_marker(pytest.mark.xdist_group(shared_one or str(item.path.relative_to(REPO))))


@pytest.fixture(autouse=True)
def loud():
    """A command called with --quiet in this process is over with its test."""
    yield
    from pipeline.engine import progress

    if os.environ.pop(progress.QUIET, None):
        progress.set_level()


@pytest.fixture(scope="session")
def repo() -> Path:
    """The project's root."""
    return REPO


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data kept beside the checkout; tests that need it are skipped where it is not."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data (../shared/data) is not beside this checkout")
    return folder


@pytest.fixture
def counted():
    """Object storage in memory at `counted://`, empty; gives its class, with `requests` by kind and `read`, bytes of objects."""
    fsspec = pytest.importorskip("fsspec")
    from pipeline.estimate.counted import CountedFileSystem

    fsspec.register_implementation("counted", CountedFileSystem, clobber=True)
    CountedFileSystem.store.clear()
    CountedFileSystem.requests.clear()
    CountedFileSystem.read = 0
    return CountedFileSystem


@pytest.fixture(scope="session")
def make_documents():
    """`make_documents(texts, **columns)` -> a table of shape DOCUMENT."""
    import pyarrow as pa

    from pipeline.schema import DOCUMENT, content_id, doc_id

    def make(texts: list[str | None], **columns: list) -> pa.Table:
        n = len(texts)
        values = {name: columns.get(name, [None] * n) for name in DOCUMENT.names}
        values["id"] = columns.get("id", [doc_id("test", str(i)) for i in range(n)])
        values["content_id"] = [content_id(t or "") for t in texts]
        values["text"] = texts
        values["source"] = columns.get("source", ["test"] * n)
        return pa.table({f.name: pa.array(values[f.name], f.type) for f in DOCUMENT}, schema=DOCUMENT)

    return make


@pytest.fixture(scope="session")
def make_store(make_documents):
    """`make_store(path, texts, shards=1, **columns)` -> a committed DOCUMENT store."""
    from pipeline.storage.ledger import Ledger
    from pipeline.storage.store import Store

    def make(path: Path, texts: list[str | None], shards: int = 1, **columns: list) -> Store:
        table = make_documents(texts, **columns)
        store = Store(path)
        size = -(-len(table) // shards) if len(table) else 0
        for number in range(shards):
            part = table.slice(number * size, size)
            store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="test", stage="test", input_ids=part["id"])
        store.commit_manifest(
            {"stage": "test", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []}, list(range(shards))
        )
        return store

    return make


SMALL = [
    "packages.packages={max_files: 150, max_bytes: 900000}",
    "tokenizer.vocab_size=1200",
    "pack.seq_len=128",
    "pretrain.model.hidden_size=48",
    "pretrain.model.num_hidden_layers=2",
    "pretrain.max_steps=10",
    "sft-model.max_steps=4",
    "sft-model.most_lost=1",  # at 128 tokens most conversations do not fit, and the data check would say so
    "dpo.max_prompts=200",  # a crawl ends in another order each time: of few pairs none may fit
    "dpo.sampling={max_tokens: 24, temperature: 0.8}",
    "dpo.length_ratio=1000",
    "dpo-model.max_steps=3",
    "dpo-model.most_lost=1",
    "evaluate.documents=20",
    "evaluate.rows=20",
    "evaluate.samples=2",
    "evaluate.bootstrap=100",
]
"""The quickstart at a size for tests: every step of it, a hundredth of the work."""


@pytest.fixture(scope="session")
def maetdol_run(repo):
    """`maetdol_run(root, *settings, words=())` runs the quickstart recipe, small, as a user would; returns the process."""
    import subprocess

    def run(
        root: Path,
        *settings: str,
        words: tuple[str, ...] = (),
        wait: bool = True,
        recipe: str = "configs/quickstart.yaml",
    ):
        flags = [word for setting in (*SMALL, f"root={root}", *settings) for word in ("--set", setting)]
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "run", recipe, *flags, *words]
        process = subprocess.Popen(
            command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        if wait:
            process.log = process.communicate()[0]
        return process

    return run


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory, maetdol_run) -> Path:
    """Root of a finished small quickstart, made once per test session in one process."""
    root = tmp_path_factory.mktemp("quickstart") / "run"
    process = maetdol_run(root, "run.pool=inline")
    (root / "terminal.log").write_text(process.log)
    assert process.returncode == 0, process.log
    return root


@pytest.fixture(scope="session")
def site_root(tmp_path_factory, repo) -> Path:
    """pages -> quality -> unique -> clean, of the files of configs/site (English and Korean) and of docs."""
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    root = tmp_path_factory.mktemp("site") / "root"
    steps = [
        {"ingest": {"name": "pages", "from": [str(repo / "configs/site"), str(repo / "docs")]}},
        {"quality": {"filters": [
            {"language": {"keep": ["ko", "en"], "min": 0.5}},
            {"word_count": {"min": 60, "languages": {"ko": {"min": 150}}}},
            "gopher_quality",
            {"fineweb": {"min_ended_lines": None}},
        ]}},
        {"dedup": {"name": "unique", "threshold": 0.3}},
        {"pii": {"name": "clean"}},
    ]  # fmt: skip
    run(parse({"name": "site", "root": str(root), "seed": 17, "steps": steps, "run": {"pool": "inline"}}))
    return root


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: packed data holds the time, and two processes must collect the same names."""
    return argname if isinstance(val, bytes) and len(val) > 8 else None
