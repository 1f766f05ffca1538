"""`trace` by id, by the beginning of one, by address and by input file; ledgers read batch by batch."""

import pyarrow as pa
import pytest

from pipeline.errors import SourceError
from pipeline.inspection import trace as tracing
from pipeline.schema import STR
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store


@pytest.fixture
def root(tmp_path, make_documents):
    """raw (three files, one broken) -> kept."""
    table = make_documents(
        [f"text {i}" for i in range(40)],
        id=[f"{i % 4:08x}{i:024x}" for i in range(40)],
        url=[f"http://x/{i}" for i in range(40)],
    )
    raw, kept = Store(tmp_path / "root" / "raw"), Store(tmp_path / "root" / "kept")
    told = Ledger.rows([*table["id"].to_pylist(), "f" * 32], reason=[None] * 40 + ["ingest.broken_record"])
    told = told.append_column(
        "source", pa.array([f"crawl/{i % 3}.warc" for i in range(40)] + ["crawl/broken one.html"], STR)
    )
    told = told.append_column("locator", pa.array([f"offset:{i}" for i in range(41)], STR))
    ids = table["id"]
    with raw.writer(0, stage="ingest", key="k") as writer:
        for batch in table.to_batches():
            writer.write(batch)
        writer.record(Ledger.rows(ids))
        writer.commit()
    _ledger(raw, told)
    raw.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k"}, [0])
    kept.put(
        0, table.slice(0, 20), Ledger.rows(ids, reason=[None] * 20 + ["quality.low"] * 20), key="k", stage="quality"
    )
    kept.commit_manifest(
        {"stage": "quality", "shape": "DOCUMENT", "key": "k", "lineage": {"of": [{"store": "raw"}]}}, [0]
    )
    return str(tmp_path / "root")


def _ledger(store, table):
    """A ledger with more than the fixed columns, as ingest writes it."""
    store.put_ledger("more", table, key="k", stage="ingest")


def test_the_beginning_of_an_id_is_enough(root):
    whole = f"{3:08x}{7:024x}"
    assert tracing.trace(root, whole[:30] + whole[30:]) == tracing.trace(root, whole)
    alone = "f" * 12
    assert "ingest.broken_record" in tracing.trace(root, alone)
    with pytest.raises(SourceError, match=r"10 ids begin with 00000003: .*, ") as fault:
        tracing.trace(root, "00000003")
    assert whole in fault.value.message and "more digits" in fault.value.hint
    for nothing in ("0" * 31 + "a", "fffffffe", "f" * 7, "no.html"):
        with pytest.raises(SourceError, match="nothing in"):
            tracing.trace(root, nothing)


@pytest.mark.parametrize("name", ["crawl/broken one.html", "broken one.html", "/data/crawl/broken one.html", "f" * 8])
def test_a_broken_file_among_many_is_found_by_its_name(root, name):
    said = tracing.trace(root, name)
    assert (
        "dropped: ingest.broken_record" in said
        and "from crawl/broken one.html offset:40" in said
        and said.count("\n") == 1
    )


def test_a_file_stands_for_all_its_records(root):
    said = tracing.trace(root, "crawl/1.warc")
    assert said.count("from crawl/1.warc") == 13 and said.count("dropped: quality.low") == len(
        [i for i in range(20, 40) if i % 3 == 1]
    )


def test_a_url_still_stands_for_its_documents(root):
    assert f"{3:08x}{7:024x}" in tracing.trace(root, "http://x/7")


def test_ledgers_are_never_whole_in_memory(root, monkeypatch):
    monkeypatch.setattr(Store, "ledgers", lambda self: pytest.fail("all ledgers as one table"))
    assert tracing.trace(root, "f" * 32)


def test_only_some_of_many_rows_are_shown(root, monkeypatch):
    monkeypatch.setattr(tracing, "MOST", 5)
    assert "... 8 more rows" in tracing.trace(root, "crawl/1.warc")
