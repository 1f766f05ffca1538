"""Columns of lists of numbers stay vectors, from a Parquet file to `dedup --levels semantic --vectors COLUMN`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import cli
from pipeline.storage.store import Store

WORDS = ["the mill turns by the river", "bread is baked at night", "a wheel of stone and water"]
KINDS = [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 3), pa.list_(pa.int8())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_column_is_kept_as_it_is(tmp_path, ingest, rows, kind):
    vectors = [[1, 2, 3], None, [4, 5, 6]]
    pq.write_table(
        pa.table({"text": WORDS, "vector": pa.array(vectors, kind), "tags": [["a"], ["b"], []]}), tmp_path / "a.parquet"
    )
    store = ingest(tmp_path / "a.parquet")
    assert store.schema.names[-1] == "vector" and store.schema.field("vector").type.value_type == kind.value_type
    assert [row["vector"] for row in rows(store)] == vectors and [entry["key"] for entry in rows(store)[0]["meta"]] == [
        "tags"
    ]
    assert store.shape == "DOCUMENT"


def test_files_of_unlike_vectors_and_none(tmp_path, ingest, rows):
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a"], "v": pa.array([[1, 2]], pa.list_(pa.int32()))}), folder / "a.parquet")
    pq.write_table(
        pa.table({"text": ["b"], "v": pa.array([[0.5] * 3], pa.list_(pa.float64(), 3))}), folder / "b.parquet"
    )
    (folder / "c.jsonl").write_text('{"text": "c", "v": "no list"}\n{"text": "d"}\n')
    found = {row["text"]: row for row in rows(ingest(folder))}
    assert [found[name]["v"] for name in "abcd"] == [[1.0, 2.0], [0.5] * 3, None, None]
    assert [entry["value"] for entry in found["c"]["meta"]] == ["no list"]


def test_from_a_file_to_semantic_duplicates_on_the_command_line(tmp_path):
    """Two rows of one direction: one of them goes."""
    vectors = pa.array([[1.0, 0.0, 0.01], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"text": WORDS, "embedding": vectors}), tmp_path / "x.parquet")
    made, out = str(tmp_path / "S"), str(tmp_path / "D")
    assert cli.main(["ingest", str(tmp_path / "x.parquet"), made, "-q"], standalone_mode=False) == 0
    assert (
        cli.main(["dedup", made, out, "-q", "--levels", "semantic", "--vectors", "embedding"], standalone_mode=False)
        == 0
    )
    assert Store(out).require()["rows"] == 2 and "dedup.semantic" in " ".join(Store(out).require()["reasons"])
